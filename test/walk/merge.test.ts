/** Merging: what leaves is, once it is cut again, exactly what would have left without. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concat, ethernet, type Ipv4Fields, type TcpFields, tcp, udp } from "../support/frames.ts";
import { C1_MAC, C2_MAC, defaultPlan, GATEWAY_MAC, type Out, Port, TestRouter } from "../support/router.ts";
import { SEEDS } from "../support/seeds.ts";
import { segment } from "../support/segment.ts";

const FROM: Ipv4Fields = { source: "10.55.66.2", destination: "203.0.113.2" };
const fromC1 = (packet: Uint8Array): Uint8Array => ethernet(GATEWAY_MAC, C1_MAC, 0x0800, packet);
const bytes = (length: number, from = 0): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + from) & 0xff);

function router(merge = true, datagrams = merge): TestRouter {
  const test = new TestRouter({ ...defaultPlan(), merging: { segments: merge, datagrams } });
  test.introduce();
  return test;
}

/** A router that knows the flow of `packet` already. */
function knowing(packet: Uint8Array): TestRouter {
  const test = router();
  test.fromC1(packet);
  return test;
}

function sendAll(test: TestRouter, packets: Uint8Array[]): Out[] {
  return test.send(Port.C1, ...packets.map(fromC1));
}

const datagram = (length: number, from = 0, fields: Partial<Ipv4Fields> = {}): Uint8Array =>
  udp({ ...FROM, ...fields }, 4000, 9000, bytes(length, from));

const segmentOf = (at: number, length: number, more: TcpFields = {}, fields: Partial<Ipv4Fields> = {}): Uint8Array =>
  tcp({ ...FROM, ...fields }, 4000, 80, {
    sequence: 1000 + at,
    acknowledgement: 5,
    payload: bytes(length, at),
    ...more,
  });

const established = (): TestRouter => {
  const test = router();
  // Picked up in the middle, in both directions: the windows are open.
  test.fromC1(tcp(FROM, 4000, 80, { sequence: 999, acknowledgement: 5, payload: bytes(1) }));
  test.fromServer(
    tcp({ source: "203.0.113.2", destination: "203.0.113.1" }, 80, 4000, { sequence: 5, acknowledgement: 1000 }),
  );
  return test;
};

