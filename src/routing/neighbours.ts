/**
 * Neighbours: the hardware addresses of next hops, and the packets that wait for them.
 *
 * Theory of operation. A neighbour is an index into parallel arrays; flows cache it. Its states follow RFC 4861 7.3.2,
 * with ARP (RFC 826) as the question: INCOMPLETE asks up to `MAX_PROBES` times, a second apart, while packets are
 * parked (RFC 1122 2.3.2.2), then FAILED; REACHABLE lasts `REACHABLE_MS`, then STALE; a STALE one that is used is
 * asked again, unicast, in state PROBE, while it goes on being used. A packet for a FAILED one starts over. A PERMANENT
 * one is where it was said to be, whatever ARP says. `unanswered` is set from FAILED until the neighbour speaks again.
 *
 * Limits: `capacity` neighbours, at most half of them unresolved (INCOMPLETE or FAILED), so that who scans a subnet
 * takes nobody's place. Where room is needed a FAILED or STALE one gives way (`generation` rises, since flows may hold
 * its index), never one that is in use; the search for it is bounded. Each parks at most `PARKED_LIMIT` frames, all
 * together at most `parkedLimit`. Of all three (neighbours, unresolved ones, parked frames) the port whose frames bring
 * them in gets its share, and no more (`conntrack/shares.ts`): beyond it only a neighbour of its own gives way.
 *
 * Longer than other files: states, timers and queues read the same arrays.
 * Invariants: `parkedTotal` is the number of frames in all queues, `unresolved` that of neighbours without an answer.
 */
import { HashIndex } from "../conntrack/hash_index.ts";
import { Shares } from "../conntrack/shares.ts";
import type { Frame } from "../packet/frame.ts";
import type { Journal } from "../packet/journal.ts";

/** From REACHABLE on, packets may be sent. */
export const NeighbourState = {
  FREE: 0,
  INCOMPLETE: 1,
  FAILED: 2,
  REACHABLE: 3,
  STALE: 4,
  PROBE: 5,
  PERMANENT: 6,
} as const;

export const REACHABLE_MS = 30_000;
export const PROBE_INTERVAL_MS = 1_000;
export const MAX_PROBES = 3;
/** How long a STALE or FAILED neighbour that nobody uses is kept. */
export const FORGET_MS = 60_000;
export const PARKED_LIMIT = 64;
/** Neighbours looked at in one search for one that may give way. */
const SEARCHED = 64;
/** In the place of a port: whichever brought it in. */
const ANY = -2;

/** What `tick` asks its caller to do. */
export interface NeighbourEvents {
  /** Ask who has the address: broadcast while the MAC is unknown, else unicast. */
  solicit(neighbour: number): void;
  /** The neighbour did not answer: the frames parked on it are to be refused. */
  unreachable(neighbour: number): void;
  /** It has been said where the neighbour is: the frames parked on it are to go on. */
  reachable(neighbour: number): void;
}

export class Neighbours {
  readonly capacity: number;
  readonly interfaceOf: Int32Array;
  readonly address: Int32Array;
  readonly state: Int32Array;
  readonly macHigh: Int32Array;
  readonly macLow: Int32Array;
  /** Non-zero when a packet has used it since the last tick. */
  readonly used: Int32Array;
  /** Bridge port behind which its MAC was last seen, valid while `portGeneration` is the MAC table's generation. */
  readonly port: Int32Array;
  readonly portGeneration: Int32Array;
  readonly parkedCount: Int32Array;
  /** 1 from the time that it failed to answer until it does. */
  readonly unanswered: Uint8Array;
  /** Raised when an index changes its meaning. */
  generation = 0;
  size = 0;
  parkedTotal = 0;
  /** Port whose frame brought it in; -1: the router itself. */
  private readonly owner: Int32Array;
  private readonly shares = new Shares();
  private readonly unresolvedShares = new Shares();
  private readonly parkedShares = new Shares();
  private readonly deadline: Int32Array;
  private readonly probes: Int32Array;
  private readonly parkedFirst: Int32Array;
  private readonly parkedLast: Int32Array;
  private readonly index: HashIndex;
  private readonly seed: number;
  private readonly frames: readonly Frame[];
  private readonly parkedLimit: number;
  private readonly free: Int32Array;
  private freeCount = 0;
  private highWater = 0;
  private unresolved = 0;
  private hand = 0;

