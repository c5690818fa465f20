/** The router under test: a real `tapir run`, its configuration as it is to be, and its two processes. */
import type { ChildProcess } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Api } from "./api.ts";
import { folder, start, TAPIR } from "./world.ts";

const PATIENCE_MS = 60_000;
const COMPLETE_PAUSE_MS = 100;
/** Children of the control process: a dataplane, and one that stands by. */
const PROCESSES = 2;

export interface Container {
  name: string;
  netns: string;
  address: string;
}

/** What of the configuration changes. */
export interface Wanted {
  containers: Container[];
  /** Destination ports that are refused: nobody uses them. */
  closed: number[];
}

export class SoakRouter {
  readonly api: Api;
  readonly wanted: Wanted;
  private readonly child: ChildProcess;
  private readonly file = join(folder, "tapir.yaml");
  private output = "";
  private listeners = new Set<() => void>();

  private constructor(netns: string, wanted: Wanted) {
    const socket = join(folder, "tapir.sock");
    this.api = new Api(socket);
    this.wanted = wanted;
    this.write();
    this.child = start(netns, [TAPIR, "run", "-f", this.file, "--socket", socket, "--log-format", "text"]);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
        for (const listener of this.listeners) listener();
      });
    }
    this.child.once("exit", (code, signal) => {
      this.output += `\nthe router has ended: ${signal ?? code}\n`;
      for (const listener of this.listeners) listener();
    });
  }

  static async start(netns: string, wanted: Wanted): Promise<SoakRouter> {
    const router = new SoakRouter(netns, wanted);
    await router.until(/\bready\b/, 0);
    return router;
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** The last lines of its log. */
  get log(): string {
    return this.output.slice(-4000);
  }

  configuration(): string {
    const ports = this.wanted.containers.map(
      ({ name, netns, address }) => `      ${name}: { netns: ${netns}, address: ${address}, defaultRoute: true }`,
    );
    const closed = this.wanted.closed.map((port) => `      - { proto: tcp, dport: ${port}, action: drop }`);
    return [
      "version: 1",
      "networks:",
      "  lab:",
      "    subnet: 10.55.66.0/24",
      "    ports:",
      ...ports,
      "uplinks:",
      "  wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: 203.0.113.2 }",
      "nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ] }",
      "filter:",
      "  forward:",
      "    policy: accept",
      ...(closed.length === 0 ? [] : ["    rules:", ...closed]),
      `control: { snapshot: { directory: ${folder}, everySeconds: 5 } }`,
      "",
    ].join("\n");
  }

  private write(): void {
    writeFileSync(this.file, this.configuration());
  }

  /** Has it read its file again. */
  async reread(): Promise<void> {
    this.write();
    const from = this.output.length;
    this.child.kill("SIGHUP");
    const [said] = await this.until(/has been read again|stays in force/, from);
    if (said !== "has been read again") throw new Error(`SIGHUP: ${this.output.slice(from)}`);
  }

  async apply(): Promise<void> {
    await this.api.ask("PUT", "/v1/configuration", { text: this.configuration() });
  }

  /** Resolves with the first match in what it has printed behind `from`. */
  private until(pattern: RegExp, from: number): Promise<RegExpMatchArray> {
    return new Promise((resolve, reject) => {
      const settle = (action: () => void): void => {
        clearTimeout(timer);
        this.listeners.delete(look);
        action();
      };
      const look = (): void => {
        const match = this.output.slice(from).match(pattern);
        if (match !== null) settle(() => resolve(match));
        else if (this.hasEnded) settle(() => reject(new Error(`the router has ended:\n${this.log}`)));
      };
      const timer = setTimeout(() => {
        settle(() => reject(new Error(`the router does not say ${pattern}:\n${this.log}`)));
      }, PATIENCE_MS);
      this.listeners.add(look);
      look();
    });
  }

  /** The control process: `ip netns exec` has become it. */
  get controlPid(): number {
    return this.child.pid as number;
  }

  /** The dataplane: the child that holds TAPs. */
  get dataplanePid(): number | undefined {
    return childrenOf(this.controlPid).find((pid) => openFiles(pid).includes("/dev/net/tun"));
  }

  /** A dataplane is at work, and another one stands by: after one was killed that takes its time. */
  async untilComplete(): Promise<void> {
    for (let left = PATIENCE_MS; left > 0; left -= COMPLETE_PAUSE_MS) {
      if (this.dataplanePid !== undefined && childrenOf(this.controlPid).length === PROCESSES) return;
      await sleep(COMPLETE_PAUSE_MS);
    }
    throw new Error(`there are not two dataplane processes:\n${this.log}`);
  }

  async stop(): Promise<number | null> {
    if (this.hasEnded) return this.child.exitCode;
    const ended = new Promise<number | null>((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGTERM");
    return ended;
  }
}

function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    return text === "" ? [] : text.split(" ").map(Number);
  } catch {
    return [];
  }
}

/** What the descriptors of a process are. */
export function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
      } catch {
        return [];
      }
    });
  } catch {
    return [];
  }
}