describe("datagrams of one flow", () => {
  it("leave as one frame with a segmentation size", () => {
    const test = knowing(datagram(10));
    const out = sendAll(test, [datagram(100, 1), datagram(100, 2), datagram(40, 3)]);
    expect(out).toHaveLength(1);
    expect(out[0].payload).toEqual(concat(bytes(100, 1), bytes(100, 2), bytes(40, 3)));
    expect(out[0].bad).toEqual([]);
    expect(Buffer.from(out[0].vnetHeader).readUInt16LE(4)).toBe(100);
    expect(out[0].vnetHeader[1]).toBe(5);
    expect(segment(out[0]).map((frame) => frame.length)).toEqual([142, 142, 82]);
    expect(test.router.counters.named()).toMatchObject({ framesMerged: 2 });
    expect(test.arena.heldSlots()).toBe(0);
  });

  it("end a frame with a shorter one, and begin the next", () => {
    const test = knowing(datagram(10));
    const out = sendAll(test, [datagram(100), datagram(40), datagram(100), datagram(100), datagram(101)]);
    expect(out.map((each) => each.payload?.length)).toEqual([140, 200, 101]);
  });

  it("are not merged beyond 64, nor beyond the largest packet", () => {
    const test = knowing(datagram(10));
    const vnet = Buffer.from([1, 5, 42, 0, 1, 0, 34, 0, 6, 0]);
    for (const length of [40, 24, 40, 25]) test.io.inject(Port.C1, fromC1(datagram(length)), vnet);
    expect(test.turn().map((each) => each.payload?.length)).toEqual([64, 40, 25]);
    const large = Array.from({ length: 50 }, () => datagram(1400));
    expect(sendAll(test, large).map((each) => each.payload?.length)).toEqual([46 * 1400, 4 * 1400]);
  });

  it.each([
    ["no checksum", () => withoutChecksum(datagram(100))],
    ["another TTL", () => datagram(100, 0, { ttl: 63 })],
    ["another TOS", () => datagram(100, 0, { tos: 3 })],
    ["options", () => datagram(100, 0, { options: Uint8Array.of(1, 1, 1, 1) })],
    ["another DF", () => datagram(100, 0, { fragment: 0 })],
    ["another flow", () => udp(FROM, 4001, 9000, bytes(100))],
    ["no payload", () => datagram(0)],
  ])("are not merged with one that has %s", (_, other) => {
    const test = knowing(datagram(10));
    sendAll(test, [other()]);
    const out = sendAll(test, [datagram(100), other(), datagram(100)]);
    expect(out).toHaveLength(3);
    expect(out.flatMap(segment)).toEqual(out.map(({ bytes: frame }) => frame));
  });

  it("without DF are merged only when their identifications count on", () => {
    const test = knowing(datagram(10));
    const of = (id: number): Uint8Array => datagram(100, 0, { id, fragment: 0 });
    expect(sendAll(test, [of(7), of(8), of(9)])).toHaveLength(1);
    expect(sendAll(test, [of(0xffff), of(0)])).toHaveLength(1);
    expect(sendAll(test, [of(7), of(7)])).toHaveLength(2);
    expect(sendAll(test, [of(7), of(9)])).toHaveLength(2);
  });

  it("stay apart where the kernel could not cut them", () => {
    const test = router(true, false);
    sendAll(test, [datagram(10)]);
    expect(sendAll(test, [datagram(100), datagram(100)])).toHaveLength(2);
  });

  it("stay apart with the switch off", () => {
    const test = router(false);
    sendAll(test, [datagram(10)]);
    expect(sendAll(test, [datagram(100), datagram(100)])).toHaveLength(2);
  });

  it("are merged past frames of other ports, and never past one of their own", () => {
    const test = knowing(datagram(10));
    test.fromC2(udp({ source: "10.55.66.3", destination: "203.0.113.2" }, 4000, 9000, bytes(10)));
    const answer = udp({ source: "203.0.113.2", destination: "203.0.113.1" }, 9000, 4000, bytes(100));
    const other = udp({ source: "10.55.66.3", destination: "203.0.113.2" }, 4000, 9000, bytes(100));
    test.io.inject(Port.C1, fromC1(datagram(100)));
    test.io.inject(Port.C1, fromC1(datagram(100)));
    test.io.inject(Port.WAN, ethernet("02:00:00:00:02:01", "02:00:00:00:00:99", 0x0800, answer));
    test.io.inject(Port.C1, fromC1(datagram(100)));
    test.io.inject(Port.C2, ethernet(GATEWAY_MAC, C2_MAC, 0x0800, other));
    test.io.inject(Port.C1, fromC1(datagram(100)));
    const out = test.turn();
    expect(out.map(({ port, payload }) => [port, payload?.length])).toEqual([
      [Port.WAN, 300],
      [Port.C1, 100],
      [Port.WAN, 100],
      [Port.WAN, 100],
    ]);
  });
});

describe("segments of one flow", () => {
  it("leave as one frame, with the last one's PSH", () => {
    const test = established();
    const out = sendAll(test, [segmentOf(0, 500), segmentOf(500, 500), segmentOf(1000, 200, { flags: "AP" })]);
    expect(out.map((each) => [each.payload?.length, each.tcpFlags, each.bad])).toEqual([[1200, "PA", []]]);
    expect(segment(out[0]).map((frame) => frame.length)).toEqual([554, 554, 254]);
  });

  it.each<[string, Uint8Array]>([
    ["a gap before it", segmentOf(501, 500)],
    ["been sent already", segmentOf(0, 500)],
    ["another acknowledgement", segmentOf(500, 500, { acknowledgement: 4 })],
    ["another window", segmentOf(500, 500, { window: 1000 })],
    ["options", segmentOf(500, 500, { options: Uint8Array.of(1, 1, 1, 1) })],
    ["CWR", segmentOf(500, 500, { flags: "AC" })],
    ["ECE", segmentOf(500, 500, { flags: "AE" })],
    ["another ECN", segmentOf(500, 500, {}, { tos: 3 })],
    ["URG", segmentOf(500, 500, { flags: "AU" })],
    ["no payload", segmentOf(500, 0)],
    ["more payload", segmentOf(500, 501)],
  ])("are not merged with one that has %s", (_, other) => {
    expect(sendAll(established(), [segmentOf(0, 500), other])).toHaveLength(2);
  });

  it("do not follow one with PSH or FIN", () => {
    const test = established();
    expect(sendAll(test, [segmentOf(0, 500, { flags: "AP" }), segmentOf(500, 500)])).toHaveLength(2);
  });

  it("join super-frames of their size", () => {
    const test = established();
    const vnet = Buffer.from([1, 1, 54, 0, 500 & 0xff, 500 >> 8, 34, 0, 16, 0]);
    const partial = (packet: Uint8Array): Uint8Array => withPartialChecksum(packet);
    test.io.inject(Port.C1, fromC1(partial(segmentOf(0, 1000))), vnet);
    test.io.inject(Port.C1, fromC1(partial(segmentOf(1000, 1500))), vnet);
    test.io.inject(Port.C1, fromC1(segmentOf(2500, 300)));
    const out = test.turn();
    expect(out.map((each) => [each.payload?.length, each.bad])).toEqual([[2800, []]]);
    expect(segment(out[0]).map((frame) => frame.length)).toEqual([554, 554, 554, 554, 554, 354]);
  });
});

