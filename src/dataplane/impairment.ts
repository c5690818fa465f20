/**
 * The impairment of one port in one direction: what tc-netem(8) does to a device, in its terms and its order of
 * decisions: duplicate, lose, corrupt, refuse what is over the limit, then send out of turn or delay.
 *
 * Theory of operation. A frame leaves at the time `max(last, now + delay) + length / rate`: `last` is when the frame
 * before it leaves, so that with a rate frames follow each other at exactly that rate, and waiting for them counts as
 * part of the delay; without a rate frames are independent of each other, and a jitter larger than their distance
 * reorders them. The length is that of the Ethernet frame and `overheadBytes` for each packet on the wire.
 *
 * A super-frame (segmentation offload) is one frame to every decision, as it is to netem; only its length is that of
 * all its segments, headers and overhead included.
 *
 * All chance comes from one generator for each impairment: the same seed and the same frames give the same fate.
 */
import type { ImpairmentRow } from "./messages.ts";
import type { ImpairmentPlan } from "./plan.ts";

const WORD = 4294967296;

export class Impairment {
  plan: ImpairmentPlan;
  /** What has been met so far. `overLimit`: refused because too many waited. */
  frames = 0;
  bytes = 0;
  lost = 0;
  duplicated = 0;
  corrupted = 0;
  reordered = 0;
  overLimit = 0;
  /** Frames that wait now. */
  waiting = 0;
  private readonly generator = new Int32Array(1);
  /** When the frame before leaves, in microseconds; the last correlated draw. */
  private readonly state = new Float64Array(2);
  /** Frames since one was sent out of turn. */
  private inTurn = 0;

  constructor(plan: ImpairmentPlan, seed: number) {
    this.plan = plan;
    this.generator[0] = plan.seed ?? seed;
  }

  /** Takes other settings; the generator goes on, unless it is told where to begin. */
  change(plan: ImpairmentPlan): void {
    if (plan.seed !== undefined) this.generator[0] = plan.seed;
    this.plan = plan;
  }

  /** Settings and counters, to be shown. */
  counted(): Omit<ImpairmentRow, "port" | "direction"> {
    const { plan, frames, bytes, lost, duplicated, corrupted, reordered, overLimit, waiting } = this;
    return { plan, frames, bytes, lost, duplicated, corrupted, reordered, overLimit, waiting };
  }

  isDuplicated(): boolean {
    return this.hits(this.plan.duplicate);
  }

  /** With a correlation, chance depends on what it was for the frame before (netem's get_crandom). */
  isLost(): boolean {
    const { loss, lossCorrelation } = this.plan;
    if (loss === 0) return false;
    if (lossCorrelation === 0) return this.draw() < loss;
    const { state } = this;
    state[1] = this.draw() * (1 - lossCorrelation) + state[1] * lossCorrelation;
    return state[1] < loss;
  }

  isCorrupted(): boolean {
    return this.hits(this.plan.corrupt);
  }

  /** When a frame leaves whose packets have `bytes` on the wire, and which are `packets`; microseconds. */
  dueAt(now: number, bytes: number, packets: number): number {
    const { plan, state } = this;
    if (this.isOutOfTurn()) {
      this.inTurn = 0;
      this.reordered++;
      return now;
    }
    this.inTurn++;
    const earliest = now + this.delay();
    if (plan.rate === 0) return earliest;
    const start = state[0] > earliest ? state[0] : earliest;
    const wireBytes = bytes + packets * plan.overheadBytes;
    state[0] = start + (wireBytes > 0 ? (wireBytes * 8e6) / plan.rate : 0);
    return state[0];
  }

  /** A number from 0 to `below` - 1. */
  pick(below: number): number {
    return Math.floor(this.draw() * below);
  }

  /** Every `gap`-th frame may be sent out of turn, with the chance `reorder`; netem's `gap` is 1 if nothing is said. */
  private isOutOfTurn(): boolean {
    const { gap, reorder } = this.plan;
    return gap !== 0 && this.inTurn >= gap - 1 && this.hits(reorder);
  }

  private delay(): number {
    const { delay, jitter, distribution } = this.plan;
    if (jitter === 0) return delay;
    const drawn = delay + jitter * (distribution === "normal" ? this.normal() : 2 * this.draw() - 1);
    return drawn > 0 ? drawn : 0;
  }

  /** Mean 0, standard deviation 1 (Box and Muller 1958). */
  private normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.draw())) * Math.cos(2 * Math.PI * this.draw());
  }

  private hits(probability: number): boolean {
    return probability > 0 && this.draw() < probability;
  }

  /** From 0 up to, not including 1: mulberry32. */
  private draw(): number {
    const word = (this.generator[0] + 0x6d2b79f5) | 0;
    this.generator[0] = word;
    let t = Math.imul(word ^ (word >>> 15), 1 | word);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / WORD;
  }
}