  constructor(capacity: number, frames: readonly Frame[], parkedLimit: number, seed: number) {
    this.capacity = capacity;
    this.frames = frames;
    this.parkedLimit = parkedLimit;
    this.seed = seed | 0;
    this.interfaceOf = new Int32Array(capacity);
    this.address = new Int32Array(capacity);
    this.state = new Int32Array(capacity);
    this.macHigh = new Int32Array(capacity);
    this.macLow = new Int32Array(capacity);
    this.used = new Int32Array(capacity);
    this.port = new Int32Array(capacity);
    this.portGeneration = new Int32Array(capacity);
    this.owner = new Int32Array(capacity);
    this.deadline = new Int32Array(capacity);
    this.probes = new Int32Array(capacity);
    this.parkedFirst = new Int32Array(capacity).fill(-1);
    this.parkedLast = new Int32Array(capacity).fill(-1);
    this.parkedCount = new Int32Array(capacity);
    this.unanswered = new Uint8Array(capacity);
    this.free = new Int32Array(capacity);
    this.index = new HashIndex(new Int32Array(HashIndex.slotsFor(capacity) * 2));
  }

  /** Notes all that there is now, to be put back when the journal is undone. */
  rehearse(journal: Journal): void {
    journal.numbers(this);
    this.index.rehearse(journal);
    for (const shares of [this.shares, this.unresolvedShares, this.parkedShares]) shares.rehearse(journal);
    // One more than is in use: the rehearsal may add one.
    journal.arraysOf(this, this.highWater + 1);
    for (let neighbour = 0; neighbour < this.highWater; neighbour++) {
      if (this.parkedCount[neighbour] > 0) journal.fields(this.frames[this.parkedLast[neighbour]], "nextParked");
    }
  }

  find(interfaceIndex: number, address: number): number {
    const hash = this.hash(interfaceIndex, address);
    const { slots, mask } = this.index;
    for (let position = hash & mask; ; position = (position + 1) & mask) {
      const stored = slots[position * 2 + 1];
      if (stored === 0) return -1;
      const neighbour = stored - 1;
      if (this.address[neighbour] === address && this.interfaceOf[neighbour] === interfaceIndex) return neighbour;
    }
  }

  /**
   * Finds the neighbour or makes one, not yet asked for; -1 when no room is left for it. `port` is that of the frame that
   * brings it in, -1 where the router itself does.
   */
  obtain(interfaceIndex: number, address: number, now: number, port = -1): number {
    const known = this.find(interfaceIndex, address);
    if (known >= 0) return known;
    const neighbour = this.vacancy(port);
    if (neighbour < 0) return -1;
    this.owner[neighbour] = port;
    this.shares.take(port);
    this.noteUnresolved(neighbour);
    this.interfaceOf[neighbour] = interfaceIndex;
    this.address[neighbour] = address;
    this.state[neighbour] = NeighbourState.FAILED;
    this.deadline[neighbour] = (now + FORGET_MS) | 0;
    this.probes[neighbour] = 0;
    this.unanswered[neighbour] = 0;
    this.used[neighbour] = 1;
    this.portGeneration[neighbour] = -1;
    this.index.insert(this.hash(interfaceIndex, address), neighbour);
    this.size++;
    return neighbour;
  }

  /** True while packets may be sent to its MAC. */
  isUsable(neighbour: number): boolean {
    return this.state[neighbour] >= NeighbourState.REACHABLE;
  }

  /** Says where the neighbour is: from its own ARP packet. Frames parked on it are then taken with `takeParked`. */
  confirm(neighbour: number, macHigh: number, macLow: number, now: number): void {
    if (this.state[neighbour] === NeighbourState.PERMANENT) return;
    this.place(neighbour, macHigh, macLow);
    this.state[neighbour] = NeighbourState.REACHABLE;
    this.deadline[neighbour] = (now + REACHABLE_MS) | 0;
  }

