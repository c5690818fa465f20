/**
 * The dataplane process as the control process sees it: started with one end of a channel, asked one thing after the
 * other, and told to stop. It runs in a session of its own, so that a terminal's Ctrl-C reaches the control process
 * alone, which then ends things in order.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { Notice, Reply, Request } from "../dataplane/messages.ts";
import { Channel } from "../io/channel.ts";
import { native } from "../io/native.ts";
import { packageRoot } from "../io/package_root.ts";
import { DataplaneDownError, TapirError } from "./errors.ts";
import { withoutCapabilities } from "./privilege.ts";

const PROGRAM = join(packageRoot(), "dist/src/dataplane/main.js");

/**
 * V8 settings of the dataplane. Its stages are many small functions; the default budget stops inlining in the middle
 * of the walk, which costs a fifth of the rate.
 */
export const V8_FLAGS = ["--max-inlined-bytecode-size-cumulative=5000", "--max-inlined-bytecode-size=1000"];

/** Time between asking the dataplane to stop and killing it. */
const STOP_MS = 2_000;
/** Time after which messages that the dataplane could not take yet are sent again. */
const RESEND_MS = 5;
/** A request that is not answered for so long means that the dataplane hangs. */
const REPLY_MS = 10_000;

type WithoutId<T> = T extends unknown ? Omit<T, "id"> : never;

interface Pending {
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout;
}

export interface DataplaneEvents {
  notice(notice: Notice): void;
  /** The process has ended without having been told to. */
  died(reason: string): void;
}

export class DataplaneProcess {
  private readonly child: ChildProcess;
  private readonly channel: Channel;
  private readonly fd: number;
  private readonly stopWatching: () => void;
  private readonly pending = new Map<number, Pending>();
  private readonly events: DataplaneEvents;
  private readonly exited: Promise<void>;
  private lastId = 0;
  private isStopping = false;
  /** Why it was ended, where this process did it. */
  private killedFor: string | undefined;
  /** The descriptor is closed then, and its number may be somebody else's. */
  private hasEnded = false;

  /** `portCounters` is the descriptor of a memory of `PORT_COUNTER_BYTES`; the caller keeps it. */
  constructor(events: DataplaneEvents, portCounters: number) {
    this.events = events;
    const [own, other] = native().socketPair();
    this.fd = own;
    const profile = process.env.TAPIR_DATAPLANE_FLAGS?.split(" ") ?? [];
    const [command, ...words] = withoutCapabilities([process.execPath, ...V8_FLAGS, ...profile, PROGRAM]);
    this.child = spawn(command, words, {
      stdio: ["ignore", "inherit", "inherit", other, portCounters],
      detached: true,
    });
    native().closeDescriptor(other);
    this.channel = new Channel(native(), own);
    this.stopWatching = native().watchReadable(own, () => this.read());
    this.exited = new Promise((resolve) => {
      this.child.once("error", (error) => this.ended(`cannot start: ${error.message}`, resolve));
      this.child.once("exit", (code, signal) => this.ended(signal ?? `exit code ${code}`, resolve));
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /**
   * Asks; the descriptors stay the caller's, to be kept open until the answer. Rejects with what the dataplane says is wrong, or when it dies or
   * hangs, which ends it.
   */
  request(request: WithoutId<Request>, descriptors: readonly number[] = []): Promise<unknown> {
    if (this.hasEnded) return Promise.reject(new DataplaneDownError("the dataplane has ended"));
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.kill(`it has not answered for ${REPLY_MS / 1000} s`), REPLY_MS);
      this.pending.set(id, { resolve, reject, timer });
      try {
        this.channel.send({ ...request, id }, descriptors);
        this.sendRest();
      } catch (error) {
        this.settle(id, error as Error);
      }
    });
  }

  /** Ends the process, by force if it must be. */
  async stop(): Promise<void> {
    if (this.isStopping) return this.exited;
    this.isStopping = true;
    this.request({ type: "stop" }).catch(() => {});
    const kill = setTimeout(() => this.child.kill("SIGKILL"), STOP_MS);
    await this.exited;
    clearTimeout(kill);
  }

  /** Ends the process at once, for a reason that is told to whoever waits. */
  kill(reason: string): void {
    this.killedFor ??= reason;
    this.child.kill("SIGKILL");
  }

  /** Messages wait in the channel while the dataplane's end is full. */
  private sendRest(): void {
    if (this.hasEnded || this.channel.flush()) return;
    setTimeout(() => {
      try {
        this.sendRest();
      } catch {
        // The dataplane is gone: its end is reported, and settles all that waits.
      }
    }, RESEND_MS);
  }

  private read(): void {
    for (;;) {
      const received = this.channel.receive();
      if (received === null) return;
      if (received === "closed") {
        this.stopWatching();
        return;
      }
      const message = received.message as Reply | Notice;
      if (received.lost === undefined) this.take(message);
      else if ("id" in message) this.settle(message.id, new TapirError(`the dataplane's answer: ${received.lost}`));
    }
  }

  private take(message: Reply | Notice): void {
    if ("notice" in message) this.events.notice(message);
    else if (message.ok) this.settle(message.id, undefined, message.result);
    else this.settle(message.id, new TapirError(message.error));
  }

  private settle(id: number, error: Error | undefined, result?: unknown): void {
    const pending = this.pending.get(id);
    if (pending === undefined) return;
    this.pending.delete(id);
    clearTimeout(pending.timer);
    if (error === undefined) pending.resolve(result);
    else pending.reject(error);
  }

  private ended(how: string, resolve: () => void): void {
    if (this.hasEnded) return;
    const reason = this.killedFor ?? how;
    this.hasEnded = true;
    this.stopWatching();
    this.channel.close();
    native().closeDescriptor(this.fd);
    for (const id of [...this.pending.keys()])
      this.settle(id, new DataplaneDownError(`the dataplane has ended (${reason})`));
    resolve();
    if (!this.isStopping) this.events.died(reason);
  }
}
