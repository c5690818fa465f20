/** Merging on real devices: a burst that waited for the dataplane arrives in the pieces in which it was sent. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../src/io/package_root.ts";
import { ip, must, onCleanup, type Running, requireSystem, spawnIn, TAPIR } from "../support/netns.ts";
import { Address, tapirWorld, type World } from "./worlds.ts";

const PEER = join(packageRoot(), "test/netns/peers/bursts.mjs");
// Their bytes fit into the window that a receiver begins with.
const SEGMENTS = 32;
const canRun = requireSystem(["ethtool"], "merged writes on real devices");

async function peer(netns: string, ...words: (string | number)[]): Promise<Running> {
  const running = spawnIn(netns, process.execPath, [PEER, ...words.map(String)]);
  await running.until(/ready/);
  return running;
}

function dataplaneOf(world: World): number {
  const { pid } = (world.tapir as NonNullable<World["tapir"]>).child;
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim());
}

/** While the dataplane stands still, what `sender` sends piles up; then it comes as bursts. */
async function pileUp(world: World, sender: Running): Promise<void> {
  const pid = dataplaneOf(world);
  onCleanup(() => {
    try {
      process.kill(pid, "SIGCONT");
    } catch {
      // It has ended.
    }
  });
  process.kill(pid, "SIGSTOP");
  sender.child.stdin?.write("go\n");
  await sender.until(/sent/);
  process.kill(pid, "SIGCONT");
}

function framesMerged(world: World): number {
  const socket = world.tapir?.socket as string;
  const shown = must(undefined, process.execPath, [TAPIR, "show", "stats", "-j", "--socket", socket]);
  return (JSON.parse(shown) as { framesMerged: number }).framesMerged;
}

describe.skipIf(!canRun)("merged writes", () => {
  it("datagrams arrive one by one, each as long as it was, in order", async () => {
    const world = await tapirWorld();
    const receiver = await peer(world.wan, "take-datagrams", Address.SERVER, 9000, 300);
    const sender = await peer(world.c1, "datagrams", Address.SERVER, 9000, 300, 700);
    await pileUp(world, sender);
    const [, shown] = await receiver.until(/ready\n(\[.*\])\n/);
    const expected = Array.from({ length: 300 }, (_, i) => [i, i % 10 === 9 ? 700 - (i % 50) : 700, true]);
    expect(JSON.parse(shown)).toEqual(expected);
    expect(framesMerged(world)).toBeGreaterThan(100);
  });

  it("a stream of segments arrives whole, with and without offloads beyond the router", async () => {
    const world = await tapirWorld();
    must(world.c1, "ethtool", ["-K", "eth0", "tso", "off", "gso", "off"]);
    // All segments are sent before one is acknowledged.
    ip(world.c1, `route change default via 10.55.66.1 initcwnd ${2 * SEGMENTS}`);
    await peer(world.wan, "echo", Address.SERVER, 8080);
    for (const offload of ["on", "off"]) {
      const words = ["tx", offload, "tso", offload, "gso", offload];
      must(world.router, "ethtool", ["-K", "up0", ...words]);
      const before = framesMerged(world);
      const sender = await peer(world.c1, "segments", Address.SERVER, 8080, SEGMENTS, 1400);
      await pileUp(world, sender);
      const [, shown] = await sender.until(/sent\n(\[.*\])\n/);
      expect(JSON.parse(shown)).toEqual(Array(SEGMENTS).fill(1400));
      expect(framesMerged(world) - before).toBeGreaterThan(SEGMENTS / 2);
    }
  });

  it("is off with offload.merge", async () => {
    const world = await tapirWorld({ merge: false });
    const receiver = await peer(world.wan, "take-datagrams", Address.SERVER, 9000, 100);
    const sender = await peer(world.c1, "datagrams", Address.SERVER, 9000, 100, 700);
    await pileUp(world, sender);
    await receiver.until(/ready\n(\[.*\])\n/);
    expect(framesMerged(world)).toBe(0);
  });
});
