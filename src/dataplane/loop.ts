/**
 * The loop of the dataplane: receive a burst, take it through the router, send what comes out; then what the clock
 * and the control process want. It blocks in `receive` and nowhere else.
 */
import { Counter } from "./counters.ts";
import { Housekeeping } from "./housekeeping.ts";
import { runBurst } from "./pipeline.ts";
import type { Router } from "./router.ts";

/** Frames of one burst: enough to spread the cost of a call, few enough to stay in the cache. */
export const BURST_FRAMES = 64;

/** Longest sleep: timers are served this often when nothing comes. */
const IDLE_MS = 20;

export class Loop {
  /** Milliseconds now, wrapped; asked once for each burst. */
  private readonly clock: () => number;
  /** Microseconds of the millisecond that `clock` told last. */
  private readonly fraction: () => number;
  private readonly router: Router;
  private readonly housekeeping: Housekeeping;

  constructor(router: Router, clock: () => number, fraction: () => number = () => 0) {
    this.router = router;
    this.clock = clock;
    this.fraction = fraction;
    this.housekeeping = new Housekeeping(router);
  }

  /** One round; returns how many frames came. `timeoutMs` bounds the wait for the first. */
  turn(timeoutMs: number = IDLE_MS): number {
    const { router } = this;
    const { impairments } = router;
    const count = router.io.receive(BURST_FRAMES, impairments.isActive ? impairments.idleMs(timeoutMs) : timeoutMs);
    router.now = this.clock();
    if (impairments.isActive) this.turnImpaired(count);
    else if (count > 0) runBurst(router, count);
    if (count > 0) {
      router.counters.values[Counter.framesReceived] += count;
      router.counters.values[Counter.bursts]++;
    }
    this.housekeeping.run();
    router.flush();
    return count;
  }

  /** What comes by ports that are impaired waits for its time; what has waited long enough is a burst of its own. */
  private turnImpaired(count: number): void {
    const { router } = this;
    const { impairments } = router;
    impairments.setClock(router.now, this.fraction());
    const kept = impairments.arrive(count);
    if (kept > 0) runBurst(router, kept);
    const due = impairments.take(BURST_FRAMES);
    if (due > 0) runBurst(router, due);
  }
}
