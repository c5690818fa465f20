/**
 * Child processes of the lab. They run in sessions of their own, so that a Ctrl-C reaches the lab alone and the lab
 * ends things in order. Once the lab is interrupted, whatever is waited for ends with an `Interrupted` error.
 */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { TapirError } from "../../control/errors.ts";
import { native } from "../../io/native.ts";
import { netnsPath } from "./places.ts";

/** Time that a child gets between SIGTERM and SIGKILL. */
const GRACE_MS = 5_000;

export interface Finished {
  /** Exit code; null when a signal ended it. */
  status: number | null;
  stdout: string;
  stderr: string;
}

export class Interrupted extends TapirError {
  constructor() {
    super("interrupted");
  }
}

export class Processes {
  private readonly running = new Set<ChildProcess>();
  /** Those that have been told to end. */
  private readonly ending = new WeakSet<ChildProcess>();
  private isInterrupted = false;

  /** Ends all that runs; everything started or waited for from now on throws. */
  interrupt(): void {
    this.isInterrupted = true;
    for (const child of this.running) this.tellToEnd(child);
  }

  throwIfInterrupted(): void {
    if (this.isInterrupted) throw new Interrupted();
  }

  /** Starts a program in a namespace, or where the lab runs. */
  start(netns: string | undefined, file: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    this.throwIfInterrupted();
    const launch = () => spawn(file, args, { detached: true, stdio: ["ignore", "pipe", "pipe"], ...options });
    const child = netns === undefined ? launch() : native().inNamespace(netnsPath(netns), launch);
    this.running.add(child);
    child.once("close", () => this.running.delete(child));
    child.once("error", () => this.running.delete(child));
    return child;
  }

  /** Runs a program to its end. Its exit code is the caller's business. */
  async run(netns: string | undefined, file: string, ...args: string[]): Promise<Finished> {
    const child = this.start(netns, file, args);
    const output = { stdout: "", stderr: "" };
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      output.stdout += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      output.stderr += text;
    });
    const status = await exitOf(child);
    this.throwIfInterrupted();
    return { status, ...output };
  }

  /** SIGTERM, then SIGKILL after a grace period; returns when it is gone. */
  async stop(child: ChildProcess): Promise<void> {
    if (!this.running.has(child)) return;
    const ended = exitOf(child);
    this.tellToEnd(child);
    const kill = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
    await ended.finally(() => clearTimeout(kill));
  }

  /** Once is enough: a second SIGTERM may mean that the first was not quick enough. */
  private tellToEnd(child: ChildProcess): void {
    if (this.ending.has(child)) return;
    this.ending.add(child);
    child.kill("SIGTERM");
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.running].map((child) => this.stop(child)));
  }

  /** For the very end of the process, when nothing can be waited for any more. */
  killAll(): void {
    for (const child of this.running) child.kill("SIGKILL");
  }
}

/** Resolves with the exit code, null for a signal, when the child and its pipes are closed. */
export function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new TapirError(`cannot start ${child.spawnfile}: ${error.message}`)));
    child.once("close", (status) => resolve(status));
  });
}

/** Resolves when a server has printed that it listens; `name` is what it is called where it ends instead. */
export function untilListening(server: ChildProcess, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let complaint = "";
    server.stderr?.setEncoding("utf8").on("data", (text: string) => {
      complaint += text;
    });
    server.stdout?.once("data", () => resolve());
    server.once("close", () => reject(new TapirError(`${name} ended: ${complaint.trim()}`)));
  });
}
