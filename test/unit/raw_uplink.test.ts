/** The parts of a raw uplink that need no socket: what is Tapir's, what the kernel is kept from, software offloads. */
import { describe, expect, it } from "vitest";
import type { RawPlan } from "../../src/control/configuration/devices.ts";
import { belongsToRouter, mayLeave } from "../../src/control/uplinks/raw/belongs.ts";
import { guardRules, joined } from "../../src/control/uplinks/raw/guard.ts";
import { describePacket, forEachPacket } from "../../src/packet/super_frame.ts";
import { concat, decodeIpv4, echoReply, echoRequest, icmp, tcp, udp, word } from "../support/frames.ts";

const OWN = "203.0.113.1";
const FAR = "198.51.100.9";
const PLAN: RawPlan = {
  address: word(OWN),
  ports: { first: 40_000, last: 49_999 },
  echoIds: { first: 100, last: 200 },
  published: [{ protocol: 6, first: 8080, last: 8081 }],
};
const inward = { source: FAR, destination: OWN };
const outward = { source: OWN, destination: FAR };

const view = (packet: Uint8Array) => new DataView(packet.buffer, packet.byteOffset, packet.length);
const belongs = (packet: Uint8Array) => belongsToRouter(PLAN, view(packet), 0, packet.length);

describe("what comes for a shared address", () => {
  const error = (quoted: Uint8Array) => icmp(inward, 3, 3, 0, quoted.subarray(0, 28));

  it.each<[string, Uint8Array, boolean]>([
    ["a reserved TCP port", tcp(inward, 80, 40_000, {}), true],
    ["the last reserved UDP port", udp(inward, 53, 49_999), true],
    ["a port above", udp(inward, 53, 50_000), false],
    ["one of the host's own", tcp(inward, 80, 22, {}), false],
    ["a published port", tcp(inward, 999, 8081, {}), true],
    ["that port of the other protocol", udp(inward, 999, 8081), false],
    ["an answer to the router's echo request", echoReply(inward, 150), true],
    ["an answer to the host's", echoReply(inward, 201), false],
    ["an echo request, which the kernel answers", echoRequest(inward, 150), false],
    ["an error about the router's datagram", error(udp(outward, 40_001, 53)), true],
    ["an error about the host's", error(udp(outward, 1001, 53)), false],
    ["an error about the router's echo request", error(echoRequest(outward, 100)), true],
    ["an error about somebody else's", error(udp({ source: "10.0.0.1", destination: FAR }, 40_001, 53)), false],
    ["another address", udp({ source: FAR, destination: "203.0.113.9" }, 53, 40_000), false],
    ["nothing", new Uint8Array(0), false],
    ["a header alone", udp(inward, 53, 40_000).subarray(0, 20), false],
    ["an error that quotes nothing", icmp(inward, 3, 3, 0, new Uint8Array(0)), false],
  ])("%s", (_, packet, expected) => {
    expect(belongs(packet)).toBe(expected);
  });
});

describe("what may leave with a shared address", () => {
  it.each<[string, Uint8Array, boolean]>([
    ["a reserved port", tcp(outward, 40_000, 80, {}), true],
    ["a published one", tcp(outward, 8080, 999, {}), true],
    ["one of the host's own", tcp(outward, 22, 999, {}), false],
    ["an echo request of the router's", echoRequest(outward, 100), true],
    ["one with an identifier of the host's", echoRequest(outward, 99), false],
    ["an error", icmp(outward, 11, 0, 0, new Uint8Array(28)), true],
    ["a container's own address", tcp({ source: "10.55.66.2", destination: FAR }, 22, 999, {}), true],
    ["a later fragment", udp({ ...outward, fragment: 0x0010 }, 22, 999), true],
    ["a part of a header", tcp(outward, 40_000, 80, {}).subarray(0, 24), false],
  ])("%s", (_, packet, expected) => {
    expect(mayLeave(PLAN, view(packet))).toBe(expected);
  });
});

describe("the table that keeps the kernel quiet", () => {
  it("names the reserved and the published ports, in ranges that do not overlap", () => {
    const rules = guardRules(PLAN, 77);
    expect(rules).toContain("tcp sport { 8080-8081, 40000-49999 } tcp flags & rst == rst drop");
    expect(rules).toContain("{ 40000-49999 } drop");
    expect(rules).toMatch(/^add table ip tapir_203_0_113_1\ndelete table/);
    const spans = [
      { first: 40_000, last: 49_999 },
      { first: 45_000, last: 45_000 },
      { first: 50_000, last: 50_000 },
      { first: 80, last: 80 },
    ];
    expect(joined(spans)).toEqual([
      { first: 80, last: 80 },
      { first: 40_000, last: 50_000 },
    ]);
  });
});

const AT = 10;

/** A frame with a vnet header before it. */
function frameOf(
  packet: Uint8Array,
  vnet: Partial<Record<"flags" | "type" | "size" | "start" | "offset", number>> = {},
) {
  const bytes = concat(new Uint8Array(AT + 14), packet);
  const memory = view(bytes);
  memory.setUint8(0, vnet.flags ?? 0);
  memory.setUint8(1, vnet.type ?? 0);
  memory.setUint16(4, vnet.size ?? 0, true);
  memory.setUint16(6, vnet.start ?? 0, true);
  memory.setUint16(8, vnet.offset ?? 0, true);
  return { memory, length: bytes.length - AT };
}