  /** Says where the neighbour is, for good. */
  makePermanent(neighbour: number, macHigh: number, macLow: number): void {
    this.place(neighbour, macHigh, macLow);
    this.state[neighbour] = NeighbourState.PERMANENT;
  }

  private place(neighbour: number, macHigh: number, macLow: number): void {
    if (this.macHigh[neighbour] !== macHigh || this.macLow[neighbour] !== macLow) this.portGeneration[neighbour] = -1;
    this.macHigh[neighbour] = macHigh;
    this.macLow[neighbour] = macLow;
    if (!this.isUsable(neighbour)) this.noteResolved(neighbour);
    this.probes[neighbour] = 0;
    this.unanswered[neighbour] = 0;
  }

  /** Queues a frame; false when too many wait already. `needsQuestion` tells whether to ask now. */
  park(neighbour: number, frame: Frame): boolean {
    if (this.parkedCount[neighbour] >= PARKED_LIMIT || this.parkedTotal >= this.parkedLimit) return false;
    if (!this.parkedShares.mayTake(frame.ingressPort, this.parkedLimit - this.parkedTotal)) return false;
    this.parkedShares.take(frame.ingressPort);
    frame.nextParked = -1;
    const last = this.parkedLast[neighbour];
    if (last < 0) this.parkedFirst[neighbour] = frame.slot;
    else this.frames[last].nextParked = frame.slot;
    this.parkedLast[neighbour] = frame.slot;
    this.parkedCount[neighbour]++;
    this.parkedTotal++;
    return true;
  }

  /** Starts asking, if nobody has; true when a question is to be sent now. */
  startResolution(neighbour: number, now: number): boolean {
    if (this.state[neighbour] !== NeighbourState.FAILED) return false;
    this.state[neighbour] = NeighbourState.INCOMPLETE;
    this.probes[neighbour] = 1;
    this.deadline[neighbour] = (now + PROBE_INTERVAL_MS) | 0;
    return true;
  }

  /** Takes the frame that has waited longest; -1 when none waits. */
  takeParked(neighbour: number): number {
    const slot = this.parkedFirst[neighbour];
    if (slot < 0) return -1;
    const { nextParked: next, ingressPort } = this.frames[slot];
    this.parkedShares.give(ingressPort);
    this.parkedFirst[neighbour] = next;
    if (next < 0) this.parkedLast[neighbour] = -1;
    this.parkedCount[neighbour]--;
    this.parkedTotal--;
    return slot;
  }

  /** Runs the timers; call it every 100 ms or so. */
  tick(now: number, events: NeighbourEvents): void {
    for (let neighbour = 0; neighbour < this.highWater; neighbour++) {
      if (this.state[neighbour] !== NeighbourState.FREE) this.tickOne(neighbour, now, events);
    }
  }

  private tickOne(neighbour: number, now: number, events: NeighbourEvents): void {
    const isDue = ((this.deadline[neighbour] - now) | 0) <= 0;
    const state = this.state[neighbour];
    if (state === NeighbourState.PERMANENT) {
      if (this.parkedCount[neighbour] > 0) events.reachable(neighbour);
      return;
    }
    if (state === NeighbourState.STALE && this.used[neighbour] !== 0) {
      this.state[neighbour] = NeighbourState.PROBE;
      this.probes[neighbour] = 0;
      this.ask(neighbour, now, events);
    } else if (isDue) {
      if (state === NeighbourState.REACHABLE) {
        this.state[neighbour] = NeighbourState.STALE;
        this.deadline[neighbour] = (now + FORGET_MS) | 0;
      } else if (state === NeighbourState.STALE || state === NeighbourState.FAILED) {
        this.forget(neighbour);
      } else if (this.probes[neighbour] < MAX_PROBES) {
        this.ask(neighbour, now, events);
      } else {
        this.fail(neighbour, now, events);
      }
    }
    this.used[neighbour] = 0;
  }

  private ask(neighbour: number, now: number, events: NeighbourEvents): void {
    this.probes[neighbour]++;
    this.deadline[neighbour] = (now + PROBE_INTERVAL_MS) | 0;
    events.solicit(neighbour);
  }

