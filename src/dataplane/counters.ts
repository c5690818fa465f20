/** The dataplane's counters: one array of doubles, so that the control process can map and read it. */
import { STOP_REASONS } from "../packet/stop_reasons.ts";
import { HISTOGRAM_WORDS, Histogram } from "./histogram.ts";

/** Counters that are no stop reason. The order is the layout: add at the end. */
export const COUNTER_NAMES = [
  /** Frames that the devices brought. */
  "framesReceived",
  /** Entries handed to the devices: a flooded frame counts once for each port. */
  "framesSent",
  "bursts",
  "flowsCreated",
  "flowsExpired",
  "flowsTableFull",
  "natExhausted",
  "arpRequestsSent",
  "arpRepliesSent",
  "icmpErrorsSent",
  /** ICMP errors that the rate limit kept back. */
  "icmpErrorsLimited",
  "echoRepliesSent",
  "resetsSent",
  /** Frames of the router's own that found no slot, route or neighbour. */
  "ownFramesDropped",
  /** Bytes copied: segmentation, fragmentation, quotes and captures only, never a frame that passes. */
  "bytesCopied",
  "datagramsReassembled",
  /** Datagrams given up because a fragment did not come in time. */
  "reassembliesExpired",
  "fragmentsSent",
  /** Fragmented packets that left incomplete, for want of slots. */
  "fragmentsLost",
  "stationsMoved",
  "stationsOverflowed",
  /** Flows that gave way in a full table: over, or not assured (Linux's early drop). */
  "flowsEvicted",
  /** Frames that left as a piece of another (merging); they are in framesSent too. */
  "framesMerged",
  /** Packets that met a rule with LOG and were not told of, because there were too many. */
  "ruleLogsLimited",
  /** Flows that a change of rules has ended. */
  "flowsForbidden",
  /** Copies of frames in the rings of captures, and those that found no room there. */
  "framesCaptured",
  "capturesLost",
  /** Flows of a snapshot that were taken at the start, and those that were not. */
  "flowsRestored",
  "flowsNotRestored",
  /** Flows of a port at its share of the table that gave way to newer ones of the same port. */
  "flowsReplaced",
  /** Datagrams in the making that gave way to newer ones of the same port. */
  "reassembliesDisplaced",
  /** Times that another dataplane has taken the place of one that had ended or hung; the control process counts. */
  "dataplaneRestarts",
  /** Flows that went on in another dataplane, and entries that were no whole flow there. */
  "flowsAdopted",
  "flowsTorn",
  /** Datagrams for the DHCP server and the DNS forwarder that were handed to the control process, and those that were not. */
  "datagramsHanded",
  "datagramsRefused",
] as const;

export type CounterName = (typeof COUNTER_NAMES)[number];

/** Parts of a burst's way that are timed while somebody watches (`stage_timer.ts`), in their order. */
export const STAGE_NAMES = ["receive", "arrive", "lookUp", "depart", "housekeeping", "transmit"] as const;
export type StageName = (typeof STAGE_NAMES)[number];
export const Stage = Object.fromEntries(STAGE_NAMES.map((name, index) => [name, index])) as Record<StageName, number>;

const REASON_LIMIT = 128;
const COUNTER_LIMIT = 128;
const STAGE_LIMIT = 16;

export class Counters {
  /** Bytes of the memory that holds all counters. */
  static readonly BYTES = (REASON_LIMIT + COUNTER_LIMIT + 2 * HISTOGRAM_WORDS + 2 * STAGE_LIMIT) * 8;
  /** How many frames ended with each stop reason. */
  readonly stops: Float64Array;
  readonly values: Float64Array;
  /** Frames of a burst. */
  readonly burstFrames: Histogram;
  /** Nanoseconds from a burst's being received to its having been sent. */
  readonly burstNanoseconds: Histogram;
  /** Nanoseconds and frames of each stage, as far as they were timed. */
  readonly stages: Float64Array;

  constructor(memory: ArrayBuffer = new ArrayBuffer(Counters.BYTES)) {
    this.stops = new Float64Array(memory, 0, REASON_LIMIT);
    this.values = new Float64Array(memory, REASON_LIMIT * 8, COUNTER_LIMIT);
    let at = (REASON_LIMIT + COUNTER_LIMIT) * 8;
    const take = (words: number): Float64Array => {
      const part = new Float64Array(memory, at, words);
      at += words * 8;
      return part;
    };
    this.burstFrames = new Histogram(take(HISTOGRAM_WORDS));
    this.burstNanoseconds = new Histogram(take(HISTOGRAM_WORDS));
    this.stages = take(2 * STAGE_LIMIT);
  }

  noteStage(stage: number, nanoseconds: number, frames: number): void {
    this.stages[2 * stage] += nanoseconds;
    this.stages[2 * stage + 1] += frames;
  }

  /** All counters by name. */
  named(): Record<string, number> {
    return Object.fromEntries(COUNTER_NAMES.map((name, index) => [name, this.values[index]]));
  }

  /** How many frames ended with a stop reason of that name; for tests and `show`. */
  stopped(name: string): number {
    return this.stops[STOP_REASONS.findIndex((reason) => reason.name === name)];
  }
}

/** Index of each counter in `Counters.values`. */
export const Counter = Object.fromEntries(COUNTER_NAMES.map((name, index) => [name, index])) as Record<
  CounterName,
  number
>;
