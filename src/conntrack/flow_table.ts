/**
 * The flow table: both directions of every tracked flow, in typed arrays over one mapped region.
 *
 * Theory of operation. An entry is `FLOW_WORDS` words (see `flow_layout.ts`), named by its index, the `FlowId`. A
 * reference is `flow << 1 | direction`. One hash index holds both tuples of every flow; `insert` puts in both or
 * neither. Entries are allocated from a list of those given back, else from the high-water mark, so a young table
 * touches little memory.
 *
 * Time. A packet writes only its flow's DEADLINE, beside the words that a hit reads anyway. `due` holds, for each
 * entry, a time not later than its deadline; `sweep` walks that dense array a little at a time, and only where `due`
 * has passed looks at the entry, to end it or to put off `due`. Whoever makes a deadline earlier must call `hasten`.
 * A look-up never finds a flow whose deadline has passed, whether it has been swept or not.
 *
 * CONFIRMED is written when all else of an entry is, and STATUS cleared before anything else of it is written again: a
 * process that is killed leaves each entry whole, or free (`adopt.ts`).
 *
 * `version` changes whenever an entry is inserted or removed, so that a look-up made ahead of time can be told stale.
 * Limits: `capacity` flows; `allocate` says -1 when they are in use. The caller may make room (`early_drop.ts`), and
 * counts. `shares` tells how many flows each port has opened.
 */
import type { Journal } from "../packet/journal.ts";
import { FlowEvent, type FlowEventWriter } from "./events.ts";
import {
  FLOW_LAYOUT_VERSION,
  FLOW_SHIFT,
  FLOW_WORDS,
  FlowFlag,
  FlowWord,
  HeaderWord,
  TUPLE_WORDS,
  zoneOfNetwork,
} from "./flow_layout.ts";
import { HashIndex } from "./hash_index.ts";
import { Shares } from "./shares.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { DEADLINE: FLOW_WORD_DEADLINE, ROUTE: FLOW_WORD_ROUTE, STATUS: FLOW_WORD_STATUS } = FlowWord;
const { BRIDGED, CONFIRMED } = FlowFlag;
/** What of STATUS belongs to a tuple. */
const PROTOCOL_AND_KIND = 0xff | BRIDGED;
const { CAPACITY, COUNT, FREE, HIGH_WATER, LAYOUT_VERSION, NOW, SEED, WORDS } = HeaderWord;
const { NEW, UPDATE, DESTROY } = FlowEvent;

export type FlowId = number & { readonly __brand: "FlowId" };

export class FlowTable {
  readonly capacity: number;
  /** Of the memory; another one while the entries of a former table wait to be adopted. */
  header: Int32Array;
  readonly due: Int32Array;
  readonly words: Int32Array;
  readonly index: HashIndex;
  version = 0;
  readonly shares = new Shares();
  /** Called with each flow that is about to be removed, while it can still be read. */
  onRemove: (flow: FlowId) => void = () => {};
  /** Where flows that begin, change and end are told, while somebody listens. */
  events: FlowEventWriter | undefined = undefined;
  /** Port that opened each flow, plus one; 0 where it is not known. */
  private readonly opener: Int16Array;
  private readonly keys: Int32Array;
  private cursor = 0;
  private journal: Journal | undefined = undefined;

  /** Bytes of memory for `capacity` flows. */
  static bytesFor(capacity: number): number {
    const slots = HashIndex.slotsFor(capacity * 2);
    return (WORDS * 4 + capacity * 4 + slots * 8 + capacity * FLOW_WORDS * 4 + 127) & ~63;
  }

  /** `memory` is zeroed and at least `bytesFor(capacity)` long; `seed` keys the hash. */
  constructor(memory: ArrayBuffer, capacity: number, seed: number, header = new Int32Array(memory, 0, WORDS)) {
    this.capacity = capacity;
    const slots = HashIndex.slotsFor(capacity * 2);
    this.header = header;
    // Entries first behind the header: they begin on a cache line, and the rest follows.
    this.words = new Int32Array(memory, 64, capacity * FLOW_WORDS);
    this.index = new HashIndex(new Int32Array(memory, 64 + capacity * FLOW_WORDS * 4, slots * 2));
    this.due = new Int32Array(memory, 64 + capacity * FLOW_WORDS * 4 + slots * 8, capacity);
    this.header[LAYOUT_VERSION] = FLOW_LAYOUT_VERSION;
    this.header[CAPACITY] = capacity;
    this.header[SEED] = seed | 0;
    this.opener = new Int16Array(capacity);
    this.shares.takeOver(this.header[COUNT]);
    this.keys = deriveKeys(seed);
  }

