/**
 * Reassembly of IPv4 datagrams (RFC 791 3.2, RFC 815), so that conntrack and NAT see them whole.
 *
 * Theory of operation. A datagram in the making owns one slot of the arena, which takes 64 KiB: each fragment's
 * payload is copied to its place there, and the fragment's own slot is free at once. A bitmap of 8-byte blocks says
 * what has come. A fragment all of whose blocks are there is a duplicate and ignored; one that overlaps in part
 * discards the whole datagram, as Linux does (RFC 5722 asks it of IPv6; nobody honest sends it). The whole datagram
 * goes on as one frame that remembers its largest fragment, and leaves in pieces no larger than that.
 *
 * Limits: `capacity` datagrams, of one port at most a quarter of them, of one source at most a quarter of that; 30 s
 * each. Beyond that the oldest of the source, or else of the port, gives way (`displaced`): the fragments of an honest
 * datagram come one behind the other, and a flood of first fragments needs longer than that to get round its share.
 *
 * Longer than other files: the table, its limits and the bytes of a datagram belong to each other.
 */
import { type Arena, VNET_HEADER_BYTES } from "../packet/arena.ts";
import { ETHERNET_HEADER_BYTES } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import * as ipv4 from "../packet/ipv4.ts";
import type { Journal } from "../packet/journal.ts";
import { clearVnetHeader } from "../packet/vnet_header.ts";
import { HashIndex } from "./hash_index.ts";

/** Linux: net.ipv4.ipfrag_time. */
export const REASSEMBLY_MS = 30_000;
const BITMAP_WORDS = 256;
/** The ECN field of the TOS byte, its value for "congestion experienced", the bit for "not capable" in `marks`. */
const ECN_MASK = 3;
const CONGESTION = 3;
const NOT_CAPABLE = 1;
const MARKS_CONTRADICT = -1;
const LARGEST_DATAGRAM_FRAME = ETHERNET_HEADER_BYTES + 65_535;
const LARGEST_PAYLOAD = 65_535 - ipv4.IPV4_HEADER_BYTES;

/** What became of a fragment; a slot number (>= 0) is that of the datagram it has completed. */
export const FragmentResult = { HELD: -1, DUPLICATE: -2, REFUSED: -3 } as const;

export class Fragments {
  readonly capacity: number;
  /** Datagrams in the making. */
  size = 0;
  expired = 0;
  overlapped = 0;
  displaced = 0;
  private readonly arena: Arena;
  private readonly seed: number;
  private readonly index: HashIndex;
  private readonly source: Int32Array;
  private readonly destination: Int32Array;
  /** Identification << 16 | protocol << 8 | ingress interface. */
  private readonly key: Int32Array;
  private readonly port: Int32Array;
  /** Slot of the datagram, -1 in a free entry. */
  private readonly slot: Int32Array;
  private readonly deadline: Int32Array;
  /** Which one it was, counted from the first (wrapped): many begin in one millisecond. */
  private readonly number: Int32Array;
  private begun = 0;
  /** Payload bytes in all, -1 while the last fragment has not come. */
  private readonly total: Int32Array;
  private readonly received: Int32Array;
  /** Header bytes, once the first fragment has come; 0 before. */
  private readonly headerBytes: Int32Array;
  private readonly largest: Int32Array;
  /** ECN fields that its fragments came with, a bit each. */
  private readonly marks: Int32Array;
  private readonly bitmap: Int32Array;
  private journal: Journal | undefined = undefined;

