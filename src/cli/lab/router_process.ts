/** The router of the lab: `tapir run` in a namespace of its own, started anew for each configuration. */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../io/package_root.ts";
import { configurationText, type LabSettings } from "./configuration.ts";
import { LabError } from "./errors.ts";
import { Netns } from "./places.ts";
import type { Finished, Processes } from "./processes.ts";

const TAPIR = join(packageRoot(), "dist/src/cli/main.js");

/** Longest wait for `ready`; it takes a fraction of a second. */
const START_MS = 15_000;

export class RouterProcess {
  readonly folder: string;
  readonly socket: string;
  readonly configFile: string;
  private readonly processes: Processes;
  private child: ChildProcess | undefined;

  constructor(processes: Processes) {
    this.processes = processes;
    this.folder = mkdtempSync(join(tmpdir(), "tapir-lab-"));
    this.socket = join(this.folder, "tapir.sock");
    this.configFile = join(this.folder, "lab.yaml");
  }

  /** Starts the router with these settings, in place of the one that runs, and waits until every port forwards. */
  async start(settings: LabSettings): Promise<void> {
    await this.stop();
    writeFileSync(this.configFile, configurationText(settings));
    const words = [...process.execArgv, TAPIR, "run", "-f", this.configFile, "--socket", this.socket];
    const child = this.processes.start(Netns.ROUTER, process.execPath, words);
    this.child = child;
    try {
      await this.untilReady(child);
    } catch (error) {
      this.processes.throwIfInterrupted();
      throw error;
    }
  }

  async stop(): Promise<void> {
    const { child } = this;
    this.child = undefined;
    if (child !== undefined) await this.processes.stop(child);
  }

  /** Resolves when the router ends by itself; never when it is stopped. */
  died(): Promise<void> {
    const { child } = this;
    return new Promise((resolve) => {
      child?.once("close", () => {
        if (this.child === child) resolve();
      });
    });
  }

  /** Runs a `tapir` command against the router. */
  tapir(...words: string[]): Promise<Finished> {
    return this.processes.run(undefined, process.execPath, TAPIR, ...words, "--socket", this.socket);
  }

  /** Removes the folder with the configuration and the socket. */
  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  private untilReady(child: ChildProcess): Promise<void> {
    let log = "";
    return new Promise((resolve, reject) => {
      const settle = (action: () => void) => {
        clearTimeout(timer);
        action();
      };
      const timer = setTimeout(
        () => settle(() => reject(new LabError(`the router did not get ready: ${lastLine(log)}`))),
        START_MS,
      );
      const read = (text: string) => {
        log = (log + text).slice(-16_384);
        if (/\bready\b/.test(log)) settle(resolve);
      };
      child.stdout?.setEncoding("utf8").on("data", read);
      child.stderr?.setEncoding("utf8").on("data", read);
      child.once("error", (error) => settle(() => reject(error)));
      child.once("close", (status) =>
        settle(() => reject(new LabError(`the router ended: ${lastLine(log)}`, status === 5 ? 5 : 1))),
      );
    });
  }
}

function lastLine(log: string): string {
  return log.trim().split("\n").at(-1) || "it said nothing";
}
