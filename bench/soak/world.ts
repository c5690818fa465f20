/**
 * The namespaces of the soak, and what runs in them: a world outside with a server, a router, and containers that talk.
 *
 *     c0, c1, …  10.55.66.2, .3, …  ──TAP── router 203.0.113.1 ──veth── outside 203.0.113.2
 *
 * Everything is made under names of this process, and removed when it ends, however it ends.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { packageRoot } from "../../src/io/package_root.ts";
import type { Done, Order } from "./agent.ts";

const AGENT = join(packageRoot(), "dist/bench/soak/agent.js");
export const TAPIR = join(packageRoot(), "dist/src/cli/main.js");
export const SERVER = "203.0.113.2";
export const GATEWAY = "10.55.66.1";

const PREFIX = `ts${process.pid}-`;
const namespaces = new Set<string>();
const children = new Set<ChildProcess>();
export const folder = mkdtempSync(join(tmpdir(), "tapir-soak-"));

const execute = promisify(execFile);

/** Runs a command to its end; throws with what it said. */
export async function run(command: string, ...words: string[]): Promise<string> {
  try {
    return (await execute(command, words, { encoding: "utf8", timeout: 60_000 })).stdout;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw new Error(`${command} ${words.join(" ")}: ${stderr?.trim() || message}`);
  }
}

export const ip = (...words: string[]): Promise<string> => run("ip", ...words);

export async function addNamespace(name: string): Promise<string> {
  const full = PREFIX + name;
  namespaces.add(full);
  await ip("netns", "add", full);
  const quiet = ["all", "default"].map((which) => `echo 1 > /proc/sys/net/ipv6/conf/${which}/disable_ipv6`).join("; ");
  await ip("netns", "exec", full, "sh", "-c", quiet);
  await ip("-n", full, "link", "set", "lo", "up");
  return full;
}

export async function deleteNamespace(name: string): Promise<void> {
  await ip("netns", "del", name);
  namespaces.delete(name);
}

/** Namespaces of this process that are there. */
export function namespacesLeft(): string[] {
  return existsSync("/run/netns") ? readdirSync("/run/netns").filter((name) => name.startsWith(PREFIX)) : [];
}

/** Starts a program in a namespace. */
export function start(netns: string, words: readonly string[]): ChildProcess {
  const child = spawn("ip", ["netns", "exec", netns, process.execPath, ...words], { stdio: ["pipe", "pipe", "pipe"] });
  children.add(child);
  child.once("exit", () => children.delete(child));
  child.on("error", () => children.delete(child));
  return child;
}

/** A program of `agent.ts` in a namespace. */
export class Agent {
  private readonly child: ChildProcess;
  private readonly waiting = new Map<number, (done: Done) => void>();
  private lastId = 0;

  private constructor(child: ChildProcess) {
    this.child = child;
  }

  static async start(netns: string, mode: "serve" | "talk"): Promise<Agent> {
    const agent = new Agent(start(netns, [AGENT, mode, SERVER]));
    const lines = createInterface({ input: agent.child.stdout as NodeJS.ReadableStream });
    const ready = once(lines, "line");
    await ready;
    lines.on("line", (line) => {
      const done = JSON.parse(line) as Done;
      agent.waiting.get(done.id)?.(done);
      agent.waiting.delete(done.id);
    });
    return agent;
  }

  do(order: Omit<Order, "id">): Promise<Done> {
    const id = ++this.lastId;
    this.child.stdin?.write(`${JSON.stringify({ id, ...order })}\n`);
    return new Promise((resolve) => this.waiting.set(id, resolve));
  }
}

/** Ends and removes all; never throws. */
export function removeAll(): void {
  for (const child of children) child.kill("SIGKILL");
  for (const name of namespaces) {
    try {
      execFileSync("ip", ["netns", "del", name], { stdio: "ignore" });
    } catch {
      // The next one still has to go.
    }
  }
  namespaces.clear();
  rmSync(folder, { recursive: true, force: true });
}

process.on("exit", removeAll);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));
