import { describe, expect, it } from "vitest";
import { concat, echoRequest, ipv4, udp } from "../support/frames.ts";
import { defaultPlan, type Out, Port, TestRouter } from "../support/router.ts";

const C1 = { source: "10.55.66.2", destination: "203.0.113.2" };
const BACK = { source: "203.0.113.2", destination: "203.0.113.1" };
const payload = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => (index * 7) & 0xff);

/** Cuts a whole packet into fragments of at most `size` payload bytes each (a multiple of 8). */
function cut(packet: Uint8Array, size: number, id: number): Uint8Array[] {
  const body = packet.slice(20);
  const pieces: Uint8Array[] = [];
  const dotted = (at: number): string => [...packet.slice(at, at + 4)].join(".");
  for (let at = 0; at < body.length; at += size) {
    const more = at + size < body.length ? 0x2000 : 0;
    const fields = { source: dotted(12), destination: dotted(16), id, ttl: packet[8], fragment: more | (at >> 3) };
    pieces.push(ipv4(fields, packet[9], body.slice(at, at + size)));
  }
  return pieces;
}

/** Puts the fragments that came out together, and says how long the largest was. */
function join(frames: Out[]): { body: Uint8Array; largest: number; ids: Set<number> } {
  const sorted = [...frames].sort((a, b) => ((a.fragment as number) & 0x1fff) - ((b.fragment as number) & 0x1fff));
  return {
    body: concat(...sorted.map((frame) => frame.bytes.slice(34))),
    largest: Math.max(...frames.map((frame) => frame.totalLength as number)),
    ids: new Set(frames.map((frame) => frame.id as number)),
  };
}

function router(): TestRouter {
  const made = new TestRouter();
  made.introduce();
  return made;
}

const whole = (fields = C1): Uint8Array => udp({ ...fields, fragment: 0 }, 4000, 53, payload(3000));

