/** The router of the lab: `tapir run` in a namespace of its own. It reads each new configuration on SIGHUP. */
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ExitCode, TapirError } from "../../control/errors.ts";
import type { DropRow } from "../../dataplane/messages.ts";
import { packageRoot } from "../../io/package_root.ts";
import { ask } from "../client.ts";
import { type Shown, show } from "../show.ts";
import { configurationText, type LabSettings } from "./configuration.ts";
import { Netns } from "./places.ts";
import type { Finished, Processes } from "./processes.ts";

const TAPIR = join(packageRoot(), "dist/src/cli/main.js");

/** Longest wait for `ready`; it takes a fraction of a second. */
const READY_MS = 15_000;

/** What the router says when it takes a configuration, and when it does not. */
const READY = /\bready\b/;
const REFUSED = /former configuration stays in force/;

export class RouterProcess {
  readonly folder: string;
  readonly socket: string;
  readonly configFile: string;
  private readonly processes: Processes;
  private child: ChildProcess | undefined;
  /** What the router has said since it was last asked for something. */
  private said = "";
  private heard = (): void => {};

  constructor(processes: Processes) {
    this.processes = processes;
    this.folder = mkdtempSync(join(tmpdir(), "tapir-lab-"));
    this.socket = join(this.folder, "tapir.sock");
    this.configFile = join(this.folder, "lab.yaml");
  }

  /** Starts the router with these settings, or changes the one that runs; returns when every port forwards. */
  async configure(settings: LabSettings): Promise<void> {
    writeFileSync(this.configFile, configurationText(settings));
    this.said = "";
    if (this.child === undefined) this.child = this.start();
    else this.child.kill("SIGHUP");
    await this.untilReady(this.child);
  }

  /** Resolves when the router ends. */
  ended(): Promise<void> {
    return new Promise((resolve) => this.child?.once("close", () => resolve()));
  }

  /** A table of the router: what `tapir show` prints. */
  show(table: Shown): Promise<string> {
    return show(this.socket, table, false);
  }

  /** How often the router has stopped a packet for this reason (`stop_reasons.ts`). */
  async stops(reason: string): Promise<number> {
    const rows = await ask<DropRow[]>(this.socket, "GET", "/v1/drops");
    return rows.find((row) => row.reason === reason)?.count ?? 0;
  }

  /** Runs a `tapir` command against the router. */
  tapir(...words: string[]): Promise<Finished> {
    return this.processes.run(undefined, process.execPath, TAPIR, ...words, "--socket", this.socket);
  }

  /** Removes the folder with the configuration and the socket. */
  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  private start(): ChildProcess {
    const words = [...process.execArgv, TAPIR, "run", "-f", this.configFile, "--socket", this.socket, "--no-outlive"];
    const child = this.processes.start(Netns.ROUTER, process.execPath, words);
    const listen = (text: string) => {
      this.said = (this.said + text).slice(-16_384);
      this.heard();
    };
    child.stdout?.setEncoding("utf8").on("data", listen);
    child.stderr?.setEncoding("utf8").on("data", listen);
    return child;
  }

  private untilReady(child: ChildProcess): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (action: () => void) => {
        clearTimeout(timer);
        child.off("close", closed);
        this.heard = () => {};
        action();
      };
      const fail = (what: string, exitCode?: ExitCode) =>
        settle(() => reject(new TapirError(`${what}: ${lastMessage(this.said)}`, exitCode)));
      const closed = (status: number | null) =>
        fail("the router has ended", status === ExitCode.PRIVILEGE ? ExitCode.PRIVILEGE : ExitCode.FAILED);
      const timer = setTimeout(() => fail("the router does not get ready"), READY_MS);
      child.once("close", closed);
      this.heard = () => {
        if (REFUSED.test(this.said)) fail("the router refused its new configuration");
        else if (READY.test(this.said)) settle(resolve);
      };
    });
  }
}

/** The last line of a log: a line of JSON, or what a command says before it fails. */
function lastMessage(log: string): string {
  const line = log.trim().split("\n").at(-1) ?? "";
  try {
    return (JSON.parse(line) as { msg: string }).msg;
  } catch {
    return line.replace(/^tapir: /, "") || "it said nothing";
  }
}
