/** Child processes of the bench: each is ended by its id, and none outlives the bench. */
import { type ChildProcess, spawn } from "node:child_process";
import { type ProgramName, programPath } from "./build.ts";
import { raise } from "./priority.ts";

export type Flags = Record<string, string | number | boolean | undefined>;

/** Longest wait for a process to get ready, and for one to end after it was asked to. */
const START_MS = 20_000;
const STOP_MS = 10_000;

const running = new Set<ChildProcess>();

process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export class Started {
  readonly child: ChildProcess;
  readonly command: string;
  /** What it wrote, both streams; only the last part of the errors is kept. */
  output = "";
  errors = "";
  readonly ended: Promise<number | null>;

  constructor(command: string, words: readonly string[]) {
    this.command = command;
    this.child = spawn(command, words, { stdio: ["ignore", "pipe", "pipe"], detached: true });
    if (this.child.pid !== undefined) raise(this.child.pid);
    running.add(this.child);
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.output = (this.output + text).slice(-65_536);
    });
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.errors = (this.errors + text).slice(-16_384);
    });
    this.ended = new Promise((resolve, reject) => {
      this.child.once("error", (error) => {
        running.delete(this.child);
        reject(error);
      });
      this.child.once("close", (status) => {
        running.delete(this.child);
        resolve(status);
      });
    });
    // Whoever waits for it gets the error; nobody may wait yet.
    this.ended.catch(() => {});
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** Resolves once either stream matches; rejects when the process ends first or takes too long. */
  async until(pattern: RegExp, timeoutMs = START_MS): Promise<this> {
    let timer: NodeJS.Timeout | undefined;
    const seen = new Promise<void>((resolve, reject) => {
      const look = () => {
        if (pattern.test(this.errors) || pattern.test(this.output)) resolve();
      };
      this.child.stdout?.on("data", look);
      this.child.stderr?.on("data", look);
      timer = setTimeout(() => reject(new Error(`${this.command}: not ready in time: ${this.lastLines()}`)), timeoutMs);
      look();
    });
    const died = this.ended.then((status) => {
      throw new Error(`${this.command} ended with ${status}: ${this.lastLines()}`);
    });
    died.catch(() => {});
    await Promise.race([seen, died]).finally(() => clearTimeout(timer));
    return this;
  }

  /** SIGTERM, and SIGKILL where that does not help. */
  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill("SIGTERM");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), STOP_MS);
    await this.ended.finally(() => clearTimeout(timer));
  }

  lastLines(): string {
    return (this.errors.trim() || this.output.trim()).split("\n").slice(-3).join(" | ") || "it said nothing";
  }
}

export function flagWords(flags: Flags): string[] {
  return Object.entries(flags).flatMap(([name, value]) => {
    const word = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    if (value === undefined || value === false) return [];
    return value === true ? [word] : [word, String(value)];
  });
}

/** Runs one of the bench's programs to its end and returns what it reports. */
export async function runProgram<T>(name: ProgramName, flags: Flags): Promise<T> {
  const program = new Started(programPath(name), flagWords(flags));
  const status = await program.ended;
  if (status !== 0) throw new Error(`${name} ended with ${status}: ${program.lastLines()}`);
  return JSON.parse(program.output) as T;
}

/** Starts one that works until it is told to stop. */
export async function startProgram(name: ProgramName, flags: Flags): Promise<Started> {
  const program = new Started(programPath(name), flagWords(flags));
  return await program.until(/^ready$/m);
}

/** Ends one of those and returns what it reports. */
export async function finishProgram<T>(program: Started): Promise<T> {
  await program.stop();
  if (program.output === "") throw new Error(`${program.command}: no report: ${program.lastLines()}`);
  return JSON.parse(program.output) as T;
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