function packetsOf(frame: ReturnType<typeof frameOf>): Uint8Array[] | undefined {
  const packets: Uint8Array[] = [];
  return forEachPacket(frame.memory, AT, frame.length, (packet) => packets.push(Uint8Array.from(packet)))
    ? packets
    : undefined;
}

const content = (bytes: number) => Uint8Array.from({ length: bytes }, (_, i) => (i * 7) & 0xff);

describe("software offloads", () => {
  it("cut TCP into segments whose numbers, flags and checksums are right", () => {
    const whole = tcp({ ...outward, id: 0xffff }, 40_000, 80, {
      sequence: 0xfffffff0,
      flags: "FPA",
      options: new Uint8Array(12).fill(1),
      payload: content(3001),
    });
    const packets = packetsOf(frameOf(whole, { flags: 1, type: 1, size: 1000, start: 34, offset: 16 })) ?? [];
    const decoded = packets.map((packet) => decodeIpv4(packet));
    expect(decoded.map((each) => each.payload?.length)).toEqual([1000, 1000, 1000, 1]);
    expect(decoded.map(({ sequence }) => sequence)).toEqual([0xfffffff0, 0x3d8, 0x7c0, 0xba8]);
    expect(decoded.map(({ tcpFlags }) => tcpFlags)).toEqual(["A", "A", "A", expect.stringMatching(/F.*P/)]);
    expect(decoded.map(({ id }) => id)).toEqual([0xffff, 0, 1, 2]);
    expect(concat(...decoded.map(({ payload }) => payload as Uint8Array))).toEqual(content(3001));
    // The kernel writes the checksum of the IPv4 header.
    expect(decoded.map(({ bad }) => bad.filter((each) => each !== "ipv4"))).toEqual([[], [], [], []]);
  });

  it("cut UDP into datagrams", () => {
    const whole = udp(outward, 40_000, 53, content(2500));
    const packets = packetsOf(frameOf(whole, { flags: 1, type: 5, size: 1200, start: 34, offset: 6 })) ?? [];
    const decoded = packets.map((packet) => decodeIpv4(packet));
    expect(decoded.map((each) => each.payload?.length)).toEqual([1200, 1200, 100]);
    expect(decoded.map(({ bad }) => bad.filter((each) => each !== "ipv4"))).toEqual([[], [], []]);
  });

  it("complete an open checksum, and describe one", () => {
    const right = tcp(inward, 80, 40_000, { payload: content(101) });
    const open = Uint8Array.from(right);
    const frame = frameOf(open);
    // As a kernel hands over what has not left it yet: the pseudo-header's sum alone.
    view(open).setUint16(36, pseudoSum(open));
    new Uint8Array(frame.memory.buffer).set(open, AT + 14);
    describePacket(frame.memory, AT, 1500);
    expect(frame.memory.getUint8(0)).toBe(1);
    expect(packetsOf(frame)).toEqual([right]);
    const complete = frameOf(right);
    describePacket(complete.memory, AT, 1500);
    expect(complete.memory.getUint8(0)).toBe(0);
  });

  it("describe what was merged on its way in as a super-frame that fits the device", () => {
    const merged = frameOf(tcp(inward, 80, 40_000, { payload: content(4000) }));
    describePacket(merged.memory, AT, 1500);
    expect(merged.memory.getUint8(1)).toBe(1);
    const packets = packetsOf(merged) ?? [];
    expect(packets.map(({ length }) => length)).toEqual([1500, 1500, 1120]);
    expect(packets.map((packet) => decodeIpv4(packet).bad.filter((each) => each !== "ipv4"))).toEqual([[], [], []]);
    // A wrong checksum stays wrong: it is dropped further on.
    const bad = tcp(inward, 80, 40_000, { payload: content(4000) });
    bad[60] ^= 1;
    const wrong = frameOf(bad);
    describePacket(wrong.memory, AT, 1500);
    expect(wrong.memory.getUint8(1)).toBe(0);
  });

  it.each<[string, ReturnType<typeof frameOf>]>([
    ["too short for a header", frameOf(new Uint8Array(10))],
    ["longer than its bytes", frameOf(udp(outward, 1, 2, content(50)).subarray(0, 60))],
    ["segments of nothing", frameOf(tcp(outward, 1, 2, { payload: content(50) }), { type: 1, size: 0 })],
    ["an unknown type", frameOf(tcp(outward, 1, 2, {}), { type: 4, size: 100 })],
    ["a checksum beyond its end", frameOf(udp(outward, 1, 2), { flags: 1, start: 34, offset: 60_000 })],
    ["a header longer than the packet", frameOf(tcp(outward, 1, 2, {}).fill(0xff, 32, 33), { type: 1, size: 10 })],
  ])("give up %s", (_, frame) => {
    expect(packetsOf(frame)).toBeUndefined();
  });
});

/** Sum of the pseudo-header, the slow and obvious way. */
function pseudoSum(packet: Uint8Array): number {
  let sum = 6 + packet.length - 20;
  for (let at = 12; at < 20; at += 2) sum += (packet[at] << 8) + packet[at + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}
