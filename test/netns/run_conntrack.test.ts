/**
 * The flow table beside the kernel's: the same packets through Tapir and through the kernel's bridge and NAT, listed by
 * `tapir conntrack -L` and by conntrack(8). The lines must be the same but for time left and ICMP identifiers.
 */
import { describe, expect, it } from "vitest";
import { EngineState, native, PortCounter, PortKind } from "../../src/io/native.ts";
import { Arena, SLOT_BYTES } from "../../src/packet/arena.ts";
import { ethernet, ipv4 } from "../support/frames.ts";
import { exec, must, netnsPath, ping, requireSystem, spawnIn } from "../support/netns.ts";
import { Address, kernelWorld, tapirWorld, type World } from "./worlds.ts";

const canRun = requireSystem(["ping", "iptables", "conntrack"], "conntrack(8) beside tapir conntrack");

/** Sends frames from a device as they are. */
function send(netns: string, device: string, frames: readonly Uint8Array[]): void {
  const state = new Int32Array(EngineState.WORDS);
  const count = frames.length;
  const free = state.subarray(EngineState.FREE_COUNT, EngineState.FREE_COUNT + 1);
  const arena = new Arena(native().allocateMemory(count * SLOT_BYTES), count, free);
  const transmitSlot = Int32Array.from(frames, (_, slot) => slot);
  frames.forEach((bytes, slot) => {
    arena.bytes.set(bytes, arena.frames[slot].at);
    arena.slotLength[slot] = bytes.length;
  });
  const engine = native().createEngine({
    arena: arena.buffer,
    slotBytes: SLOT_BYTES,
    slotCount: count,
    slotLength: arena.slotLength,
    freeSlots: arena.freeSlots,
    receivedSlot: new Int32Array(count),
    receivedPort: new Int32Array(count),
    transmitSlot,
    transmitPort: new Int32Array(count),
    state,
    portErrors: new Int32Array(1),
    portCounters: new Float64Array(PortCounter.COUNT),
  });
  const { fd } = native().openPacketSocket({ device, netns: netnsPath(netns) });
  try {
    engine.addPort(0, fd, PortKind.PACKET);
    expect(engine.transmit(count)).toBe(count);
  } finally {
    engine.close();
    native().closeDescriptor(fd);
  }
}

/** Protocols without states of their own: GRE, IP in IP, OSPF. */
const OTHERS = [47, 4, 89];

function macOf(netns: string, command: string[]): string {
  const found = /lladdr (\S+)|link\/ether (\S+)/.exec(must(netns, "ip", command));
  if (found === null) throw new Error(`no hardware address: ${command.join(" ")}`);
  return found[1] ?? found[2];
}

/** An established connection from c1 to the outside host, kept open by two processes until the test ends. */
async function connection(world: World): Promise<void> {
  const run = (netns: string, script: string) =>
    spawnIn(netns, process.execPath, ["-e", `const net = require("net"); ${script}`]);
  const server = `net.createServer(() => {}).listen(8080, "${Address.SERVER}", () => console.log("listening"))`;
  await run(world.wan, server).until(/listening/);
  const options = { host: Address.SERVER, port: 8080, localAddress: Address.C1, localPort: 40000 };
  const client = `net.connect(${JSON.stringify(options)}, () => console.log("connected"))`;
  await run(world.c1, client).until(/connected/);
}

async function talk(world: World): Promise<void> {
  expect(ping(world.c1, Address.SERVER)).toBe(true);
  const datagram = (port: number) =>
    must(world.c1, process.execPath, [
      "-e",
      `require("dgram").createSocket("udp4").bind(4000, function () {
         this.send("x", ${port}, "${Address.SERVER}", () => this.close()) })`,
    ]);
  // Nobody listens there, and the ICMP error that says so is no reply.
  datagram(9);
  await connection(world);
  const link = [
    macOf(world.c1, ["neigh", "show", Address.GATEWAY]),
    macOf(world.c1, ["link", "show", "dev", "eth0"]),
  ] as const;
  send(
    world.c1,
    "eth0",
    OTHERS.map((protocol) =>
      ethernet(
        link[0],
        link[1],
        0x0800,
        ipv4({ source: Address.C1, destination: Address.SERVER }, protocol, new Uint8Array(24)),
      ),
    ),
  );
}

/** Lines that two tables have in common: without time left, ICMP identifiers and counts that TCP's timing decides. */
function comparable(listing: string): string[] {
  return listing
    .trim()
    .split("\n")
    .map((line) => {
      const timeless = line.replace(/^(\S+ +\d+) \d+ /, "$1 TIME ").replace(/ id=\d+/g, " id=ID");
      return line.startsWith("tcp") ? timeless.replace(/(packets|bytes)=\d+/g, "$1=N") : timeless;
    })
    .sort();
}

describe.skipIf(!canRun)("tapir conntrack -L", () => {
  it("prints what conntrack -L prints of the same packets", async () => {
    const theirs = await kernelWorld();
    must(theirs.router, "sh", ["-c", "echo 1 > /proc/sys/net/netfilter/nf_conntrack_acct"]);
    // What was tracked before counting was on has no counts.
    must(theirs.router, "conntrack", ["-F"]);
    await talk(theirs);
    // The kernel's router talks for itself too (IGMP): only what comes from c1 is asked for.
    const expected = comparable(must(theirs.router, "conntrack", ["-L", "-s", Address.C1]));

    const ours = await tapirWorld();
    await talk(ours);
    const router = ours.tapir as NonNullable<typeof ours.tapir>;
    const listed = comparable(router.mustTapir("conntrack", "-L", "-s", Address.C1));

    expect(expected.map((line) => line.split(" ")[0])).toEqual(["gre", "icmp", "tcp", "udp", "unknown", "unknown"]);
    expect(listed).toEqual(expected);
    for (const filter of [
      ["-p", "tcp"],
      ["-p", "udp"],
      ["-p", "47"],
      ["-d", Address.SERVER],
      ["-s", Address.C2],
    ]) {
      const kernel = exec(theirs.router, "conntrack", ["-L", ...filter]).stdout;
      expect([filter, comparable(router.mustTapir("conntrack", "-L", ...filter))]).toEqual([
        filter,
        comparable(kernel),
      ]);
    }
    expect(router.mustTapir("conntrack", "-C").trim()).toBe(String(listed.length));
  });
});