describe("fragments", () => {
  it.each([
    ["in order", (pieces: Uint8Array[]) => pieces],
    ["backwards", (pieces: Uint8Array[]) => [...pieces].reverse()],
    ["with the first one last", (pieces: Uint8Array[]) => [...pieces.slice(1), pieces[0]]],
  ])("are tracked and translated as one datagram, %s", (_, arrange) => {
    const r = router();
    const out = arrange(cut(whole(), 1024, 77)).flatMap((piece) => r.fromC1(piece));
    expect(out.length).toBe(3);
    expect(
      out.every((frame) => frame.port === Port.WAN && frame.source === "203.0.113.1" && frame.bad.length === 0),
    ).toBe(true);
    const { body, largest, ids } = join(out);
    // No larger than they came, one identification, and the UDP checksum is right over the whole.
    expect(largest).toBeLessThanOrEqual(1044);
    expect(ids.size).toBe(1);
    const again = ipv4({ source: "203.0.113.1", destination: "203.0.113.2", ttl: 63 }, 17, body);
    expect(again.slice(20, 28)).toEqual(
      udp({ source: "203.0.113.1", destination: "203.0.113.2" }, 4000, 53, payload(3000)).slice(20, 28),
    );
    expect(body.slice(8)).toEqual(payload(3000));
    expect(r.arena.heldSlots()).toBe(0);
  });

  it("of an answer find their way back", () => {
    const r = router();
    r.fromC1(udp(C1, 4000, 53));
    const out = cut(udp({ ...BACK, fragment: 0 }, 53, 4000, payload(2000)), 1400, 5).flatMap((piece) =>
      r.fromServer(piece),
    );
    expect(out.map((frame) => [frame.port, frame.destination])).toEqual([
      [Port.C1, "10.55.66.2"],
      [Port.C1, "10.55.66.2"],
    ]);
    expect(join(out).body.slice(8)).toEqual(payload(2000));
  });

  it("of two hosts with the same identification do not mix", () => {
    const r = router();
    const first = cut(whole(), 1024, 9);
    const second = cut(whole({ ...C1, source: "10.55.66.3" }), 1024, 9);
    const out = [0, 1, 2].flatMap((index) => [...r.fromC1(first[index]), ...r.fromC2(second[index])]);
    expect(out.length).toBe(6);
    const byId = new Map<number, Out[]>();
    for (const frame of out) byId.set(frame.id as number, [...(byId.get(frame.id as number) ?? []), frame]);
    expect([...byId.values()].map((frames) => frames.length)).toEqual([3, 3]);
  });

  it("that overlap discard their datagram, duplicates do not", () => {
    const r = router();
    const pieces = cut(whole(), 1024, 7);
    r.fromC1(pieces[0]);
    r.fromC1(pieces[0]);
    expect(r.router.fragments.size).toBe(1);
    r.fromC1(ipv4({ ...C1, id: 7, fragment: 0x2000 | 1 }, 17, payload(1024)));
    expect(r.router.fragments.size).toBe(0);
    expect(r.stopped("fragment")).toBe(2);
    expect(r.arena.heldSlots()).toBe(0);
  });

  it("are given up after thirty seconds", () => {
    const r = router();
    r.fromC1(cut(whole(), 1024, 7)[0]);
    r.advance(29_000);
    expect(r.router.fragments.size).toBe(1);
    r.advance(2_000);
    expect(r.router.fragments.size).toBe(0);
    expect(r.router.counters.named().reassembliesExpired).toBe(1);
    expect(r.arena.heldSlots()).toBe(0);
  });

  it("of one source or one port never take more than their share of the room", () => {
    const r = router();
    for (let id = 0; id < 100; id++) r.fromC1(cut(whole(), 1024, id)[0]);
    const { capacity } = r.router.fragments;
    expect(r.router.fragments.size).toBe(capacity / 16);
    for (let host = 10; host < 110; host++) r.fromC1(cut(whole({ ...C1, source: `10.55.66.${host}` }), 1024, 1)[0]);
    expect(r.router.fragments.size).toBe(capacity / 4);
    expect(r.router.counters.named().reassembliesDisplaced).toBe(200 - capacity / 4);
    // Another port still has room.
    const out = cut(whole({ ...C1, source: "10.55.66.3" }), 1024, 1).flatMap((piece) => r.fromC2(piece));
    expect(out.length).toBe(3);
  });

  it("beyond the largest datagram, empty or off their block are refused", () => {
    const r = router();
    r.fromC1(ipv4({ ...C1, id: 1, fragment: 0x1fff }, 17, payload(16)));
    r.fromC1(ipv4({ ...C1, id: 2, fragment: 0x2000 | 4 }, 17, payload(13)));
    r.fromC1(ipv4({ ...C1, id: 3, fragment: 0x2000 | 4 }, 17, payload(0)));
    expect(r.stopped("fragment")).toBe(3);
    expect(r.router.fragments.size).toBe(0);
  });

  it("reach the gateway's echo, which answers in fragments", () => {
    const r = router();
    const request = echoRequest({ ...C1, destination: "10.55.66.1", fragment: 0 }, 7, 1, payload(4000));
    const out = cut(request, 1480, 3).flatMap((piece) => r.fromC1(piece));
    expect(out.length).toBe(3);
    expect(join(out).body.slice(8)).toEqual(payload(4000));
  });
});

describe("an egress with a smaller MTU", () => {
  function narrow(): TestRouter {
    const plan = defaultPlan();
    plan.interfaces[1].mtu = 1000;
    const made = new TestRouter(plan);
    made.introduce();
    return made;
  }

  it("gets fragments where DF is clear", () => {
    const r = narrow();
    const out = r.fromC1(udp({ ...C1, fragment: 0 }, 4000, 53, payload(1400)));
    expect(out.map((frame) => frame.totalLength)).toEqual([996, 452]);
    expect(join(out).body.slice(8)).toEqual(payload(1400));
  });

  it("is reported where DF is set, with its MTU", () => {
    const r = narrow();
    const [error] = r.fromC1(udp(C1, 4000, 53, payload(1400)));
    expect(error).toMatchObject({
      port: Port.C1,
      icmpType: 3,
      icmpCode: 4,
      icmpRest: 1000,
      source: "10.55.66.1",
      bad: [],
    });
  });
});