function withoutChecksum(packet: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(packet);
  copy.fill(0, 26, 28);
  return copy;
}

/** The checksum field as a sender with offloads leaves it. */
function withPartialChecksum(packet: Uint8Array): Uint8Array {
  const copy = Buffer.from(packet);
  let sum = copy[9] + copy.length - 20;
  for (let at = 12; at < 20; at += 2) sum += copy.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  copy.writeUInt16BE(sum, 36);
  return copy;
}

interface Step {
  flow: number;
  isTcp: boolean;
  length: number;
  tos: number;
  ttl: number;
  /** How far the identification counts on, and how far the sequence number jumps. */
  id: number;
  skip: number;
  fragment: number;
  flags: string;
  checksum: boolean;
}

const ORDINARY = { length: 100, tos: 0, ttl: 64, id: 1, skip: 0, flags: "A", checksum: true };

/** Nearly every packet is ordinary; the others differ in one thing. */
const step = fc.oneof(
  { weight: 5, arbitrary: fc.constant({}) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Partial<Step>>(
      { length: 0 },
      { length: 1 },
      { length: 1400 },
      { tos: 2 },
      { ttl: 63 },
      { id: 0 },
      { id: 5 },
      { skip: 3 },
      { skip: -100 },
      { flags: "AP" },
      { flags: "AC" },
      { flags: "AF" },
      { checksum: false },
    ),
  },
);

/** Runs of one flow. */
const burst = fc
  .array(
    fc.record({
      flow: fc.constantFrom(4000, 4001),
      isTcp: fc.boolean(),
      fragment: fc.constantFrom(0x4000, 0x4000, 0),
      steps: fc.array(step, { minLength: 1, maxLength: 15 }),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((runs) => runs.flatMap(({ steps, ...run }) => steps.map((each): Step => ({ ...ORDINARY, ...run, ...each }))));

function packetsOf(steps: Step[]): Uint8Array[] {
  const sequences = new Map<number, number>();
  let id = 0;
  return steps.map(({ flow, isTcp, length, tos, ttl, id: idStep, fragment, flags, skip, checksum }, index) => {
    id = (id + idStep) & 0xffff;
    const fields = { ...FROM, tos, ttl, id, fragment };
    if (!isTcp) {
      const packet = udp(fields, flow, 9000, bytes(length, index));
      return checksum ? packet : withoutChecksum(packet);
    }
    const sequence = (sequences.get(flow) ?? 1000) + skip;
    sequences.set(flow, sequence + length);
    return tcp(fields, flow, 80, { sequence, acknowledgement: 5, flags, payload: bytes(length, index) });
  });
}

/** With DF the identification means nothing (RFC 6864 4.1): it may count on. */
function withoutAtomicId(frame: Uint8Array): string {
  const copy = Buffer.from(frame);
  if ((copy[20] & 0x40) !== 0) {
    copy.fill(0, 18, 20);
    copy.fill(0, 24, 26);
  }
  return copy.toString("hex");
}

describe("a random burst", () => {
  it.each(SEEDS)("comes out, cut again, as without merging (seed %i)", (seed) => {
    let merged = 0;
    fc.assert(
      fc.property(burst, (steps) => {
        const packets = packetsOf(steps);
        const [plain, merging] = [router(false), router(true)].map((test) => {
          // Once to make the flows, then as one burst.
          for (const flow of [4000, 4001]) {
            test.fromC1(udp(FROM, flow, 9000, bytes(1)));
            test.fromC1(tcp(FROM, flow, 80, { sequence: 1000, acknowledgement: 5 }));
          }
          const out = sendAll(test, packets);
          expect(test.arena.heldSlots()).toBe(0);
          merged += test.router.counters.named().framesMerged;
          return out.flatMap(segment).map(withoutAtomicId);
        });
        expect(merging).toEqual(plain);
      }),
      { seed, numRuns: 150 },
    );
    // The bursts are such as can be merged.
    expect(merged).toBeGreaterThan(500);
  });
});
