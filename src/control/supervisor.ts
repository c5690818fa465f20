/**
 * The dataplane that works, kept working. One process has the router's devices and memory; another one stands by, loaded
 * and idle, because most of the time that a process needs is Node's own start. When the first ends, or hangs, the other
 * takes its place at once; what it is told then is the caller's (`revive`).
 *
 * Theory of operation. A dataplane writes its clock into the shared memory every 10 ms, whatever else it does: one whose clock
 * stands still is ended, and so is one that leaves a request unanswered. Requests that are under way when it ends fail; those that
 * come before the next one works wait for it. One that ends again soon is started again later and later: whatever is
 * the reason, it must not keep the machine busy. A minute without an end and all is forgotten.
 */
import type { Notice } from "../dataplane/messages.ts";
import type { DataplaneEvents, DataplaneProcess } from "./dataplane_process.ts";
import { DataplaneDownError, TapirError } from "./errors.ts";

/** What is asked of a process. */
export type Dataplane = Pick<DataplaneProcess, "pid" | "request" | "stop" | "kill">;

/** How long the next start waits, by the number of ends within a quiet time of each other. */
const DELAYS_MS = [0, 100, 500, 1000, 5000];
const QUIET_MS = 60_000;
/** A request waits so long for a dataplane. */
const WAIT_MS = 3000;
const TICK_MS = 1000;
/** Ticks after which a clock that stands still is that of a process that hangs. */
const HANGS_TICKS = 10;
/** Ticks until another process is made to stand by: the one that works needs the processors first. */
const STANDBY_TICKS = 3;
/** `TAPIR_STANDBY=0`: none is; after a crash one has to be loaded first. */
const standsBy = (): boolean => process.env.TAPIR_STANDBY !== "0";

export interface SupervisorHost {
  /** Makes a process that waits for `start`. */
  spawn(events: DataplaneEvents): Dataplane;
  notice(notice: Notice): void;
  log(level: "info" | "warn" | "error", message: string): void;
  /** Has a process take the place of one that has ended; what has become of it is said in a few words. */
  revive(dataplane: Dataplane): Promise<string>;
  /** The dataplane has ended, or another one has taken its place. */
  changed(event: DataplaneEvent): void;
}

export interface DataplaneEvent {
  state: "ended" | "started";
  /** Why it has ended. */
  why?: string;
  /** When the next is started, in milliseconds. */
  againInMs?: number;
  /** How long nothing was forwarded, in milliseconds. */
  gapMs?: number;
}

export class Supervisor {
  private readonly host: SupervisorHost;
  private readonly clock: () => number;
  private current: Dataplane | undefined;
  private standby: Dataplane | undefined;
  private starting: Dataplane | undefined;
  private readonly waiting = new Set<() => void>();
  private why = "";
  private failures = 0;
  private endedAt = 0;
  private startedAt = 0;
  private isSupervising = false;
  private isStopping = false;
  private again: NodeJS.Timeout | undefined;
  private ticker: NodeJS.Timeout | undefined;
  private lastClock = 0;
  private stillTicks = 0;
  private aloneTicks = 0;

  /** `clock` reads what the dataplane writes. */
  constructor(host: SupervisorHost, clock: () => number) {
    this.host = host;
    this.clock = clock;
    this.current = this.spawn();
  }

  get pid(): number | undefined {
    return this.current?.pid;
  }

  /** Asks the dataplane that works; waits for a moment where there is none. */
  request: DataplaneProcess["request"] = async (request, descriptors = []) => {
    if (this.current === undefined && !this.isStopping) await this.untilBack();
    if (this.current === undefined) throw new TapirError("the router is ending");
    return this.current.request(request, descriptors);
  };

  /** From now on a dataplane that ends is followed by another one. */
  supervise(): void {
    this.isSupervising = true;
    this.startedAt = performance.now();
    this.ticker = setInterval(() => this.tick(), TICK_MS).unref();
  }

  /** From now on nobody takes the place of one that ends, and nobody waits for it. */
  retire(): void {
    this.isStopping = true;
    clearInterval(this.ticker);
    clearTimeout(this.again);
    for (const wake of [...this.waiting]) wake();
  }

