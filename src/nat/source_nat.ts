/**
 * Source NAT: which address and port a new flow gets.
 *
 * Profile `linux`, by Linux's rules (nf_nat). A mapping is unique by the *reply tuple* of its flow: the flow table
 * itself says whether a port is taken, so there is no second book of ports that could drift from the live flows. The
 * order of choice:
 *   1. a flow that needs no new address keeps its tuple, where the reply tuple is free;
 *   2. the port that this source address and port already use on the chosen address, where it is free to this peer;
 *   3. the original port on the chosen address, where the rule allows it and it is free;
 *   4. a random start in the rule's ports or the same class (1-511, 600-1023, 1024-65535; identifiers 0-65535), and a
 *      bounded number of tries, each round half as many from a new start;
 *   5. the port of a flow that is not assured, of an ingress port that holds many more flows (`take_over.ts`). Then the
 *      packet is dropped.
 * Only flows whose port was changed are in the index of sources (2.): for the others 2. and 3. agree.
 *
 * Longer than other files: the order of choice is one piece.
 *
 * Profile `bcp`: 2. is the endpoint-independent mapping of the source (see `mappings.ts`), which must be kept; a port
 * belongs to one inside end alone, and its parity is kept (RFC 4787 REQ-4).
 */
import { FLOW_SHIFT, FlowFlag, FlowWord } from "../conntrack/flow_layout.ts";
import type { FlowId, FlowTable } from "../conntrack/flow_table.ts";
import { HashIndex } from "../conntrack/hash_index.ts";
import { invertPorts, sourceIdent, withSourceIdent } from "../conntrack/tuple.ts";
import { Protocol } from "../packet/ipv4.ts";
import type { Journal } from "../packet/journal.ts";
import { Mappings } from "./mappings.ts";
import type { SourceChoice } from "./rules.ts";
import { takeOverPort } from "./take_over.ts";

/** Flows of one source and port that the index of sources holds: any of them tells the port. */
const REMEMBERED_PER_SOURCE = 8;

/** Tries of the first round of a search; a round shorter than `LEAST_TRIES` ends it. */
const MAX_TRIES = 128;
const LEAST_TRIES = 16;

export class SourceNat {
  /** Searches that found no free port. */
  exhausted = 0;
  /** Ports that were taken from a flow of somebody who holds many more. */
  takenOver = 0;
  /** The address that was last given to a flow in the place of its own: most likely the next one's, too. */
  likelyAddress = 0;
  /** The endpoint-independent mappings of the `bcp` profile. */
  mappings: Mappings | undefined;
  private readonly table: FlowTable;
  private readonly random: () => number;
  private readonly sources: HashIndex;
  private readonly sourcesLimit: number;

  /** `random` gives a uniformly distributed 32-bit word. */
  constructor(table: FlowTable, random: () => number) {
    this.table = table;
    this.random = random;
    this.sourcesLimit = table.capacity;
    this.sources = new HashIndex(new Int32Array(HashIndex.slotsFor(table.capacity) * 2));
  }

  /** Notes every change from now on, until the journal is undone. */
  rehearse(journal: Journal): void {
    journal.numbers(this);
    this.sources.rehearse(journal);
    this.mappings?.rehearse(journal);
  }

  /** Takes a profile; the table holds no flow when it changes. */
  setProfile(profile: "linux" | "bcp"): void {
    const { table } = this;
    if (profile === "linux") this.mappings = undefined;
    else this.mappings ??= new Mappings(table.capacity * 2, (a, b, c, d) => table.hash(a, b, c, d));
  }

