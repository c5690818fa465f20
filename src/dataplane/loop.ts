/**
 * The loop of the dataplane: receive a burst, take it through the router, send what comes out; then what the clock
 * and the control process want. It blocks in `receive` and nowhere else.
 */
import { BURST_FRAMES } from "./burst.ts";
import { Counter } from "./counters.ts";
import { Housekeeping } from "./housekeeping.ts";
import { finishBurst, runBurst } from "./pipeline.ts";
import type { Router } from "./router.ts";
import { StageTimer } from "./stage_timer.ts";

/** Longest sleep: timers are served this often when nothing comes. */
const IDLE_MS = 20;

export class Loop {
  /** Milliseconds now, wrapped; asked once for each burst. */
  private readonly clock: () => number;
  /** Microseconds of the millisecond that `clock` told last. */
  private readonly fraction: () => number;
  private readonly router: Router;
  private readonly housekeeping: Housekeeping;
  /** Nanoseconds that the burst before took, from its being received to its having been sent. */
  private readonly busyNanoseconds: () => number;
  /** Frames of the burst before. */
  private before = 0;
  /** While somebody watches the stages. */
  private timer: StageTimer | undefined;

  constructor(
    router: Router,
    clock: () => number,
    fraction: () => number = () => 0,
    busyNanoseconds: () => number = () => 0,
  ) {
    this.router = router;
    this.clock = clock;
    this.fraction = fraction;
    this.busyNanoseconds = busyNanoseconds;
    this.housekeeping = new Housekeeping(router);
  }

  /** Times the stages of one burst in `everyBursts` for the next `forMs` milliseconds. */
  timeStages(everyBursts: number, forMs: number): void {
    this.timer = new StageTimer(this.router, everyBursts, forMs);
  }

  /** One round; returns how many frames came. `timeoutMs` bounds the wait for the first. */
  turn(timeoutMs: number = IDLE_MS): number {
    const { router, timer } = this;
    const { impairments } = router;
    const isPlain = !impairments.isActive && router.recorder === undefined;
    if (timer?.isDue() === true && isPlain) return this.timedTurn(timer, timeoutMs);
    // While flows are judged again, each turn does its share.
    const wait = router.rejudge.isPending ? 0 : timeoutMs;
    const count = router.io.receive(BURST_FRAMES, impairments.isActive ? impairments.idleMs(wait) : wait);
    this.begin(count);
    if (impairments.isActive) this.turnImpaired(count);
    else if (count > 0) runBurst(router, count);
    this.housekeeping.run();
    router.flush();
    router.captures?.commit();
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

  /** A round of the same steps, each timed. */
  private timedTurn(timer: StageTimer, timeoutMs: number): number {
    const { router } = this;
    const count = timer.receive(router.io, BURST_FRAMES, timeoutMs);
    this.begin(count);
    if (count > 0) {
      timer.runPasses(count);
      finishBurst(router);
    }
    timer.note("depart");
    this.housekeeping.run();
    timer.note("housekeeping");
    router.flush();
    timer.note("transmit");
    router.captures?.commit();
    if (timer.hasEnded) this.timer = undefined;
    return count;
  }

  /** `count` frames have come: what is to be noted of them, and of the burst before. */
  private begin(count: number): void {
    const { counters } = this.router;
    this.router.now = this.clock();
    if (this.before > 0) counters.burstNanoseconds.record(this.busyNanoseconds());
    this.before = count;
    if (count === 0) return;
    counters.values[Counter.framesReceived] += count;
    counters.values[Counter.bursts]++;
    counters.burstFrames.record(count);
  }
}
