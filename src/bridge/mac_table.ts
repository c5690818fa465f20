/**
 * The MAC table: behind which port a station was last seen (IEEE 802.1D 7.8, 7.9).
 *
 * Theory of operation. A station is a network and a MAC; the same MAC may live in several networks. Stations fill the
 * parallel arrays densely, in no order: removal moves the last one into the gap, so a dump or an ageing pass reads
 * `size` entries and nothing else. `HashIndex` finds a station by its key; the hash is keyed with a seed, since
 * anybody on a network chooses MACs. Nothing is allocated after construction.
 *
 * A station ages out `ageingMs` after its last frame. From that moment it is not found any more; `expire` gives its
 * place back later, a bounded number of entries a call. A full table learns nothing new, except in the place of a
 * station that has aged out, for which it looks at `RECLAIM_SCAN` entries only: a flood of forged MACs costs the same
 * for each frame. Nor can one port fill the table, where `shares` are kept.
 *
 * Callers may keep a port that they found (or did not find) for as long as `generation` stays the same. A station
 * that has aged out raises it when it is removed, so a kept port may outlive its station by one round of `expire`.
 *
 * Times are milliseconds wrapped to 32 bits and compared by difference: `expire` must get round the whole table
 * within 2^31 - `ageingMs` ms (24 days), or a long silent station looks young again.
 */
import { HashIndex } from "../conntrack/hash_index.ts";
import type { Shares } from "../conntrack/shares.ts";
import { isGroupMac } from "../packet/ethernet.ts";
import type { Journal } from "../packet/journal.ts";

/** What became of a source MAC. FULL: not learned, and counted in `overflows`; IGNORED: no station can have it. */
export const LearnResult = { KNOWN: 0, NEW: 1, MOVED: 2, FULL: 3, IGNORED: 4 } as const;
export type LearnResult = (typeof LearnResult)[keyof typeof LearnResult];

/** Entries that a full table looks at for one to reclaim. */
const RECLAIM_SCAN = 16;
/** Ports share a place of the last-station cache when they are equal modulo this; it is a power of two. */
const LAST_STATION_PLACES = 4096;
/** No age, a difference of 32-bit times, exceeds this. */
const NEVER = 0x7fffffff;
const MAX_AGEING_MS = 0x3fffffff;

export interface MacTableOptions {
  /** Most stations held at once. */
  readonly capacity: number;
  /** Milliseconds after its last frame when a station ages out, up to 2^30 - 1; 0: never. */
  readonly ageingMs: number;
  /** Key of the hash: 32 random bits. */
  readonly seed: number;
  /** Counts the stations of each port, none of which may fill the table then. Without it, any may. */
  readonly shares?: Shares;
}

export interface Station {
  readonly network: number;
  /** aa:bb:cc:dd:ee:ff */
  readonly mac: string;
  readonly port: number;
  readonly ageMs: number;
}

export class MacTable {
  readonly capacity: number;
  size = 0;
  /** Raised (wrapping at 32 bits) whenever a station is new, moves or is removed. */
  generation = 0;
  moves = 0;
  overflows = 0;
  /** -1 in entries that hold no station, so that a stale index never matches. */
  private readonly network: Int32Array;
  private readonly macHigh: Int32Array;
  private readonly macLow: Int32Array;
  private readonly port: Int32Array;
  private readonly lastSeen: Int32Array;
  private readonly hash: Int32Array;
  private readonly index: HashIndex;
  /** Entry of the station that a port heard last: a hint, compared before it is believed. */
  private readonly lastStation = new Int32Array(LAST_STATION_PLACES);
  private readonly shares: Shares | undefined;
  private readonly key: number;
  private readonly multiplier: number;
  /** Greatest age of a station that still counts. */
  private greatestAge = NEVER;
  private cursor = 0;
  private journal: Journal | undefined = undefined;

  /** @throws RangeError for a capacity that is no positive integer below 2^24, or a bad ageing time. */
  constructor(options: MacTableOptions) {
    const { capacity, seed } = options;
    if (!Number.isInteger(capacity) || capacity < 1 || capacity >= 1 << 24) {
      throw new RangeError(`capacity of a MAC table must be 1 to ${(1 << 24) - 1}, not ${capacity}`);
    }
    this.capacity = capacity;
    this.setAgeing(options.ageingMs);
    this.shares = options.shares;
    this.key = seed | 0;
    this.multiplier = Math.imul(seed ^ (seed >>> 16), 0x7feb352d) | 1;
    this.network = new Int32Array(capacity).fill(-1);
    this.macHigh = new Int32Array(capacity);
    this.macLow = new Int32Array(capacity);
    this.port = new Int32Array(capacity);
    this.lastSeen = new Int32Array(capacity);
    this.hash = new Int32Array(capacity);
    this.index = new HashIndex(new Int32Array(HashIndex.slotsFor(capacity) * 2));
  }