  /** Notes every change from now on, until the journal is undone; what happens to flows is told to nobody meanwhile. */
  rehearse(journal: Journal): void {
    journal.numbers(this);
    journal.fields(this, "events", "journal");
    journal.words(this.header, 0, WORDS);
    this.index.rehearse(journal);
    this.shares.rehearse(journal);
    this.events = undefined;
    this.journal = journal;
  }

  /** Notes an entry whose words others are about to change. */
  keep(flow: number): void {
    if (this.journal === undefined) return;
    this.journal.words(this.words, flow << FLOW_SHIFT, FLOW_WORDS);
    this.journal.word(this.due, flow);
    this.journal.word(this.opener, flow);
  }

  get count(): number {
    return this.header[COUNT];
  }

  /**
   * Keyed hash of a tuple. Who knows this code, but not the key, must not be able to choose tuples that collide. A
   * multiplication carries a difference upwards only, so that one in the highest bits of a word comes out where anybody can
   * tell: each address is multiplied twice, with a shift between, before the next word is added, which could undo a known
   * difference. `protocol` has the zone of bridged flows or-ed to it: the last step maps it one to one, so that tuples
   * which differ in their zone alone never have the same hash.
   */
  hash(source: number, destination: number, ports: number, protocol: number): number {
    const keys = this.keys;
    let h = Math.imul(source ^ keys[0], keys[4]);
    h = Math.imul(h ^ (h >>> 16), keys[8]);
    h ^= h >>> 15;
    h = Math.imul((h + destination) ^ keys[1], keys[5]);
    h = Math.imul(h ^ (h >>> 16), keys[9]);
    h ^= h >>> 13;
    h = Math.imul((h + ports) ^ keys[2], keys[6]);
    h ^= h >>> 16;
    h = Math.imul((h + protocol) ^ keys[3], keys[7]);
    return h ^ (h >>> 15);
  }

  /**
   * Finds the live flow that a tuple belongs to: its reference, or -1. `protocol` has BRIDGED or-ed to it where bridged
   * flows are looked for; the hash tells their zone.
   */
  lookup(hash: number, source: number, destination: number, ports: number, protocol: number, now: number): number {
    const slots = this.index.slots;
    const mask = this.index.mask;
    const words = this.words;
    for (let position = hash & mask; ; position = (position + 1) & mask) {
      const stored = slots[position * 2 + 1];
      if (stored === 0) return -1;
      if (slots[position * 2] !== hash) continue;
      const reference = stored - 1;
      const base = (reference >> 1) << FLOW_SHIFT;
      const tuple = base + (reference & 1) * TUPLE_WORDS;
      if (
        words[tuple] === source &&
        words[tuple + 1] === destination &&
        words[tuple + 2] === ports &&
        (words[base + FLOW_WORD_STATUS] & PROTOCOL_AND_KIND) === protocol
      ) {
        if (((words[base + FLOW_WORD_DEADLINE] - now) | 0) > 0) return reference;
        // Over, but not swept yet. Another of the same tuple may have been made meanwhile: look again.
        this.remove((reference >> 1) as FlowId);
        return this.lookup(hash, source, destination, ports, protocol, now);
      }
    }
  }

  /** A zeroed entry that no one can find yet, or -1 when all are in use. Give it back with `abandon`, or `insert` it. */
  allocate(): FlowId {
    const header = this.header;
    const free = header[FREE];
    let flow: number;
    if (free !== 0) {
      flow = free - 1;
      header[FREE] = this.words[flow << FLOW_SHIFT];
    } else if (header[HIGH_WATER] < this.capacity) {
      flow = header[HIGH_WATER]++;
    } else {
      return -1 as FlowId;
    }
    if (this.journal !== undefined) this.keep(flow);
    const base = flow << FLOW_SHIFT;
    this.words.fill(0, base, base + FLOW_WORDS);
    return flow as FlowId;
  }

  /** Says by which port the first packet of a flow came; to be called before it is inserted. */
  setPort(flow: FlowId, port: number): void {
    this.opener[flow] = port + 1;
  }

  /** Port that opened a flow; -1 where it is not known. */
  portOf(flow: number): number {
    return this.opener[flow] - 1;
  }

  /** Gives back an entry that was never inserted. */
  abandon(flow: FlowId): void {
    this.opener[flow] = 0;
    this.words[(flow << FLOW_SHIFT) + FLOW_WORD_STATUS] = 0;
    this.words[flow << FLOW_SHIFT] = this.header[FREE];
    this.header[FREE] = flow + 1;
  }