  constructor(arena: Arena, capacity: number, seed: number) {
    this.arena = arena;
    this.capacity = capacity;
    this.seed = seed | 0;
    this.index = new HashIndex(new Int32Array(HashIndex.slotsFor(capacity) * 2));
    this.source = new Int32Array(capacity);
    this.destination = new Int32Array(capacity);
    this.key = new Int32Array(capacity);
    this.port = new Int32Array(capacity);
    this.slot = new Int32Array(capacity).fill(-1);
    this.deadline = new Int32Array(capacity);
    this.number = new Int32Array(capacity);
    this.total = new Int32Array(capacity);
    this.received = new Int32Array(capacity);
    this.headerBytes = new Int32Array(capacity);
    this.largest = new Int32Array(capacity);
    this.marks = new Int32Array(capacity);
    this.bitmap = new Int32Array(capacity * BITMAP_WORDS);
  }

  /** Notes all that there is now, and each datagram that is about to change, until the journal is undone. */
  rehearse(journal: Journal): void {
    journal.numbers(this);
    journal.fields(this, "journal");
    this.index.rehearse(journal);
    journal.arraysOf(this);
    this.journal = journal;
  }

  /** Notes the datagram in the making: its bytes, and what is known of them. */
  private keep(entry: number): void {
    const { journal, arena } = this;
    if (journal === undefined) return;
    const frame = arena.frames[this.slot[entry]];
    journal.copy(arena.bytes.subarray(frame.at - VNET_HEADER_BYTES, frame.at + LARGEST_DATAGRAM_FRAME));
    journal.fields(frame, ...Object.keys(frame).filter((name) => name !== "slot" && name !== "at"));
  }

  /**
   * Takes in a fragment, whose slot stays the caller's. Returns the slot of the datagram that it completed, with one
   * reference and its frame ready for `parseIpv4`, or a `FragmentResult`.
   */
  add(frame: Frame, now: number): number {
    const { memory } = this.arena;
    const start = (frame.fragment & ipv4.Fragment.OFFSET) << 3;
    const isLast = (frame.fragment & ipv4.Fragment.MORE) === 0;
    const length = frame.end - frame.l4;
    // Only the last may end off a block's edge (RFC 791); and nothing may end beyond the largest datagram.
    if (length === 0 || (!isLast && (length & 7) !== 0) || start + length > LARGEST_PAYLOAD) {
      return FragmentResult.REFUSED;
    }
    const key = (ipv4.identification(memory, frame.ip) << 16) | (frame.protocol << 8) | (frame.ingressInterface & 0xff);
    let entry = this.find(frame.source, frame.destination, key);
    if (entry < 0) {
      entry = this.begin(frame, key, now);
      if (entry < 0) return FragmentResult.REFUSED;
    }
    if (this.journal !== undefined) this.keep(entry);
    if (!this.fits(entry, start, length, isLast)) return this.discard(entry);
    const present = this.blocksPresent(entry, start >> 3, (start + length + 7) >> 3);
    if (present === Presence.ALL) return FragmentResult.DUPLICATE;
    if (present === Presence.SOME) return this.discard(entry);
    this.store(entry, frame, start, length, isLast);
    const isComplete = this.received[entry] === this.total[entry] && this.headerBytes[entry] !== 0;
    return isComplete ? this.complete(entry) : FragmentResult.HELD;
  }

  /** Gives up datagrams whose time is over; returns how many. */
  expire(now: number): number {
    if (this.size === 0) return 0;
    let ended = 0;
    for (let entry = 0; entry < this.capacity; entry++) {
      if (this.slot[entry] < 0 || ((this.deadline[entry] - now) | 0) > 0) continue;
      this.arena.release(this.slot[entry]);
      this.end(entry);
      ended++;
    }
    this.expired += ended;
    return ended;
  }

  private discard(entry: number): number {
    this.overlapped++;
    this.arena.release(this.slot[entry]);
    this.end(entry);
    return FragmentResult.REFUSED;
  }

