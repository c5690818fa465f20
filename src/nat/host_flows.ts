/** How many translated flows each inside address has, for the limit on them (RFC 6888 REQ-4, RFC 7857 8). */
import { HashIndex } from "../conntrack/hash_index.ts";
import type { Journal } from "../packet/journal.ts";

export class HostFlows {
  private readonly counts: Int32Array;
  private readonly addresses: Int32Array;
  private readonly index: HashIndex;
  private readonly hash: (address: number) => number;
  private readonly free: Int32Array;
  private freeCount: number;
  private journal: Journal | undefined = undefined;

  /** Place for `capacity` addresses; `hash` is keyed. */
  constructor(capacity: number, hash: (address: number) => number) {
    this.counts = new Int32Array(capacity);
    this.addresses = new Int32Array(capacity);
    this.index = new HashIndex(new Int32Array(HashIndex.slotsFor(capacity) * 2));
    this.hash = hash;
    this.free = Int32Array.from({ length: capacity }, (_, index) => capacity - 1 - index);
    this.freeCount = capacity;
  }

  /** Notes every change from now on, until the journal is undone. */
  rehearse(journal: Journal): void {
    journal.numbers(this);
    journal.fields(this, "journal");
    this.index.rehearse(journal);
    this.journal = journal;
  }

  /** Notes a host that is about to change. */
  private keep(host: number): void {
    this.journal?.word(this.counts, host);
    this.journal?.word(this.addresses, host);
  }

  /** Addresses with at least one flow. */
  get size(): number {
    return this.index.size;
  }

  countOf(address: number): number {
    const host = this.find(address);
    return host < 0 ? 0 : this.counts[host];
  }

  /** False, and nothing counted, where the address has `limit` flows already, or no room is left for another one. */
  add(address: number, limit: number): boolean {
    let host = this.find(address);
    if (host < 0) {
      if (this.freeCount === 0) return false;
      host = this.free[--this.freeCount];
      this.keep(host);
      this.addresses[host] = address;
      this.counts[host] = 0;
      this.index.insert(this.hash(address), host);
    }
    if (this.counts[host] >= limit) return false;
    this.keep(host);
    this.counts[host]++;
    return true;
  }

  remove(address: number): void {
    const host = this.find(address);
    if (host < 0) return;
    this.keep(host);
    if (--this.counts[host] > 0) return;
    this.journal?.word(this.free, this.freeCount);
    this.index.remove(this.hash(address), host);
    this.free[this.freeCount++] = host;
  }

  private find(address: number): number {
    const { slots, mask } = this.index;
    for (let position = this.hash(address) & mask; ; position = (position + 1) & mask) {
      const stored = slots[position * 2 + 1];
      if (stored === 0) return -1;
      if (this.addresses[stored - 1] === address) return stored - 1;
    }
  }
}
