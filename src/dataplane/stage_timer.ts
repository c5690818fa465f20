/**
 * How long the stages of a burst take, measured for one burst in some while somebody watches. The rest of the time
 * there is no timer, and the loop asks for none.
 *
 * What is noted of a stage: nanoseconds, and how many frames they were for. Receiving is timed only where frames are
 * there at once: a wait is no work.
 */
import type { FrameIo } from "../io/port.ts";
import { Stage, type StageName } from "./counters.ts";
import { arriveAll, departAll, lookUp } from "./pipeline.ts";
import type { Router } from "./router.ts";

export class StageTimer {
  private readonly router: Router;
  private readonly everyBursts: number;
  /** When nobody watches any more, unless it is said anew: the dataplane's clock. */
  private readonly endsAt: number;
  private readonly clock: () => number;
  private untilNext = 0;
  private began = 0;
  /** Frames of the burst that is being timed. */
  private frames = 0;

  /** `clock`: milliseconds with their fractions. */
  constructor(router: Router, everyBursts: number, forMs: number, clock: () => number = () => performance.now()) {
    this.router = router;
    this.everyBursts = everyBursts;
    this.endsAt = (router.now + forMs) | 0;
    this.clock = clock;
  }

  get hasEnded(): boolean {
    return ((this.router.now - this.endsAt) | 0) >= 0;
  }

  /** Whether the next burst is to be timed. */
  isDue(): boolean {
    if (--this.untilNext > 0) return false;
    this.untilNext = this.everyBursts;
    return true;
  }

  receive(io: FrameIo, max: number, timeoutMs: number): number {
    this.began = this.clock();
    this.frames = io.receive(max, 0);
    if (this.frames > 0) {
      this.note("receive");
      return this.frames;
    }
    this.frames = io.receive(max, timeoutMs);
    this.began = this.clock();
    return this.frames;
  }

  /** The passes of `runBurst`; what the last one and finishing the burst take is for the caller to note. */
  runPasses(count: number): void {
    const { router } = this;
    arriveAll(router, count);
    this.note("arrive");
    lookUp(router, count);
    this.note("lookUp");
    departAll(router, count);
  }

  /** The stage that ends now began where the one before it ended. */
  note(stage: StageName): void {
    const now = this.clock();
    if (this.frames > 0) this.router.counters.noteStage(Stage[stage], (now - this.began) * 1e6, this.frames);
    this.began = now;
  }
}