  /**
   * Writes the reply tuple of `flow`, whose original tuple and REPLY_SOURCE are set, so that it leaves as `choice`
   * says, or with its own source; false when no free port was found. `ports` is the word of ports as it leaves, the
   * source port not translated yet. Sets SOURCE_NAT when the source changes.
   */
  bind(flow: FlowId, protocol: number, choice: SourceChoice | undefined, ports: number, now: number): boolean {
    const words = this.table.words;
    const base = flow << FLOW_SHIFT;
    const source = words[base + FlowWord.SOURCE];
    const address = choice === undefined ? source : this.addressOf(choice, source, words[base + FlowWord.DESTINATION]);
    words[base + FlowWord.REPLY_DESTINATION] = address;
    const chosen = this.choose(base, protocol, source, address, ports, choice, now);
    if (chosen < 0) {
      this.exhausted++;
      return false;
    }
    words[base + FlowWord.REPLY_PORTS] = invertPorts(protocol, withSourceIdent(ports, chosen));
    if (source !== address || chosen !== sourceIdent(ports)) words[base + FlowWord.STATUS] |= FlowFlag.SOURCE_NAT;
    if (source !== address) this.likelyAddress = address;
    if (choice !== undefined && this.mappings !== undefined && hasIdent(protocol)) {
      words[base + FlowWord.STATUS] |= FlowFlag.SOURCE_MAPPED;
    }
    return true;
  }

  /** The mapping whose outside end is an address and port of a protocol with ports; -1 when there is none. */
  mappingOf(protocol: number, address: number, port: number): number {
    if (this.mappings === undefined || (protocol !== Protocol.TCP && protocol !== Protocol.UDP)) return -1;
    return this.mappings.findOutside(protocol, address, port);
  }

  /** Notes a flow after it has been inserted: later flows of its source use the same port. */
  remember(flow: FlowId): void {
    const words = this.table.words;
    const base = flow << FLOW_SHIFT;
    const status = words[base + FlowWord.STATUS];
    if (this.mappings !== undefined) this.retainMappings(this.mappings, base, status);
    if ((status & FlowFlag.SOURCE_NAT) === 0 || this.mappings !== undefined) return;
    if (sourceIdent(words[base + FlowWord.PORTS]) === this.boundIdent(base)) return;
    const hash = this.sourceHash(base);
    if (this.sources.size >= this.sourcesLimit || this.sources.count(hash) >= REMEMBERED_PER_SOURCE) return;
    words[base + FlowWord.STATUS] = status | FlowFlag.SOURCE_INDEXED;
    this.sources.insert(hash, flow);
  }

  /** Whether the mappings that an entry wants are free or its own already: for one that comes from another table. */
  fits(base: number): boolean {
    const words = this.table.words;
    const status = words[base + FlowWord.STATUS];
    const protocol = status & 0xff;
    if (this.mappings === undefined) return (status & (FlowFlag.SOURCE_MAPPED | FlowFlag.DESTINATION_MAPPED)) === 0;
    const isFree = (inside: number, insidePort: number, outside: number, outsidePort: number): boolean => {
      const mapping = this.mappings?.findInside(protocol, inside, insidePort, outside) ?? -1;
      if (mapping >= 0) return this.mappings?.outsidePortOf(mapping) === outsidePort;
      return (this.mappings?.findOutside(protocol, outside, outsidePort) ?? -1) < 0;
    };
    const [source, destination] = [words[base + FlowWord.SOURCE], words[base + FlowWord.DESTINATION]];
    const [replySource, outside] = [words[base + FlowWord.REPLY_SOURCE], words[base + FlowWord.REPLY_DESTINATION]];
    const ports = words[base + FlowWord.PORTS];
    if ((status & FlowFlag.SOURCE_MAPPED) !== 0) {
      if (!isFree(source, sourceIdent(ports), outside, this.boundIdent(base))) return false;
    }
    if ((status & FlowFlag.DESTINATION_MAPPED) === 0) return true;
    return isFree(replySource, words[base + FlowWord.REPLY_PORTS] >>> 16, destination, ports & 0xffff);
  }

  /** To be called for every flow that is removed. */
  forget(flow: FlowId): void {
    const base = flow << FLOW_SHIFT;
    const status = this.table.words[base + FlowWord.STATUS];
    if (this.mappings !== undefined) this.releaseMappings(this.mappings, base, status);
    if ((status & FlowFlag.SOURCE_INDEXED) !== 0) this.sources.remove(this.sourceHash(base), flow);
  }