  /** Changes the ageing time, for stations already known too; 0: never. @throws RangeError */
  setAgeing(ageingMs: number): void {
    if (!Number.isInteger(ageingMs) || ageingMs < 0 || ageingMs > MAX_AGEING_MS) {
      throw new RangeError(`ageing time must be 0 to ${MAX_AGEING_MS} ms, not ${ageingMs}`);
    }
    this.greatestAge = ageingMs === 0 ? NEVER : ageingMs - 1;
  }

  /** Notes every change that a frame from `port` makes, until the journal is undone. */
  rehearse(journal: Journal, port: number): void {
    journal.numbers(this);
    journal.fields(this, "journal");
    this.index.rehearse(journal);
    this.shares?.rehearse(journal);
    this.journal = journal;
    this.keep(this.lastStation[port & (LAST_STATION_PLACES - 1)]);
    journal.word(this.lastStation, port & (LAST_STATION_PLACES - 1));
  }

  /** Notes an entry that is about to change. */
  private keep(entry: number): void {
    if (this.journal === undefined) return;
    const { network, macHigh, macLow, port, lastSeen, hash } = this;
    for (const array of [network, macHigh, macLow, port, lastSeen, hash]) this.journal.word(array, entry);
  }

  /** A frame from this MAC came in by this port: a `LearnResult`. `network` and `port` are >= 0, `now` in ms. */
  learn(network: number, macHigh: number, macLow: number, port: number, now: number): LearnResult {
    const entry = this.lastStation[port & (LAST_STATION_PLACES - 1)];
    if (
      this.macLow[entry] === macLow &&
      this.macHigh[entry] === macHigh &&
      this.port[entry] === port &&
      this.network[entry] === network &&
      ((now - this.lastSeen[entry]) | 0) <= this.greatestAge
    ) {
      this.lastSeen[entry] = now;
      return LearnResult.KNOWN;
    }
    return this.learnOther(network, macHigh, macLow, port, now);
  }

  /** The port behind which the station is, or -1. Not for group addresses: nobody learns them. */
  find(network: number, macHigh: number, macLow: number, now: number): number {
    const entry = this.locate(network, macHigh, macLow, this.hashOf(network, macHigh, macLow));
    if (entry < 0 || ((now - this.lastSeen[entry]) | 0) > this.greatestAge) return -1;
    return this.port[entry];
  }

  /** Removes stations that have aged out among the next `budget` entries; returns how many it removed. */
  expire(now: number, budget: number): number {
    let scans = Math.min(budget, this.size);
    let removed = 0;
    for (; scans > 0; scans--) {
      if (this.cursor >= this.size) this.cursor = 0;
      if (((now - this.lastSeen[this.cursor]) | 0) > this.greatestAge) {
        this.remove(this.cursor);
        removed++;
      } else this.cursor++;
    }
    return removed;
  }

  /** Removes the stations behind a port. Reads the whole table. */
  forgetPort(port: number): void {
    for (let entry = this.size - 1; entry >= 0; entry--) if (this.port[entry] === port) this.remove(entry);
  }

  /** Removes the stations of a network. Reads the whole table. */
  forgetNetwork(network: number): void {
    for (let entry = this.size - 1; entry >= 0; entry--) if (this.network[entry] === network) this.remove(entry);
  }

  clear(): void {
    if (this.size === 0) return;
    for (let entry = 0; entry < this.size; entry++) this.shares?.give(this.port[entry]);
    this.network.fill(-1);
    this.index.clear();
    this.size = 0;
    this.cursor = 0;
    this.raiseGeneration();
  }

  /** The stations that have not aged out, in no order. Allocates: for dumps. */
  entries(now: number): Station[] {
    const stations: Station[] = [];
    for (let entry = 0; entry < this.size; entry++) {
      const ageMs = (now - this.lastSeen[entry]) | 0;
      if (ageMs > this.greatestAge) continue;
      const mac = formatMac(this.macHigh[entry], this.macLow[entry]);
      stations.push({ network: this.network[entry], mac, port: this.port[entry], ageMs: Math.max(0, ageMs) });
    }
    return stations;
  }

