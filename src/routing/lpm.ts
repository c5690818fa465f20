/**
 * Longest-prefix match over IPv4.
 *
 * Theory of operation. The length of a prefix puts a route on one of three levels; each leaves to the one before what
 * it has no route for:
 *
 *     /0 - /16    an array of 65 536 codes, indexed by the first 16 bits of the address
 *     /17 - /24   an array of 262 144 entries, indexed by the first 18 bits, each naming a chunk: the codes of its 64
 *                 /24s, with runs of equal ones kept once
 *     /25 - /32   for each /24 that has such routes a block: sorted starts of ranges, found by bisection
 *
 * A look-up that meets no route beyond /24 reads an entry, its chunk (mostly one cache line) and a short code, and
 * takes no branch that depends on the address: a wrong guess of the processor would cost more than the reads. The
 * compression is that of Poptrie (Asai and Ohara, SIGCOMM 2015), cut into levels instead of a trie so that the worst
 * update is small and known: a /0 writes up to 65 536 short codes, a /17 two chunks and the heads of up to 128 blocks.
 * Nothing is ever rebuilt as a whole. forwarding_memory.ts says how it all lies in memory.
 *
 * An update paints the part of its prefix that no longer route of the same level covers, asking the exact routes
 * (rib.ts) which do. Limits: `capacity` routes, values up to `MAX_ROUTE_VALUE`. Chunks are smallest while values stay
 * below 255.
 */
import { ForwardingMemory } from "./forwarding_memory.ts";
import { MAX_ROUTE_VALUE, Rib, type RouteEntry } from "./rib.ts";

export { MAX_ROUTE_VALUE, type RouteEntry } from "./rib.ts";

export const DEFAULT_ROUTE_CAPACITY = 1 << 20;
const MAX_ROUTE_CAPACITY = 1 << 21;

export interface LongestPrefixMatchOptions {
  /** Most routes held at once, up to 2^21. Default: 2^20. */
  readonly capacity?: number;
}

export class LongestPrefixMatch {
  private readonly memory: ForwardingMemory;
  private readonly rib: Rib;
  /** Length of the prefix that each short code comes from; 0 also where there is none. */
  private readonly shortLengths = new Uint8Array(1 << 16);