  private fail(neighbour: number, now: number, events: NeighbourEvents): void {
    if (this.isUsable(neighbour)) this.noteUnresolved(neighbour);
    this.state[neighbour] = NeighbourState.FAILED;
    this.unanswered[neighbour] = 1;
    this.deadline[neighbour] = (now + FORGET_MS) | 0;
    events.unreachable(neighbour);
  }

  /** Forgets all neighbours of an interface; frames parked on them must have been taken. */
  forgetInterface(interfaceIndex: number): void {
    for (let neighbour = 0; neighbour < this.highWater; neighbour++) {
      const inUse = this.state[neighbour] !== NeighbourState.FREE;
      if (inUse && this.interfaceOf[neighbour] === interfaceIndex) this.forget(neighbour);
    }
  }

  /** Forgets one; frames parked on it must have been taken. */
  remove(neighbour: number): void {
    this.forget(neighbour);
  }

  /** Forgets those that were said to be where they are. */
  forgetPermanent(): void {
    for (let neighbour = 0; neighbour < this.highWater; neighbour++) {
      if (this.state[neighbour] === NeighbourState.PERMANENT) this.forget(neighbour);
    }
  }

  /** Indexes in use, in no particular order. */
  indexes(): number[] {
    const all: number[] = [];
    for (let neighbour = 0; neighbour < this.highWater; neighbour++) {
      if (this.state[neighbour] !== NeighbourState.FREE) all.push(neighbour);
    }
    return all;
  }

  private forget(neighbour: number): void {
    this.index.remove(this.hash(this.interfaceOf[neighbour], this.address[neighbour]), neighbour);
    if (!this.isUsable(neighbour)) this.noteResolved(neighbour);
    this.shares.give(this.owner[neighbour]);
    this.state[neighbour] = NeighbourState.FREE;
    this.free[this.freeCount++] = neighbour;
    this.generation = (this.generation + 1) | 0;
    this.size--;
  }

  private noteUnresolved(neighbour: number): void {
    this.unresolved++;
    this.unresolvedShares.take(this.owner[neighbour]);
  }

  private noteResolved(neighbour: number): void {
    this.unresolved--;
    this.unresolvedShares.give(this.owner[neighbour]);
  }

  /** A free index: given back, never used, or given up by a neighbour that is of no use now. */
  private vacancy(port: number): number {
    const { capacity } = this;
    const half = capacity >>> 1;
    const hasUnresolvedShare = capacity < 2 || this.unresolvedShares.mayTake(port, half - this.unresolved);
    if (!hasUnresolvedShare || !this.shares.mayTake(port, capacity - this.size)) {
      const isStaleOfUse = hasUnresolvedShare && this.evict(NeighbourState.STALE, port);
      if (!isStaleOfUse && !this.evict(NeighbourState.FAILED, port)) return -1;
    }
    const isCrowded = this.unresolved >= half && capacity > 1;
    if (isCrowded) {
      if (!this.evict(NeighbourState.FAILED, ANY)) return -1;
    } else if (this.size === capacity) {
      if (!this.evict(NeighbourState.FAILED, ANY) && !this.evict(NeighbourState.STALE, ANY)) return -1;
    }
    return this.freeCount > 0 ? this.free[--this.freeCount] : this.highWater++;
  }

  /** Forgets the next neighbour of a state, and of a port, behind the clock hand, if there is one near. */
  private evict(state: number, port: number): boolean {
    for (let left = Math.min(SEARCHED, this.highWater); left > 0; left--) {
      this.hand = this.hand + 1 < this.highWater ? this.hand + 1 : 0;
      const { hand } = this;
      if (this.state[hand] !== state || this.parkedCount[hand] > 0 || this.used[hand] !== 0) continue;
      if (port !== ANY && this.owner[hand] !== port) continue;
      this.forget(hand);
      return true;
    }
    return false;
  }

  private hash(interfaceIndex: number, address: number): number {
    const h = Math.imul(address ^ this.seed, 0x9e3779b1) + interfaceIndex;
    return Math.imul(h ^ (h >>> 15), 0x85ebca6b) ^ (h >>> 13);
  }
}
