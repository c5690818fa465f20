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
  private readonly router: Router;
  private readonly housekeeping: Housekeeping;

  constructor(router: Router, clock: () => number) {
    this.router = router;
    this.clock = clock;
    this.housekeeping = new Housekeeping(router);
  }

  /** One round; returns how many frames came. `timeoutMs` bounds the wait for the first. */
  turn(timeoutMs: number = IDLE_MS): number {
    const { router } = this;
    const count = router.io.receive(BURST_FRAMES, timeoutMs);
    router.now = this.clock();
    if (count > 0) {
      runBurst(router, count);
      router.counters.values[Counter.framesReceived] += count;
      router.counters.values[Counter.bursts]++;
    }
    this.housekeeping.run();
    router.flush();
    return count;
  }
}