  private learnOther(network: number, macHigh: number, macLow: number, port: number, now: number): LearnResult {
    if (isGroupMac(macHigh) || (macHigh === 0 && macLow === 0)) return LearnResult.IGNORED;
    const hash = this.hashOf(network, macHigh, macLow);
    const entry = this.locate(network, macHigh, macLow, hash);
    if (entry < 0) return this.add(network, macHigh, macLow, port, now, hash);
    if (this.journal !== undefined) this.keep(entry);
    const aged = ((now - this.lastSeen[entry]) | 0) > this.greatestAge;
    const moved = this.port[entry] !== port;
    if (moved) this.shares?.give(this.port[entry]);
    if (moved) this.shares?.take(port);
    this.port[entry] = port;
    this.lastSeen[entry] = now;
    this.lastStation[port & (LAST_STATION_PLACES - 1)] = entry;
    if (!aged && !moved) return LearnResult.KNOWN;
    this.raiseGeneration();
    if (aged) return LearnResult.NEW;
    this.moves++;
    return LearnResult.MOVED;
  }

  private add(network: number, macHigh: number, macLow: number, port: number, now: number, hash: number): LearnResult {
    if (!this.hasRoom(port) && this.expire(now, RECLAIM_SCAN) === 0) {
      this.overflows++;
      return LearnResult.FULL;
    }
    const entry = this.size++;
    if (this.journal !== undefined) this.keep(entry);
    this.network[entry] = network;
    this.macHigh[entry] = macHigh;
    this.macLow[entry] = macLow;
    this.port[entry] = port;
    this.lastSeen[entry] = now;
    this.hash[entry] = hash;
    this.index.insert(hash, entry);
    this.shares?.take(port);
    this.lastStation[port & (LAST_STATION_PLACES - 1)] = entry;
    this.raiseGeneration();
    return LearnResult.NEW;
  }

  private hasRoom(port: number): boolean {
    const free = this.capacity - this.size;
    return free > 0 && (this.shares === undefined || this.shares.mayTake(port, free));
  }

  private remove(entry: number): void {
    this.shares?.give(this.port[entry]);
    const last = --this.size;
    if (this.journal !== undefined) {
      this.keep(entry);
      this.keep(last);
    }
    this.index.remove(this.hash[entry], entry);
    if (entry !== last) {
      this.index.remove(this.hash[last], last);
      this.index.insert(this.hash[last], entry);
      this.network[entry] = this.network[last];
      this.macHigh[entry] = this.macHigh[last];
      this.macLow[entry] = this.macLow[last];
      this.port[entry] = this.port[last];
      this.lastSeen[entry] = this.lastSeen[last];
      this.hash[entry] = this.hash[last];
    }
    this.network[last] = -1;
    this.raiseGeneration();
  }

  private raiseGeneration(): void {
    this.generation = (this.generation + 1) | 0;
  }

  /** Entry of a station, aged out or not; -1 where there is none. */
  private locate(network: number, macHigh: number, macLow: number, hash: number): number {
    const { slots, mask } = this.index;
    let position = hash & mask;
    for (;;) {
      const entry = slots[position * 2 + 1] - 1;
      if (entry < 0) return -1;
      if (
        slots[position * 2] === hash &&
        this.macLow[entry] === macLow &&
        this.macHigh[entry] === macHigh &&
        this.network[entry] === network
      ) {
        return entry;
      }
      position = (position + 1) & mask;
    }
  }

  /** Both the offset and the multiplier are secret, so that no set of MACs collides under every seed. */
  private hashOf(network: number, macHigh: number, macLow: number): number {
    let hash = Math.imul(macLow ^ this.key, this.multiplier);
    hash = Math.imul((hash ^ (hash >>> 15)) + (macHigh ^ (network << 16)), 0x2c1b3c6d);
    hash = Math.imul(hash ^ (hash >>> 13) ^ this.key, this.multiplier);
    return hash ^ (hash >>> 16);
  }
}

function formatMac(high: number, low: number): string {
  const digits = high.toString(16).padStart(4, "0") + (low >>> 0).toString(16).padStart(8, "0");
  return (digits.match(/../g) as string[]).join(":");
}
