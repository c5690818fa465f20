/** The dataplane is killed under traffic: another one takes its place, and no connection is lost. */
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../src/io/package_root.ts";
import { must, ping, type RunningRouter, requireSystem, spawnIn, tapir } from "../support/netns.ts";
import { Address, tapirWorld, type World } from "./worlds.ts";

const PEER = join(packageRoot(), "test/netns/peers/crash.mjs");
const TRANSFERS = 100;
const FLOWS = 1000;

const canRun = requireSystem(["ping", "curl"], "crashes of the dataplane");

async function world(): Promise<World & { tapir: RunningRouter }> {
  return (await tapirWorld()) as World & { tapir: RunningRouter };
}

/** The child that has the router's TAPs: not the one that stands by. */
function dataplaneOf({ tapir: router }: { tapir: RunningRouter }): number | undefined {
  const pids = must(undefined, "ps", ["-o", "pid=", "--ppid", String(router.child.pid)])
    .trim()
    .split(/\s+/);
  return pids.map(Number).find((pid) => {
    try {
      return readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === "/dev/net/tun");
    } catch {
      return false;
    }
  });
}

function kill(here: { tapir: RunningRouter }): void {
  const pid = dataplaneOf(here);
  expect(pid).toBeDefined();
  process.kill(pid as number, "SIGKILL");
}

function counter({ tapir: router }: { tapir: RunningRouter }, name: string): number {
  return (JSON.parse(router.mustTapir("show", "stats", "-j")) as Record<string, number>)[name];
}

describe.skipIf(!canRun)("a dataplane that is killed", () => {
  it("is followed by one that goes on with every transfer and every flow", async () => {
    const here = await world();
    const server = spawnIn(here.wan, process.execPath, [PEER, "serve", Address.SERVER, "8080"]);
    await server.until(/ready/);
    const words = ["load", Address.SERVER, "8080", String(TRANSFERS), String(FLOWS)];
    const load = spawnIn(here.c1, process.execPath, [PEER, ...words]);
    await load.until(/ready/);
    const framesBefore = counter(here, "framesReceived");
    await load.until(/half/);
    kill(here);
    await here.tapir.until(/works again after \d+ ms: \d+ flows go on/);
    const listed = here.tapir.mustTapir("conntrack", "-L", "-p", "udp", "--dst", Address.SERVER);
    expect(listed.match(/^udp .*dport=8080 .*\[ASSURED\]|^udp .*dport=8080/gm)?.length).toBe(FLOWS);
    load.child.stdin?.write("go\n");
    await load.until(/\{.*\}/);
    expect(JSON.parse(/\{.*\}/.exec(load.stdout())?.[0] ?? "")).toEqual({ whole: TRANSFERS, same: FLOWS });
    expect(here.tapir.stderr() + here.tapir.stdout()).toMatch(
      /the dataplane has ended \(SIGKILL\): another one takes its place/,
    );
    expect(counter(here, "dataplaneRestarts")).toBe(1);
    expect(counter(here, "flowsTorn")).toBe(0);
    expect(counter(here, "flowsAdopted")).toBeGreaterThanOrEqual(FLOWS + TRANSFERS);
    expect(counter(here, "framesReceived")).toBeGreaterThan(framesBefore);
  }, 60_000);

  it("is followed later and later when it dies again at once, says why, and is told of on the event stream", async () => {
    const here = await world();
    const events = spawnIn(undefined, "curl", [
      "-sN",
      "--unix-socket",
      here.tapir.socket,
      "http://tapir/v1/events?topics=dataplane",
    ]);
    expect(ping(here.c1, Address.SERVER)).toBe(true);
    const output = (): string => here.tapir.stderr() + here.tapir.stdout();
    for (const [time, next] of [
      [1, /ended \(SIGKILL\): another one takes its place/],
      [2, /ended \(SIGKILL\), for the 2nd time in a row: the next one starts in 100 ms/],
      [3, /ended \(SIGKILL\), for the 3rd time in a row: the next one starts in 500 ms/],
    ] as const) {
      kill(here);
      await here.tapir.until(next);
      await expect.poll(() => output().match(/works again/g)?.length, { timeout: 20_000 }).toBe(time);
    }
    expect(ping(here.c1, Address.SERVER)).toBe(true);
    expect(counter(here, "dataplaneRestarts")).toBe(3);
    await events.until(/event: dataplane\ndata: \{"state":"ended","why":"SIGKILL","againInMs":500\}/);
    await events.until(/event: dataplane\ndata: \{"state":"started","gapMs":\d+\}/);
    expect(await here.tapir.stop("SIGTERM")).toBe(0);
  }, 60_000);

  it("leaves ports, counters, impairments, links and routes as they were", async () => {
    const here = await world();
    const { tapir: router } = here;
    router.mustTapir("impair", "c2", "--loss", "100%");
    router.mustTapir("route", "add", "198.51.100.0/24", "via", Address.SERVER);
    expect(ping(here.c1, Address.SERVER)).toBe(true);
    const portsBefore = JSON.parse(router.mustTapir("show", "ports", "-j")) as Record<string, unknown>[];
    kill(here);
    await router.until(/works again/);
    const ports = JSON.parse(router.mustTapir("show", "ports", "-j")) as Record<string, unknown>[];
    expect(ports.map(({ name, state }) => [name, state])).toEqual(portsBefore.map(({ name, state }) => [name, state]));
    for (const [index, { rxFrames }] of ports.entries()) {
      expect(rxFrames).toBeGreaterThanOrEqual(portsBefore[index].rxFrames as number);
    }
    expect(tapir(["route", "get", "198.51.100.9", "--socket", router.socket]).stdout).toContain(
      `via ${Address.SERVER}`,
    );
    expect([ping(here.c1, Address.SERVER), ping(here.c2, Address.SERVER)]).toEqual([true, false]);
  }, 60_000);
});