  private begin(frame: Frame, key: number, now: number): number {
    this.makeRoom(frame.ingressPort, frame.source);
    if (this.size >= this.capacity) return -1;
    const slot = this.arena.take();
    if (slot < 0) return -1;
    const entry = this.slot.indexOf(-1);
    this.slot[entry] = slot;
    this.source[entry] = frame.source;
    this.destination[entry] = frame.destination;
    this.key[entry] = key;
    this.port[entry] = frame.ingressPort;
    this.deadline[entry] = (now + REASSEMBLY_MS) | 0;
    this.begun = (this.begun + 1) | 0;
    this.number[entry] = this.begun;
    this.total[entry] = -1;
    this.received[entry] = 0;
    this.headerBytes[entry] = 0;
    this.largest[entry] = 0;
    this.marks[entry] = 0;
    this.bitmap.fill(0, entry * BITMAP_WORDS, (entry + 1) * BITMAP_WORDS);
    this.index.insert(this.hash(frame.source, frame.destination, key), entry);
    this.size++;
    return entry;
  }

  /** The end is where the last fragment says, whichever comes first. */
  private fits(entry: number, start: number, length: number, isLast: boolean): boolean {
    const total = this.total[entry];
    if (isLast) return (total < 0 || total === start + length) && this.highestBlock(entry) <= (start + length + 7) >> 3;
    return total < 0 || start + length <= total;
  }

  private store(entry: number, frame: Frame, start: number, length: number, isLast: boolean): void {
    const { arena } = this;
    const target = arena.frames[this.slot[entry]];
    const ip = target.at + ETHERNET_HEADER_BYTES;
    // The payload lies where it will be behind a header without options; the first fragment's may be longer.
    const payload = ip + ipv4.IPV4_HEADER_BYTES;
    arena.bytes.copyWithin(payload + start, frame.l4, frame.end);
    if (start === 0) this.takeHeader(entry, frame, target);
    this.mark(entry, start >> 3, (start + length + 7) >> 3);
    this.received[entry] += length;
    if (isLast) this.total[entry] = start + length;
    this.marks[entry] |= 1 << (arena.memory.getUint8(frame.ip + 1) & ECN_MASK);
    const size = frame.end - frame.ip;
    if (size > this.largest[entry]) this.largest[entry] = size;
  }

  /** Options of a fragmented datagram are not kept: the payload keeps its place. */
  private takeHeader(entry: number, frame: Frame, target: Frame): void {
    const { arena } = this;
    const end = ETHERNET_HEADER_BYTES + ipv4.IPV4_HEADER_BYTES;
    arena.bytes.copyWithin(target.at, frame.at, frame.at + end);
    this.headerBytes[entry] = ipv4.IPV4_HEADER_BYTES;
    target.destinationMacHigh = frame.destinationMacHigh;
    target.destinationMacLow = frame.destinationMacLow;
    target.sourceMacHigh = frame.sourceMacHigh;
    target.sourceMacLow = frame.sourceMacLow;
    target.etherType = frame.etherType;
  }

  private complete(entry: number): number {
    const mark = markOf(this.marks[entry]);
    if (mark === MARKS_CONTRADICT) return this.discard(entry);
    const { arena } = this;
    const { memory } = arena;
    const slot = this.slot[entry];
    const target = arena.frames[slot];
    const ip = target.at + ETHERNET_HEADER_BYTES;
    const length = ipv4.IPV4_HEADER_BYTES + this.total[entry];
    clearVnetHeader(memory, target.at);
    memory.setUint8(ip, 0x45);
    if (mark !== 0) memory.setUint8(ip + 1, memory.getUint8(ip + 1) | mark);
    memory.setInt16(ip + 2, length);
    memory.setInt16(ip + 6, memory.getUint16(ip + 6) & ipv4.Fragment.DONT);
    memory.setInt16(ip + 10, 0);
    memory.setInt16(ip + 10, ipv4.computeHeaderChecksum(memory, ip, ipv4.IPV4_HEADER_BYTES));
    target.length = ETHERNET_HEADER_BYTES + length;
    arena.slotLength[slot] = target.length;
    target.ingressPort = this.port[entry];
    target.ingressInterface = this.key[entry] & 0xff;
    target.largestFragment = this.largest[entry];
    target.flood = 0;
    target.own = 0;
    target.reference = -1;
    target.rule = -1;
    this.end(entry);
    return slot;
  }