  /** Ends the process that stands by; another one will, unless this program is replaced before. */
  async dismissStandby(): Promise<void> {
    const { standby } = this;
    this.standby = undefined;
    await standby?.stop();
  }

  /** Ends all processes, by force if it must be. */
  async stop(): Promise<void> {
    this.retire();
    await Promise.all([this.current, this.standby, this.starting].map((each) => each?.stop()));
  }

  private spawn(): Dataplane {
    const made: Dataplane = this.host.spawn({
      notice: (notice) => {
        // What another one has said of the machine already.
        if (made !== this.standby) this.host.notice(notice);
      },
      died: (reason) => this.died(made, reason),
    });
    return made;
  }

  private died(dataplane: Dataplane, reason: string): void {
    if (this.isStopping) return;
    if (dataplane === this.standby) {
      this.standby = undefined;
      this.host.log("warn", `the dataplane that stands by has ended (${reason})`);
      return;
    }
    // One that is just being started fails whoever starts it; the first one fails the router's start.
    if (dataplane !== this.current || !this.isSupervising) return;
    this.current = undefined;
    this.endedAt = performance.now();
    this.startLater(reason);
  }

  private startLater(why: string): void {
    this.why = why;
    if (performance.now() - this.startedAt > QUIET_MS) this.failures = 0;
    const delay = DELAYS_MS[Math.min(this.failures, DELAYS_MS.length - 1)];
    this.failures++;
    const next = delay === 0 ? "another one takes its place" : `the next one starts in ${delay} ms`;
    const often = this.failures === 1 ? "" : `, for the ${ordinal(this.failures)} time in a row`;
    this.host.log("error", `the dataplane has ended (${why})${often}: ${next}`);
    this.host.changed({ state: "ended", why, againInMs: delay });
    if (delay === 0) void this.start();
    else this.again = setTimeout(() => void this.start(), delay);
  }

  private async start(): Promise<void> {
    const dataplane = this.standby ?? this.spawn();
    this.standby = undefined;
    this.starting = dataplane;
    try {
      const said = await this.host.revive(dataplane);
      this.starting = undefined;
      if (this.isStopping) return;
      this.begin(dataplane, said);
    } catch (error) {
      this.starting = undefined;
      dataplane.kill("it could not be started");
      this.startedAt = performance.now();
      if (!this.isStopping) this.startLater((error as Error).message);
    }
  }

  private begin(dataplane: Dataplane, said: string): void {
    this.current = dataplane;
    this.startedAt = performance.now();
    this.stillTicks = 0;
    this.aloneTicks = 0;
    const gapMs = Math.round(this.startedAt - this.endedAt);
    this.host.log("info", `the dataplane works again after ${gapMs} ms: ${said}`);
    this.host.changed({ state: "started", gapMs });
    for (const wake of [...this.waiting]) wake();
  }

  private untilBack(): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        clearTimeout(timer);
        this.waiting.delete(wake);
        finish();
      };
      const wake = (): void => settle(resolve);
      const giveUp = (): void => {
        reject(new DataplaneDownError(`the dataplane has ended (${this.why}) and is being started again`));
      };
      const timer = setTimeout(() => settle(giveUp), WAIT_MS);
      this.waiting.add(wake);
    });
  }

  /** Looks whether the dataplane's clock goes on, and sees to it that another one stands by. */
  private tick(): void {
    const { current } = this;
    if (current === undefined) return;
    const now = this.clock();
    this.stillTicks = now === this.lastClock ? this.stillTicks + 1 : 0;
    this.lastClock = now;
    if (this.stillTicks >= HANGS_TICKS) current.kill(`it has hung for ${HANGS_TICKS} s`);
    else if (this.standby === undefined && standsBy() && ++this.aloneTicks >= STANDBY_TICKS) {
      this.aloneTicks = 0;
      this.standby = this.spawn();
    }
  }
}

function ordinal(count: number): string {
  const ending = count % 100 >= 11 && count % 100 <= 13 ? "th" : (["th", "st", "nd", "rd"][count % 10] ?? "th");
  return `${count}${ending}`;
}
