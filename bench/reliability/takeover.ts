/**
 * How long a router is silent, and what is lost, while its program is replaced (`tapir upgrade`), when its control process is
 * killed and started again, and when its dataplane is killed: one datagram a millisecond goes through it and back meanwhile.
 *
 *     node dist/bench/reliability/takeover.js [ROUNDS]      (root; 5 rounds unless said)
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ask } from "../../src/cli/client.ts";
import { packageRoot } from "../../src/io/package_root.ts";
import type { Pulse } from "./pulse.ts";

const TAPIR = join(packageRoot(), "dist/src/cli/main.js");
const PULSE = join(packageRoot(), "dist/bench/reliability/pulse.js");
const [INSIDE, ROUTER, OUTSIDE] = ["i", "r", "o"].map((end) => `tk${process.pid}${end}`);
const SERVER = "203.0.113.2";
const PORT = "7000";
/** Undisturbed traffic before and after. */
const CALM_MS = 500;
const PATIENCE_MS = 60_000;
/** Another dataplane stands by three seconds after the last one has begun, and needs one to load. */
const UNTIL_STANDBY_MS = 6_000;

const folder = mkdtempSync(join(tmpdir(), "tapir-takeover-"));
const socket = join(folder, "tapir.sock");
const file = join(folder, "tapir.yaml");
const children = new Set<ChildProcess>();

function ip(...words: string[]): void {
  execFileSync("ip", words, { stdio: ["ignore", "ignore", "inherit"] });
}

function makeWorld(): void {
  for (const name of [INSIDE, ROUTER, OUTSIDE]) ip("netns", "add", name);
  ip("link", "add", "up0", "netns", ROUTER, "type", "veth", "peer", "name", "eth0", "netns", OUTSIDE);
  ip("-n", OUTSIDE, "address", "add", `${SERVER}/24`, "dev", "eth0");
  for (const [name, device] of [
    [ROUTER, "up0"],
    [OUTSIDE, "eth0"],
  ]) {
    ip("-n", name, "link", "set", device, "up");
  }
  writeFileSync(
    file,
    `version: 1
networks:
  lab: { subnet: 10.55.66.0/24, ports: { c: { netns: ${INSIDE}, address: 10.55.66.2, defaultRoute: true } } }
uplinks:
  wan: { kind: packet, device: up0, address: 203.0.113.1/24 }
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ] }
`,
  );
}

function removeWorld(): void {
  for (const child of children) child.kill("SIGKILL");
  for (const name of [INSIDE, ROUTER, OUTSIDE]) ip("netns", "del", name);
  rmSync(folder, { recursive: true, force: true });
}

/** Starts Node in a namespace; returns once it says what is waited for. */
async function start(netns: string, words: string[], pattern: RegExp): Promise<ChildProcess> {
  const child = spawn("ip", ["netns", "exec", netns, process.execPath, ...words], { stdio: ["pipe", "pipe", "pipe"] });
  children.add(child);
  child.once("exit", () => children.delete(child));
  await hear(child, pattern);
  return child;
}

/** What a child says next that matches. */
function hear(child: ChildProcess, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    const timer = setTimeout(() => reject(new Error(`not said in time: ${pattern}\n${said}`)), PATIENCE_MS);
    const listen = (bytes: Buffer): void => {
      said += bytes.toString();
      const match = pattern.exec(said);
      if (match === null) return;
      clearTimeout(timer);
      resolve(match[0]);
    };
    child.stdout?.on("data", listen);
    child.stderr?.on("data", listen);
  });
}

const runRouter = (): Promise<ChildProcess> =>
  start(ROUTER, [TAPIR, "run", "-f", file, "--socket", socket], /\bready\b/);

/** What traffic notices of something that is done meanwhile. */
async function during(disturb: () => Promise<void>): Promise<Pulse> {
  const pulse = await start(INSIDE, [PULSE, "send", SERVER, PORT], /going/);
  await sleep(CALM_MS);
  await disturb();
  await sleep(CALM_MS);
  const result = hear(pulse, /\{.*\}/);
  pulse.stdin?.write("over\n");
  return JSON.parse(await result) as Pulse;
}

async function upgrade(): Promise<void> {
  const command = spawn(process.execPath, [TAPIR, "upgrade", "--socket", socket], { stdio: "inherit" });
  const status = await new Promise((resolve) => command.once("exit", resolve));
  if (status !== 0) throw new Error(`tapir upgrade ended with ${status}`);
}

/** Until another one works. */
async function killDataplane(): Promise<void> {
  const running = () => ask<{ dataplanePid: number | null }>(socket, "GET", "/v1/upgrade");
  const { dataplanePid: killed } = await running();
  process.kill(killed as number, "SIGKILL");
  for (;;) {
    const { dataplanePid } = await running();
    if (dataplanePid !== null && dataplanePid !== killed) return;
    await sleep(1);
  }
}

function report(what: string, pulses: readonly Pulse[]): void {
  const silences = pulses.map(({ silenceMs }) => silenceMs).sort((left, right) => left - right);
  const sent = pulses.reduce((sum, pulse) => sum + pulse.sent, 0);
  const lost = sent - pulses.reduce((sum, pulse) => sum + pulse.answered, 0);
  const median = silences[silences.length >> 1].toFixed(0);
  console.log(
    `${what.padEnd(28)} silence ${median} ms (median), ${silences.at(-1)?.toFixed(0)} ms (longest); lost ${lost} of ${sent}`,
  );
}

async function measure(rounds: number): Promise<void> {
  let router = await runRouter();
  await start(OUTSIDE, [PULSE, "serve", SERVER, PORT], /listening/);
  const calm: Pulse[] = [];
  const upgrades: Pulse[] = [];
  const kills: Pulse[] = [];
  const crashes: Pulse[] = [];
  for (let round = 0; round < rounds; round++) {
    calm.push(await during(() => sleep(CALM_MS)));
    upgrades.push(await during(upgrade));
    kills.push(
      await during(async () => {
        const isGone = new Promise((resolve) => router.once("exit", resolve));
        router.kill("SIGKILL");
        await isGone;
        router = await runRouter();
      }),
    );
    await sleep(UNTIL_STANDBY_MS);
    crashes.push(await during(killDataplane));
  }
  report("nothing happens", calm);
  report("tapir upgrade", upgrades);
  report("kill -9 control, tapir run", kills);
  report("kill -9 dataplane", crashes);
  const isGone = new Promise((resolve) => router.once("exit", resolve));
  router.kill("SIGTERM");
  await isGone;
}

try {
  makeWorld();
  await measure(Number(process.argv[2] ?? 5));
} finally {
  removeWorld();
}