  /** @throws RangeError for a bad capacity. */
  constructor(options: LongestPrefixMatchOptions = {}) {
    const capacity = options.capacity ?? DEFAULT_ROUTE_CAPACITY;
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_ROUTE_CAPACITY) {
      throw new RangeError(`capacity of a routing table must be 1 to ${MAX_ROUTE_CAPACITY} routes, not ${capacity}`);
    }
    this.memory = new ForwardingMemory(capacity);
    this.rib = new Rib(capacity);
  }

  /** Number of routes. */
  get size(): number {
    return this.rib.size;
  }

  get capacity(): number {
    return this.rib.capacity;
  }

  /** Value of the longest prefix that covers the address (host order, signed), or -1. */
  lookup(address: number): number {
    return this.memory.lookup(address);
  }

  /** Value of exactly this prefix, or -1. Bits beyond `length` do not count. @throws RangeError for a bad length. */
  get(address: number, length: number): number {
    checkLength(length);
    return this.rib.get(address & maskOf(length), length);
  }

  /**
   * Adds a route, or gives it a new value. Bits of the address beyond `length` do not count.
   * @throws RangeError for a bad length or value, and for one route too many; then nothing has changed.
   */
  insert(address: number, length: number, value: number): void {
    checkLength(length);
    if (!Number.isInteger(value) || value < 0 || value > MAX_ROUTE_VALUE) {
      throw new RangeError(`value of a route must be 0 to ${MAX_ROUTE_VALUE}, not ${value}`);
    }
    const { rib } = this;
    const prefix = address & maskOf(length);
    if ((rib.size >= rib.capacity || !this.memory.hasRoom()) && rib.get(prefix, length) < 0) {
      throw new RangeError(`the routing table is full: ${rib.size} routes, limit ${rib.capacity}`);
    }
    if (rib.set(prefix, length, value) !== value) this.paint(prefix, length, value + 1, length);
  }

  /** False when there is no such route. @throws RangeError for a bad length. */
  remove(address: number, length: number): boolean {
    checkLength(length);
    const prefix = address & maskOf(length);
    if (!this.rib.delete(prefix, length)) return false;
    const shortest = length <= 16 ? 0 : length <= 24 ? 17 : 25;
    for (let parent = length - 1; parent >= shortest; parent--) {
      const value = this.rib.get(prefix & maskOf(parent), parent);
      if (value < 0) continue;
      this.paint(prefix, length, value + 1, parent);
      return true;
    }
    this.paint(prefix, length, 0, 0);
    return true;
  }

  clear(): void {
    this.rib.clear();
    this.memory.clear();
    this.shortLengths.fill(0);
  }

  /** All routes by address (unsigned), the shorter prefix first. Sorts a snapshot: for dumps. */
  entries(): Generator<RouteEntry> {
    return this.rib.entries();
  }

  /** Calls back for all routes in the order of `entries`. */
  forEach(callback: (address: number, length: number, value: number) => void): void {
    for (const { address, length, value } of this.rib.entries()) callback(address, length, value);
  }

  /** Bytes of what look-ups read. */
  memoryBytes(): number {
    return this.memory.usedBytes();
  }

  /** Bytes reserved for the exact routes, which look-ups never read. */
  ribBytes(): number {
    return this.rib.memoryBytes() + this.shortLengths.byteLength;
  }

  /** Gives a prefix, but for what longer ones of its level cover, a code that comes from a route of length `from`. */
  private paint(prefix: number, length: number, code: number, from: number): void {
    if (length <= 16) this.paintShort(prefix, length, code, from);
    else if (length <= 24) this.paintChunks(prefix, length, code);
    else this.paintBlock(prefix, length, code);
  }

  private paintShort(prefix: number, length: number, code: number, from: number): void {
    const { memory, shortLengths } = this;
    const first = prefix >>> 16;
    const end = first + (1 << (16 - length));
    for (let short = first; short < end; short++) {
      if (shortLengths[short] > length) continue;
      memory.setShortCode(short, code);
      shortLengths[short] = from;
    }
  }

  private paintChunks(prefix: number, length: number, code: number): void {
    if (length === 17) {
      const upper = prefix | 0x4000;
      if (this.rib.get(prefix, 18) < 0) this.paintChunks(prefix, 18, code);
      if (this.rib.get(upper, 18) < 0) this.paintChunks(upper, 18, code);
      return;
    }
    this.memory.readChunk(prefix >>> 14);
    this.paintSlots(prefix, length, code);
    this.memory.writeChunk(prefix >>> 14);
  }

  private paintSlots(prefix: number, length: number, code: number): void {
    if (length === 24) {
      const { slots } = this.memory;
      const index = (prefix >>> 8) & 63;
      if (slots[index] < 0) this.memory.setOwnCode(slots[index], code);
      else slots[index] = code;
      return;
    }
    const upper = prefix | (0x80000000 >>> length);
    if (this.rib.get(prefix, length + 1) < 0) this.paintSlots(prefix, length + 1, code);
    if (this.rib.get(upper, length + 1) < 0) this.paintSlots(upper, length + 1, code);
  }

  private paintBlock(prefix: number, length: number, code: number): void {
    const { memory } = this;
    const index = (prefix >>> 8) & 63;
    memory.readChunk(prefix >>> 14);
    const own = memory.takeBlock(memory.slots[index]);
    this.paintHosts(prefix, length, code);
    memory.slots[index] = memory.putBlock(own);
    memory.writeChunk(prefix >>> 14);
  }

  private paintHosts(prefix: number, length: number, code: number): void {
    if (length === 32) {
      this.memory.hosts[prefix & 255] = code;
      return;
    }
    const upper = prefix | (0x80000000 >>> length);
    if (this.rib.get(prefix, length + 1) < 0) this.paintHosts(prefix, length + 1, code);
    if (this.rib.get(upper, length + 1) < 0) this.paintHosts(upper, length + 1, code);
  }
}

function maskOf(length: number): number {
  return length === 0 ? 0 : -1 << (32 - length);
}

function checkLength(length: number): void {
  if (!Number.isInteger(length) || length < 0 || length > 32) {
    throw new RangeError(`prefix length must be 0 to 32, not ${length}`);
  }
}