  /** Flows in the index of sources. */
  get remembered(): number {
    return this.sources.size;
  }

  /** The translated source port or identifier of a bound flow. */
  boundIdent(base: number): number {
    const words = this.table.words;
    const ports = words[base + FlowWord.REPLY_PORTS];
    return (words[base + FlowWord.STATUS] & 0xff) === Protocol.ICMP ? ports >>> 16 : ports & 0xffff;
  }

  /** Where there are several addresses, a source keeps one: to each destination, or in `bcp` to all (RFC 4787 REQ-2). */
  private addressOf(choice: SourceChoice, source: number, destination: number): number {
    return choice.addressFor(this.table.hash(source, this.mappings === undefined ? destination : 0, 0, 0), source);
  }

  private retainMappings(mappings: Mappings, base: number, status: number): void {
    const words = this.table.words;
    const protocol = status & 0xff;
    if ((status & FlowFlag.SOURCE_MAPPED) !== 0) {
      const inside = words[base + FlowWord.SOURCE];
      const outside = words[base + FlowWord.REPLY_DESTINATION];
      const insidePort = sourceIdent(words[base + FlowWord.PORTS]);
      mappings.retain(protocol, inside, insidePort, outside, this.boundIdent(base));
    }
    if ((status & FlowFlag.DESTINATION_MAPPED) !== 0) {
      const inside = words[base + FlowWord.REPLY_SOURCE];
      const outside = words[base + FlowWord.DESTINATION];
      const insidePort = words[base + FlowWord.REPLY_PORTS] >>> 16;
      mappings.retain(protocol, inside, insidePort, outside, words[base + FlowWord.PORTS] & 0xffff);
    }
  }

  private releaseMappings(mappings: Mappings, base: number, status: number): void {
    const words = this.table.words;
    const protocol = status & 0xff;
    if ((status & FlowFlag.SOURCE_MAPPED) !== 0) {
      const insidePort = sourceIdent(words[base + FlowWord.PORTS]);
      mappings.release(protocol, words[base + FlowWord.SOURCE], insidePort, words[base + FlowWord.REPLY_DESTINATION]);
    }
    if ((status & FlowFlag.DESTINATION_MAPPED) !== 0) {
      const insidePort = words[base + FlowWord.REPLY_PORTS] >>> 16;
      mappings.release(protocol, words[base + FlowWord.REPLY_SOURCE], insidePort, words[base + FlowWord.DESTINATION]);
    }
  }

  private choose(
    base: number,
    protocol: number,
    source: number,
    address: number,
    ports: number,
    choice: SourceChoice | undefined,
    now: number,
  ): number {
    const original = sourceIdent(ports);
    if (!hasIdent(protocol)) return this.isFree(base, protocol, 0, now) ? 0 : -1;
    if (choice !== undefined) {
      const used = this.identInUse(base, protocol, source, original, address, now);
      const isAllowed = used >= 0 && choice.holdsPort(used) && !choice.fullyRandom;
      if (used >= 0 && this.mappings !== undefined) {
        return this.isFree(base, protocol, withSourceIdent(ports, used), now) ? used : -1;
      }
      if (isAllowed && this.isFree(base, protocol, withSourceIdent(ports, used), now)) return used;
    }
    const mayKeep = choice === undefined || (choice.holdsPort(original) && !choice.fullyRandom);
    if (mayKeep && this.isAvailable(base, protocol, address, ports, choice, now)) return original;
    return this.search(base, protocol, address, ports, choice, now);
  }

