import { describe, expect, it } from "vitest";
import { arp, ethernet, ipv4, udp } from "../support/frames.ts";
import { ADDRESSES, between, Lan, MACS, PORTS, planOfThree, portsOf } from "../support/lan.ts";
import {
  BROADCAST,
  C1_MAC,
  GATEWAY_MAC,
  type Out,
  Port,
  SERVER_MAC,
  TestRouter,
  UPLINK_MAC,
} from "../support/router.ts";
import type { ShortPlan } from "../support/rules.ts";

const BURST = 64;
const SERVER = "203.0.113.2";
const ZERO_MAC = "00:00:00:00:00:00";
const forgedMac = (index: number) => `06:00:00:00:${hex(index >> 8)}:${hex(index & 0xff)}`;
const hex = (value: number) => value.toString(16).padStart(2, "0");

/** Lets frames arrive by a port, in bursts; returns what came out. */
function flood(r: TestRouter, port: number, frames: Uint8Array[]): Out[] {
  const out: Out[] = [];
  for (let at = 0; at < frames.length; at += BURST) out.push(...r.send(port, ...frames.slice(at, at + BURST)));
  return out;
}

/** A second network, dmz, of 65 534 addresses behind port 4, where d1 is. */
function planWithWideNetwork(): ShortPlan {
  const plan = planOfThree();
  const [lab] = plan.interfaces;
  plan.interfaces.push({
    ...lab,
    index: 2,
    name: "dmz",
    address: 0x0a380001,
    prefixLength: 16,
    mac: "02:00:00:00:03:01",
  });
  plan.ports.push({ index: 4, name: "d1", interface: 2 });
  return plan;
}
const D1_MAC = "02:00:00:00:00:0d";
const far = (index: number) => `10.56.${1 + (index >> 7)}.${1 + (index & 127)}`;

describe("a flood of forged hardware addresses", () => {
  const macs = Array.from({ length: 1000 }, (_, index) =>
    ethernet(BROADCAST, forgedMac(index), 0x88b5, new Uint8Array(46)),
  );

  it("leaves room for stations behind other ports", () => {
    const r = new Lan(planOfThree(), { macs: 258 });
    flood(r, PORTS.c1, macs);
    expect(r.router.macs.size).toBeLessThan(258);
    expect(r.router.counters.named().stationsOverflowed).toBeGreaterThan(700);
    r.announce("c3");
    expect(portsOf(r.pass("c2", "c3", udp(between("c2", "c3"), 1, 2)))).toEqual([PORTS.c3]);
  });

  it("is stopped by the guard", () => {
    const plan = planOfThree();
    plan.ports[0] = { ...plan.ports[0], guard: { mac: MACS.c1 } };
    const r = new Lan(plan);
    expect(flood(r, PORTS.c1, macs)).toEqual([]);
    expect(r.router.macs.size).toBe(0);
    expect(r.stopped("mac-spoofed")).toBe(1000);
  });
});

describe("ARP", () => {
  const claims = (sender: string, senderMac: string, target: string) =>
    ethernet(BROADCAST, MACS.c1, 0x0806, arp({ operation: 1, senderMac, sender, targetMac: ZERO_MAC, target }));

  it("from many addresses leaves room for neighbours behind other ports", () => {
    const r = new TestRouter(planWithWideNetwork(), { neighbours: 390 });
    r.introduce();
    const frames = Array.from({ length: 800 }, (_, index) =>
      ethernet(
        BROADCAST,
        D1_MAC,
        0x0806,
        arp({ operation: 1, senderMac: D1_MAC, sender: far(index), targetMac: ZERO_MAC, target: "10.56.0.1" }),
      ),
    );
    flood(r, 4, frames);
    expect(r.router.neighbours.size).toBeLessThan(390);
    // c3 has never been heard of.
    r.arp(PORTS.c3, { operation: 1, senderMac: MACS.c3, sender: ADDRESSES.c3, target: "10.55.66.1" });
    const [sent] = r.send(
      PORTS.c3,
      ethernet(GATEWAY_MAC, MACS.c3, 0x0800, udp({ source: ADDRESSES.c3, destination: SERVER }, 5, 53)),
    );
    expect(sent.port).toBe(Port.WAN);
    expect(portsOf(r.fromServer(udp({ source: SERVER, destination: "203.0.113.1" }, 53, 5)))).toEqual([PORTS.c3]);
  });

  it("in a neighbour's name does not turn his packets, where ports have guards", () => {
    const plan = planOfThree();
    plan.ports = plan.ports.map((port) =>
      port.index === PORTS.c1 ? { ...port, guard: { mac: MACS.c1, address: 0x0a374202 } } : port,
    );
    const r = new Lan(plan);
    r.introduce();
    r.fromC2(udp({ source: ADDRESSES.c2, destination: SERVER }, 5, 53));
    expect(r.send(PORTS.c1, claims(ADDRESSES.c2, MACS.c1, "10.55.66.1"))).toEqual([]);
    const [answer] = r.fromServer(udp({ source: SERVER, destination: "203.0.113.1" }, 53, 5));
    expect(answer).toMatchObject({ port: PORTS.c2, destinationMac: MACS.c2 });
    expect(r.stopped("arp-spoofed")).toBe(1);
  });

  it("in the gateway's name reaches nobody, with or without guards", () => {
    const r = new Lan(planOfThree()).meet();
    expect(r.send(PORTS.c1, claims("10.55.66.1", MACS.c1, ADDRESSES.c2))).toEqual([]);
    expect(r.stopped("arp-spoofed")).toBe(1);
  });
});

