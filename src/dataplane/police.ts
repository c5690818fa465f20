/**
 * Police: what a port may send in a second, where the configuration limits it (`rateLimit`): frames, bytes, new flows.
 *
 * Theory of operation. A token bucket for each (RFC 2697's, with one rate): it fills by its rate up to a tenth of a
 * second's worth, at least enough for a burst, and what finds too little in it is dropped and counted; nothing waits.
 * Frames and bytes are judged as the device brings them, before anything is read of them, so that a flood costs as
 * little as it can; a super-frame is one frame with all its bytes. New flows are judged when they are opened.
 *
 * Where no port has a limit, frames cost a test for each burst, and new flows one each. Nothing is allocated per packet.
 */
import type { Journal } from "../packet/journal.ts";
import type { PortPlan } from "./plan.ts";
import { fillBucket, MILLI } from "./token_bucket.ts";

const KINDS = ["packets", "bytes", "flows"] as const;
const PACKETS = 0;
const BYTES = 1;
const FLOWS = 2;
/** Least that a bucket holds: a burst of the loop, two super-frames, what a program opens at once. */
const LEAST_BURST = [64, 131_072, 16];
const BURST_SECONDS = 0.1;

export class Police {
  /** Whether any port has a limit. */
  isActive = false;
  /** Frames, then new flows, that each port has lost by its limits. */
  readonly framesDropped: Float64Array;
  readonly flowsDropped: Float64Array;
  /** Of each port's buckets in turn: per second, 0 for no limit; how much is in it, and how much fits. */
  private readonly rate: Float64Array;
  readonly credit: Float64Array;
  private readonly most: Float64Array;
  /** When it was filled last: wrapped milliseconds. */
  readonly filledAt: Int32Array;

  constructor(portLimit: number) {
    this.framesDropped = new Float64Array(portLimit);
    this.flowsDropped = new Float64Array(portLimit);
    this.rate = new Float64Array(portLimit * KINDS.length);
    this.credit = new Float64Array(portLimit * KINDS.length);
    this.most = new Float64Array(portLimit * KINDS.length);
    this.filledAt = new Int32Array(portLimit * KINDS.length);
  }

  /** Notes the buckets of a port, to be put back when the journal is undone. */
  rehearse(journal: Journal, port: number): void {
    for (const array of [this.credit, this.filledAt]) journal.words(array, port * KINDS.length, KINDS.length);
    for (const array of [this.framesDropped, this.flowsDropped]) journal.word(array, port);
  }

  /** Takes the limits of a port; those that stay the same go on as they are. */
  setPort({ index, rateLimit }: PortPlan, now: number): void {
    for (const [kind, name] of KINDS.entries()) {
      const at = index * KINDS.length + kind;
      const rate = rateLimit?.[name] ?? 0;
      if (rate === this.rate[at]) continue;
      this.rate[at] = rate;
      this.most[at] = Math.max(rate * BURST_SECONDS, LEAST_BURST[kind]) * MILLI;
      this.credit[at] = this.most[at];
      this.filledAt[at] = now;
    }
    this.isActive = this.rate.some((rate) => rate > 0);
  }

  removePort(index: number): void {
    this.rate.fill(0, index * KINDS.length, (index + 1) * KINDS.length);
    this.framesDropped[index] = 0;
    this.flowsDropped[index] = 0;
    this.isActive = this.rate.some((rate) => rate > 0);
  }

  /** Whether a frame of `bytes` may come in by a port now; counts it when it may not. */
  takesFrame(port: number, bytes: number, now: number): boolean {
    const at = port * KINDS.length;
    const isTaken = this.has(at + PACKETS, 1, now) && this.has(at + BYTES, bytes, now);
    if (isTaken) {
      this.credit[at + PACKETS] -= MILLI;
      this.credit[at + BYTES] -= bytes * MILLI;
    } else this.framesDropped[port]++;
    return isTaken;
  }

  /** Whether a packet that came in by a port may open a flow now; counts it when it may not. */
  takesFlow(port: number, now: number): boolean {
    if (port < 0) return true;
    const at = port * KINDS.length + FLOWS;
    const isTaken = this.has(at, 1, now);
    if (isTaken) this.credit[at] -= MILLI;
    else this.flowsDropped[port]++;
    return isTaken;
  }

  /** Fills a bucket, and says whether there is enough in it. */
  private has(at: number, amount: number, now: number): boolean {
    const rate = this.rate[at];
    if (rate === 0) return true;
    return fillBucket(this, at, rate, this.most[at], now) >= amount * MILLI;
  }
}
