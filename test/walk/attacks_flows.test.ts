import { describe, expect, it } from "vitest";
import { echoRequest, ethernet, tcp, udp, word } from "../support/frames.ts";
import { C1_MAC, defaultPlan, GATEWAY_MAC, type Out, Port, TestRouter } from "../support/router.ts";

const SERVER = "203.0.113.2";
const C1 = { source: "10.55.66.2", destination: SERVER };
const C2 = { source: "10.55.66.3", destination: SERVER };
const BURST = 64;

function router(flows = 1024, plan = defaultPlan()): TestRouter {
  const r = new TestRouter(plan, { flows });
  r.introduce();
  return r;
}

/** Lets c1 send packets, in bursts; returns how many came out. */
function flood(r: TestRouter, packets: Uint8Array[]): number {
  let out = 0;
  for (let at = 0; at < packets.length; at += BURST) {
    const frames = packets.slice(at, at + BURST).map((packet) => ethernet(GATEWAY_MAC, C1_MAC, 0x0800, packet));
    out += r.send(Port.C1, ...frames).length;
  }
  return out;
}

const datagrams = (count: number, destinationPort = 53) =>
  Array.from({ length: count }, (_, index) => udp(C1, 1024 + index, destinationPort));
const syns = (count: number) =>
  Array.from({ length: count }, (_, index) => tcp(C1, 1024 + index, 80, { flags: "S", sequence: index }));

/** The server's answer to a datagram that came out of the uplink. */
const answer = (sent: Out) =>
  udp({ source: SERVER, destination: sent.source as string }, 53, sent.sourcePort as number);

describe("a flood of new flows", () => {
  for (const [name, packets] of [
    ["datagrams", datagrams],
    ["SYNs", syns],
  ] as const) {
    it(`of ${name} ends no flow of another container`, () => {
      const r = router();
      const own = Array.from({ length: 50 }, (_, index) => r.fromC2(udp(C2, 5000 + index, 53))[0]);
      flood(r, packets(4000));
      expect(own.flatMap((sent) => r.fromServer(answer(sent))).filter(({ port }) => port === Port.C2)).toHaveLength(50);
      expect(r.router.counters.named().flowsReplaced).toBeGreaterThan(2000);
      expect(r.router.flows.count).toBeLessThanOrEqual(1024);
    });
  }

  it("leaves room for a container that comes later", () => {
    const r = router();
    flood(r, syns(2000));
    let answered = 0;
    for (let index = 0; index < 40; index++) {
      flood(r, datagrams(20, 1000 + index));
      const [sent] = r.fromC2(udp(C2, 5000 + index, 53));
      flood(r, datagrams(20, 2000 + index));
      if (sent !== undefined) answered += r.fromServer(answer(sent)).length;
    }
    expect(answered).toBe(40);
  });

  it("that a helper outside answers, so that no flow may be ended early, stops at the port's share", () => {
    const r = router(258);
    for (let index = 0; index < 257; index++) {
      r.fromServer(answer(r.fromC1(udp(C1, 2000 + index, 53))[0]));
    }
    r.advance(2100);
    // All that c1 holds is assured by this.
    for (let index = 0; index < 257; index++) r.fromC1(udp(C1, 2000 + index, 53));
    expect(flood(r, datagrams(10, 99))).toBe(0);
    expect(r.stopped("flow-share")).toBe(10);
    expect(r.fromC2(udp(C2, 5000, 53))).toHaveLength(1);
  });

  it("gives a port that is alone all but a little of the table", () => {
    const r = router(1290);
    flood(r, datagrams(2000));
    expect(r.router.flows.count).toBe(1281);
  });

  it("from outside to a published port leaves the containers' own flows alone", () => {
    const plan = defaultPlan();
    plan.publish = [{ protocol: 6, interface: 1, ports: { first: 80, last: 80 }, to: word(C2.source) }];
    const r = router(1024, plan);
    const own = Array.from({ length: 50 }, (_, index) => r.fromC2(udp(C2, 5000 + index, 53))[0]);
    for (let index = 0; index < 3000; index++) {
      const from = { source: `198.51.100.${1 + (index % 200)}`, destination: "203.0.113.1" };
      r.fromServer(tcp(from, 1024 + index, 80, { flags: "S" }));
    }
    expect(own.flatMap((sent) => r.fromServer(answer(sent))).filter(({ port }) => port === Port.C2)).toHaveLength(50);
  });
});

describe("one container that takes all ports of the NAT", () => {
  it("has to give some of them to another one, but not those of flows that are assured", () => {
    const r = router(2048);
    const packets = Array.from({ length: 511 }, (_, index) => udp(C1, 1 + index, 53));
    expect(flood(r, packets)).toBe(511);
    const own = [7, 8, 9].map((port) => r.fromC2(udp(C2, port, 53))[0]);
    expect(own.flatMap((sent) => r.fromServer(answer(sent)))).toHaveLength(3);
    expect(r.router.sourceNat.takenOver).toBe(3);
    for (let ident = 1; ident < 512; ident++) {
      r.fromServer(udp({ source: SERVER, destination: "203.0.113.1" }, 53, ident));
    }
    r.advance(2100);
    flood(r, packets);
    const before = r.stopped("nat-ports-exhausted");
    expect(r.fromC2(udp(C2, 300, 53))).toEqual([]);
    expect(r.stopped("nat-ports-exhausted")).toBe(before + 1);
  });

  it("keeps them in profile bcp, where flowsPerHost is the limit", () => {
    const plan = defaultPlan();
    plan.conntrack = { ...plan.conntrack, profile: "bcp", flowsPerHost: 300 };
    const r = router(2048, plan);
    expect(
      flood(
        r,
        Array.from({ length: 511 }, (_, index) => udp(C1, 1 + index, 53)),
      ),
    ).toBe(300);
    expect(r.fromC2(udp(C2, 400, 53))).toHaveLength(1);
    expect(r.router.sourceNat.takenOver).toBe(0);
  });

  it("of echo identifiers too", () => {
    const plan = defaultPlan();
    plan.sourceNat = [{ ...plan.sourceNat[0], ports: { first: 2000, last: 2099 } }];
    const r = router(1024, plan);
    flood(
      r,
      Array.from({ length: 300 }, (_, index) => echoRequest(C1, 3000 + index)),
    );
    expect(r.stopped("nat-ports-exhausted")).toBe(200);
    expect(r.fromC2(echoRequest(C2, 5))).toHaveLength(1);
  });
});