describe("a scan of addresses that nobody has", () => {
  it("leaves others room to ask for neighbours, and to wait for them", () => {
    const r = new TestRouter(planWithWideNetwork(), { neighbours: 1040, flows: 4096 }, 1, 1040);
    r.introduce();
    const probe = (index: number, copy: number) =>
      ethernet(GATEWAY_MAC, C1_MAC, 0x0800, udp({ source: ADDRESSES.c1, destination: far(index) }, 4000 + copy, 9));
    // More addresses than the table may have unresolved, and more packets than may wait.
    for (let index = 0; index < 700; index++) r.send(Port.C1, probe(index, 0), probe(index, 1));
    expect(r.router.neighbours.parkedTotal).toBeLessThan(520);
    expect(r.arena.heldSlots()).toBeLessThan(520);
    expect(r.stopped("neighbour-table-full")).toBeGreaterThan(0);
    const asked = r.fromC2(udp({ source: ADDRESSES.c2, destination: "10.56.0.2" }, 5000, 9));
    expect(asked.filter(({ arp: question }) => question?.target === "10.56.0.2")).toHaveLength(1);
    const out = r.arp(
      4,
      { operation: 2, senderMac: D1_MAC, sender: "10.56.0.2", target: "10.56.0.1" },
      "02:00:00:00:03:01",
    );
    expect(out.filter(({ protocol, port }) => protocol === 17 && port === 4)).toHaveLength(1);
  });

  it("costs nothing once it is over", () => {
    const r = new TestRouter(planWithWideNetwork(), { neighbours: 256 });
    r.introduce();
    for (let index = 0; index < 200; index++) {
      r.fromC1(udp({ source: ADDRESSES.c1, destination: far(index) }, 4000, 9));
    }
    r.advance(70_000);
    expect(r.arena.heldSlots()).toBe(0);
    expect(r.router.neighbours.parkedTotal).toBe(0);
    expect(r.router.neighbours.size).toBeLessThan(10);
    expect(r.router.counters.named().icmpErrorsSent).toBeLessThanOrEqual(10);
  });
});

describe("a flood of fragments", () => {
  /** A datagram in two fragments. */
  function pieces(source: string, destination: string, id: number): Uint8Array[] {
    const body = udp({ source, destination }, 53, 53, new Uint8Array(1592)).slice(20);
    return [
      ipv4({ source, destination, id, fragment: 0x2000 }, 17, body.slice(0, 800)),
      ipv4({ source, destination, id, fragment: 100 }, 17, body.slice(800)),
    ];
  }
  const fromOutside = (packet: Uint8Array) => ethernet(UPLINK_MAC, SERVER_MAC, 0x0800, packet);

  it("that are never whole, from many sources, lets a server's fragments through the same uplink", () => {
    const r = new TestRouter();
    r.introduce();
    r.fromC2(udp({ source: ADDRESSES.c2, destination: SERVER }, 53, 53));
    let whole = 0;
    for (let round = 0; round < 50; round++) {
      const forged = (index: number) => `198.51.100.${1 + ((round * 3 + index) % 250)}`;
      const first = (index: number) => fromOutside(pieces(forged(index), "203.0.113.1", round)[0]);
      const [one, two] = pieces(SERVER, "203.0.113.1", round).map(fromOutside);
      const out = r.send(Port.WAN, first(0), one, first(1), two, first(2));
      whole += out.filter(({ port }) => port === Port.C2).length / 2;
    }
    expect(whole).toBe(50);
    expect(r.router.fragments.size).toBeLessThanOrEqual(r.router.fragments.capacity / 4);
    expect(r.arena.heldSlots()).toBeLessThanOrEqual(r.router.fragments.capacity / 4);
    expect(r.router.counters.named().reassembliesDisplaced).toBeGreaterThan(100);
  });

  it("from one source does not end what other sources have begun", () => {
    const r = new TestRouter();
    r.introduce();
    r.fromC2(udp({ source: ADDRESSES.c2, destination: SERVER }, 53, 53));
    const [one, two] = pieces(SERVER, "203.0.113.1", 7).map(fromOutside);
    r.send(Port.WAN, one);
    for (let id = 0; id < 200; id++) r.send(Port.WAN, fromOutside(pieces("198.51.100.9", "203.0.113.1", id)[0]));
    expect(r.send(Port.WAN, two).filter(({ port }) => port === Port.C2)).toHaveLength(2);
  });

  it("that overlap holds nothing, and lets no byte of them out", () => {
    const r = new TestRouter();
    r.introduce();
    const out: Out[] = [];
    for (let id = 0; id < 100; id++) {
      const fields = { source: ADDRESSES.c1, destination: SERVER, id };
      const [first] = pieces(ADDRESSES.c1, SERVER, id);
      // The last one begins inside the first (RFC 1858 4).
      const overlapping = ipv4({ ...fields, fragment: 2 }, 17, new Uint8Array(1600 - 16));
      out.push(...r.fromC1(first), ...r.fromC1(overlapping));
    }
    expect(out).toEqual([]);
    expect(r.router.fragments.overlapped).toBe(100);
    expect(r.arena.heldSlots()).toBe(0);
  });
});