  private end(entry: number): void {
    this.index.remove(this.hash(this.source[entry], this.destination[entry], this.key[entry]), entry);
    this.slot[entry] = -1;
    this.size--;
  }

  private find(source: number, destination: number, key: number): number {
    const hash = this.hash(source, destination, key);
    const { slots, mask } = this.index;
    for (let position = hash & mask; ; position = (position + 1) & mask) {
      const entry = slots[position * 2 + 1] - 1;
      if (entry < 0) return -1;
      const isSame =
        this.source[entry] === source && this.destination[entry] === destination && this.key[entry] === key;
      if (isSame) return entry;
    }
  }

  /** Ends the oldest datagram of a source or a port that has as many in the making as it may. */
  private makeRoom(port: number, source: number): void {
    let ofPort = 0;
    let ofSource = 0;
    let oldest = -1;
    let oldestOfSource = -1;
    for (let entry = 0; entry < this.capacity; entry++) {
      if (this.slot[entry] < 0 || this.port[entry] !== port) continue;
      ofPort++;
      if (this.isOlder(entry, oldest)) oldest = entry;
      if (this.source[entry] !== source) continue;
      ofSource++;
      if (this.isOlder(entry, oldestOfSource)) oldestOfSource = entry;
    }
    const share = this.capacity >> 2;
    if (ofSource > 0 && ofSource >= share >> 2) this.displace(oldestOfSource);
    else if (ofPort > 0 && ofPort >= share) this.displace(oldest);
  }

  private isOlder(entry: number, other: number): boolean {
    return other < 0 || ((this.number[entry] - this.number[other]) | 0) < 0;
  }

  private displace(entry: number): void {
    if (this.journal !== undefined) this.keep(entry);
    this.displaced++;
    this.arena.release(this.slot[entry]);
    this.end(entry);
  }

  private blocksPresent(entry: number, from: number, to: number): Presence {
    const base = entry * BITMAP_WORDS;
    let present = 0;
    for (let block = from; block < to; block++) {
      present += (this.bitmap[base + (block >> 5)] >>> (block & 31)) & 1;
    }
    if (present === 0) return Presence.NONE;
    return present === to - from ? Presence.ALL : Presence.SOME;
  }

  private mark(entry: number, from: number, to: number): void {
    const base = entry * BITMAP_WORDS;
    for (let block = from; block < to; block++) this.bitmap[base + (block >> 5)] |= 1 << (block & 31);
  }

  /** One more than the highest block that has come. */
  private highestBlock(entry: number): number {
    const base = entry * BITMAP_WORDS;
    for (let word = BITMAP_WORDS - 1; word >= 0; word--) {
      if (this.bitmap[base + word] !== 0) return word * 32 + 32 - Math.clz32(this.bitmap[base + word]);
    }
    return 0;
  }

  private hash(source: number, destination: number, key: number): number {
    let h = Math.imul(source ^ this.seed, 0x9e3779b1);
    h = Math.imul((h ^ (h >>> 15)) + destination, 0x85ebca6b);
    h = Math.imul((h ^ (h >>> 13)) + key + this.seed, 0xc2b2ae35);
    return h ^ (h >>> 16);
  }
}

/** What a datagram's ECN field becomes (RFC 3168 5.3): CE where one fragment has it, 0 for that of the first. */
function markOf(marks: number): number {
  const isMixed = (marks & NOT_CAPABLE) !== 0 && marks !== NOT_CAPABLE;
  if (isMixed) return MARKS_CONTRADICT;
  return (marks & (1 << CONGESTION)) !== 0 ? CONGESTION : 0;
}

const Presence = { NONE: 0, SOME: 1, ALL: 2 } as const;
type Presence = (typeof Presence)[keyof typeof Presence];