  /** Makes both directions findable. Tuples, STATUS and DEADLINE must be set. */
  insert(flow: FlowId): void {
    const base = flow << FLOW_SHIFT;
    this.words[base + FLOW_WORD_STATUS] |= CONFIRMED;
    this.index.insert(this.hashOf(base, 0), flow << 1);
    this.index.insert(this.hashOf(base, 1), (flow << 1) | 1);
    this.due[flow] = this.words[base + FLOW_WORD_DEADLINE];
    this.header[COUNT]++;
    this.shares.take(this.portOf(flow));
    this.version = (this.version + 1) | 0;
    if (this.events !== undefined) this.events.record(NEW, this.words, base, this.header[NOW]);
  }

  /** Ends a flow and frees its entry. */
  remove(flow: FlowId): void {
    if (this.journal !== undefined) this.keep(flow);
    this.onRemove(flow);
    const base = flow << FLOW_SHIFT;
    if (this.events !== undefined) this.events.record(DESTROY, this.words, base, this.header[NOW]);
    this.index.remove(this.hashOf(base, 0), flow << 1);
    this.index.remove(this.hashOf(base, 1), (flow << 1) | 1);
    this.header[COUNT]--;
    this.shares.give(this.portOf(flow));
    this.version = (this.version + 1) | 0;
    this.abandon(flow);
  }

  /** To be called once state, SEEN_REPLY or ASSURED of a flow have changed, and its deadline with them. */
  noteChange(flow: FlowId): void {
    if (this.events !== undefined) this.events.record(UPDATE, this.words, flow << FLOW_SHIFT, this.header[NOW]);
  }

  /** Sets the deadline; for one that may be earlier than the last, use `hasten`. */
  refresh(flow: FlowId, deadline: number): void {
    this.words[(flow << FLOW_SHIFT) + FLOW_WORD_DEADLINE] = deadline;
  }

  /** Sets a deadline that may be earlier than the one before. */
  hasten(flow: FlowId, deadline: number): void {
    this.words[(flow << FLOW_SHIFT) + FLOW_WORD_DEADLINE] = deadline;
    if (((deadline - this.due[flow]) | 0) < 0) this.due[flow] = deadline;
  }

  /** Looks at up to `budget` entries for flows whose time is over; returns how many it ended. */
  sweep(now: number, budget: number): number {
    const highWater = this.header[HIGH_WATER];
    const due = this.due;
    let ended = 0;
    let at = this.cursor;
    for (let left = budget < highWater ? budget : highWater; left > 0; left--) {
      if (at >= highWater) at = 0;
      if (((due[at] - now) | 0) <= 0 && this.settle(at as FlowId, now)) ended++;
      at++;
    }
    this.cursor = at;
    return ended;
  }

  private settle(flow: FlowId, now: number): boolean {
    const base = flow << FLOW_SHIFT;
    const inUse = (this.words[base + FLOW_WORD_STATUS] & CONFIRMED) !== 0;
    const deadline = this.words[base + FLOW_WORD_DEADLINE];
    // A free entry comes up again in a week: cheaper than a list of those in use.
    this.due[flow] = inUse ? deadline : (now + 0x24000000) | 0;
    if (!inUse || ((deadline - now) | 0) > 0) return false;
    this.remove(flow);
    return true;
  }

  isLive(flow: FlowId, now: number): boolean {
    const base = flow << FLOW_SHIFT;
    return (
      (this.words[base + FLOW_WORD_STATUS] & CONFIRMED) !== 0 && ((this.words[base + FLOW_WORD_DEADLINE] - now) | 0) > 0
    );
  }

  /** Hash of a direction's tuple of the entry that begins at `base`. */
  hashOf(base: number, direction: number): number {
    const words = this.words;
    const tuple = base + direction * TUPLE_WORDS;
    const status = words[base + FLOW_WORD_STATUS];
    const zone = (status & BRIDGED) === 0 ? 0 : zoneOfNetwork(words[base + FLOW_WORD_ROUTE] >>> 24);
    return this.hash(words[tuple], words[tuple + 1], words[tuple + 2], (status & 0xff) | zone);
  }
}

/** Ten words from a seed (splitmix32); the multipliers are made odd. */
function deriveKeys(seed: number): Int32Array {
  const keys = new Int32Array(10);
  let state = seed | 0;
  for (let i = 0; i < 10; i++) {
    state = (state + 0x9e3779b9) | 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    z ^= z >>> 15;
    keys[i] = i < 4 ? z : z | 1;
  }
  return keys;
}