  private search(
    base: number,
    protocol: number,
    address: number,
    ports: number,
    choice: SourceChoice | undefined,
    now: number,
  ): number {
    const original = sourceIdent(ports);
    let low = 1024;
    let size = 64_512;
    if (choice !== undefined && choice.lastPort !== 0) {
      low = choice.firstPort;
      size = choice.lastPort - choice.firstPort + 1;
    } else if (protocol === Protocol.ICMP) {
      low = 0;
      size = 65_536;
    } else if (original < 512) {
      low = 1;
      size = 511;
    } else if (original < 1024) {
      low = 600;
      size = 424;
    }
    const parity = this.mappings !== undefined && protocol === Protocol.UDP ? 1 : 0;
    let tries = Math.min(size, MAX_TRIES);
    for (;;) {
      const start = (this.random() >>> 0) % size;
      for (let i = 0; i < tries; i++) {
        const ident = low + ((start + i) % size);
        if (((ident ^ original) & parity) !== 0) continue;
        if (this.isAvailable(base, protocol, address, withSourceIdent(ports, ident), choice, now)) return ident;
      }
      if (tries >= size || tries < LEAST_TRIES) return this.takeOver(base, protocol, ports, low, size);
      tries >>= 1;
    }
  }

  /** In `bcp` nobody's mapping is ended early. */
  private takeOver(base: number, protocol: number, ports: number, low: number, size: number): number {
    if (this.mappings !== undefined) return -1;
    const ident = takeOverPort(this.table, base, protocol, ports, low, size, this.random() >>> 0);
    if (ident >= 0) this.takenOver++;
    return ident;
  }

  /** Whether the port in `ports` may be taken: its reply tuple is free and, in `bcp`, nobody else's mapping has it. */
  private isAvailable(
    base: number,
    protocol: number,
    address: number,
    ports: number,
    choice: SourceChoice | undefined,
    now: number,
  ): boolean {
    const { mappings } = this;
    if (choice !== undefined && mappings !== undefined) {
      if (mappings.findOutside(protocol, address, sourceIdent(ports)) >= 0) return false;
    }
    return this.isFree(base, protocol, ports, now);
  }

  /** Whether no flow has the reply tuple that `ports` (of the original direction, translated) would give. */
  private isFree(base: number, protocol: number, ports: number, now: number): boolean {
    const words = this.table.words;
    const source = words[base + FlowWord.REPLY_SOURCE];
    const destination = words[base + FlowWord.REPLY_DESTINATION];
    const inverted = invertPorts(protocol, ports);
    const hash = this.table.hash(source, destination, inverted, protocol);
    return this.table.lookup(hash, source, destination, inverted, protocol, now) < 0;
  }

  /** The port that the same source already uses on `address`; -1 when it uses none, or (in `linux`) but its own. */
  private identInUse(
    base: number,
    protocol: number,
    source: number,
    ident: number,
    address: number,
    now: number,
  ): number {
    if (this.mappings !== undefined) {
      const mapping = this.mappings.findInside(protocol, source, ident, address);
      return mapping < 0 ? -1 : this.mappings.outsidePortOf(mapping);
    }
    if (this.sources.size === 0) return -1;
    const words = this.table.words;
    const hash = this.sourceHash(base);
    const { slots, mask } = this.sources;
    for (let position = hash & mask; ; position = (position + 1) & mask) {
      const stored = slots[position * 2 + 1];
      if (stored === 0) return -1;
      if (slots[position * 2] !== hash) continue;
      const other = (stored - 1) << FLOW_SHIFT;
      if (
        words[other + FlowWord.SOURCE] === source &&
        sourceIdent(words[other + FlowWord.PORTS]) === ident &&
        words[other + FlowWord.REPLY_DESTINATION] === address &&
        (words[other + FlowWord.STATUS] & 0xff) === protocol &&
        this.table.isLive((stored - 1) as FlowId, now)
      ) {
        return this.boundIdent(other);
      }
    }
  }

  private sourceHash(base: number): number {
    const words = this.table.words;
    const protocol = words[base + FlowWord.STATUS] & 0xff;
    return this.table.hash(words[base + FlowWord.SOURCE], 0, sourceIdent(words[base + FlowWord.PORTS]), protocol);
  }
}

/** Protocols with a port or identifier that NAT can change. */
function hasIdent(protocol: number): boolean {
  return protocol === Protocol.TCP || protocol === Protocol.UDP || protocol === Protocol.ICMP;
}
