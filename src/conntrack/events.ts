/**
 * What happens to flows, told by the dataplane to whoever listens: begun, changed (state, first reply, assured), ended.
 *
 * Theory of operation. A ring of records in memory that both processes map. A record is an event's kind and time and a
 * copy of the flow's words, so that one that has ended still shows its last counters. The dataplane alone writes
 * records and WRITTEN, the control process alone READ; both count records for ever (wrapped), and a record is written
 * before WRITTEN says so. A full ring loses the new event and counts it in LOST: the dataplane never waits, and the
 * listener is told. Where nobody listens there is no ring, and an event costs the branch that finds none.
 */
import { FLOW_SHIFT, FLOW_WORDS } from "./flow_layout.ts";

export const FlowEvent = { NEW: 1, UPDATE: 2, DESTROY: 4 } as const;
export const ANY_EVENT = FlowEvent.NEW | FlowEvent.UPDATE | FlowEvent.DESTROY;

const RingWord = { WRITTEN: 0, READ: 16, LOST: 17, WORDS: 32 } as const;
/** The wall clock (seconds since 1970, microseconds), the dataplane's, which deadlines are told in, the flow's entry. */
const RecordWord = { KIND: 0, SECONDS: 1, MICROSECONDS: 2, NOW: 3, INDEX: 4, FLOW: 5 } as const;
export const RECORD_WORDS = RecordWord.FLOW + FLOW_WORDS;

/** Bytes of memory for a ring of `capacity` records, a power of two. */
export function ringBytes(capacity: number): number {
  return (RingWord.WORDS + capacity * RECORD_WORDS) * 4;
}

export class FlowEventWriter {
  private readonly ring: Int32Array;
  private readonly capacity: number;

  constructor(memory: ArrayBuffer, capacity: number) {
    this.ring = new Int32Array(memory, 0, ringBytes(capacity) / 4);
    this.capacity = capacity;
  }

  /** Notes what has happened to the flow in `words` from `base` on. `now` is the dataplane's clock. */
  record(kind: number, words: Int32Array, base: number, now: number): void {
    const { ring, capacity } = this;
    const written = ring[RingWord.WRITTEN];
    if (((written - Atomics.load(ring, RingWord.READ)) | 0) >= capacity) {
      Atomics.add(ring, RingWord.LOST, 1);
      return;
    }
    const at = RingWord.WORDS + (written & (capacity - 1)) * RECORD_WORDS;
    const time = Date.now();
    ring[at + RecordWord.KIND] = kind;
    ring[at + RecordWord.SECONDS] = Math.floor(time / 1000);
    ring[at + RecordWord.MICROSECONDS] = (time % 1000) * 1000;
    ring[at + RecordWord.NOW] = now;
    ring[at + RecordWord.INDEX] = base >> FLOW_SHIFT;
    for (let word = 0; word < FLOW_WORDS; word++) ring[at + RecordWord.FLOW + word] = words[base + word];
    Atomics.store(ring, RingWord.WRITTEN, (written + 1) | 0);
  }
}

/** One record: `words` from `base` on is the flow, until the next one is asked for. */
export interface RecordedEvent {
  kind: number;
  seconds: number;
  microseconds: number;
  now: number;
  /** Its entry in the flow table; of a flow that has ended, soon another's. */
  index: number;
  words: Int32Array;
  base: number;
}

export class FlowEventReader {
  private readonly ring: Int32Array;
  private readonly capacity: number;

  constructor(memory: ArrayBuffer, capacity: number) {
    this.ring = new Int32Array(memory, 0, ringBytes(capacity) / 4);
    this.capacity = capacity;
  }

  /** Forgets all that is in the ring; only while nobody writes. */
  reset(): void {
    Atomics.store(this.ring, RingWord.READ, this.ring[RingWord.WRITTEN]);
    Atomics.store(this.ring, RingWord.LOST, 0);
  }

  /** Events that have been lost since the last call. */
  takeLost(): number {
    return Atomics.exchange(this.ring, RingWord.LOST, 0);
  }

  /** Up to `most` events, the oldest first. */
  *read(most: number): Generator<RecordedEvent> {
    const { ring, capacity } = this;
    const written = Atomics.load(ring, RingWord.WRITTEN);
    let next = ring[RingWord.READ];
    for (let left = most; left > 0 && next !== written; left--) {
      const at = RingWord.WORDS + (next & (capacity - 1)) * RECORD_WORDS;
      yield {
        kind: ring[at + RecordWord.KIND],
        seconds: ring[at + RecordWord.SECONDS],
        microseconds: ring[at + RecordWord.MICROSECONDS],
        now: ring[at + RecordWord.NOW],
        index: ring[at + RecordWord.INDEX],
        words: ring,
        base: at + RecordWord.FLOW,
      };
      next = (next + 1) | 0;
      Atomics.store(ring, RingWord.READ, next);
    }
  }
}
