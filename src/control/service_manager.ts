/**
 * What systemd, or whoever started the router, is told of it (sd_notify(3)): that it is ready, that it reads its file again,
 * that it ends; and, where a watchdog is asked for (WATCHDOG_USEC), that it is alive. Alive is a router whose two processes
 * answer: the watchdog is fed after each answer of the dataplane, and never otherwise.
 */
import { native } from "../io/native.ts";

/** How often the watchdog is fed in the time after which it bites. */
const FEEDS_IN_TIME = 3;

export type Notify = (path: string, text: string) => void;

export class ServiceManager {
  private readonly socket: string | undefined;
  private readonly watchdogMs: number | undefined;
  private readonly notify: Notify;
  private feeding: NodeJS.Timeout | undefined;
  private hasEnded = false;

  constructor(
    environment: NodeJS.ProcessEnv,
    notify: Notify = (path, text) => native().notifyService(path, text),
    pid = process.pid,
  ) {
    this.notify = notify;
    this.socket = environment.NOTIFY_SOCKET || undefined;
    const isOurs = environment.WATCHDOG_PID === undefined || Number(environment.WATCHDOG_PID) === pid;
    const microseconds = Number(environment.WATCHDOG_USEC ?? 0);
    this.watchdogMs = isOurs && microseconds > 0 ? microseconds / 1000 : undefined;
  }

  /** Started, or done with reading again; `status` is what `systemctl status` shows. */
  ready(status: string): void {
    this.tell(`READY=1\nSTATUS=${status}`);
  }

  reloading(): void {
    // Of CLOCK_MONOTONIC, which is hrtime's: a notification that overtakes another is told by it.
    this.tell(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  }

  stopping(): void {
    this.hasEnded = true;
    clearTimeout(this.feeding);
    this.tell("STOPPING=1\nSTATUS=ending");
  }

  /** Feeds the watchdog as long as `ask` is answered. One question at a time: a dataplane that stands gets no more. */
  watch(ask: () => Promise<unknown>): void {
    const { watchdogMs } = this;
    if (this.socket === undefined || watchdogMs === undefined) return;
    const feed = (): void => {
      const fed = ask().then(
        () => !this.hasEnded && this.tell("WATCHDOG=1"),
        // Not fed: that is all that is to be said.
        () => {},
      );
      fed.then(() => {
        if (!this.hasEnded) this.feeding = setTimeout(feed, watchdogMs / FEEDS_IN_TIME);
      });
    };
    feed();
  }

  private tell(text: string): void {
    if (this.socket === undefined) return;
    try {
      this.notify(this.socket, text);
    } catch {
      // A manager that does not listen cannot be told; its own time-outs decide what becomes of the router.
    }
  }
}
