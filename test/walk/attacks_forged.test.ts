import { describe, expect, it } from "vitest";
import { FlowTable } from "../../src/conntrack/flow_table.ts";
import { ethernet, icmp, tcp, udp, word } from "../support/frames.ts";
import { ADDRESSES, MACS } from "../support/lan.ts";
import { C1_MAC, defaultPlan, GATEWAY_MAC, type Out, Port, seededRandom, TestRouter } from "../support/router.ts";

const SERVER = "203.0.113.2";
const WAN = "203.0.113.1";
const GATEWAY = "10.55.66.1";
const C1 = ADDRESSES.c1;
const C2 = ADDRESSES.c2;

function router(plan = defaultPlan()): TestRouter {
  const r = new TestRouter(plan);
  r.introduce();
  return r;
}

/** c1 talks to the server; what the flow's packets look like on each side. */
function talking(plan = defaultPlan()): TestRouter {
  const r = router(plan);
  r.fromC1(udp({ source: C1, destination: SERVER }, 5000, 53));
  r.fromServer(udp({ source: SERVER, destination: WAN }, 53, 5000));
  return r;
}
const sentOutside = udp({ source: WAN, destination: SERVER }, 5000, 53);
const sentInside = udp({ source: C1, destination: SERVER }, 5000, 53);
const cameInside = udp({ source: SERVER, destination: C1 }, 53, 5000);

const tooBig = (mtu: number) => icmp({ source: SERVER, destination: WAN }, 3, 4, mtu, sentOutside);

describe("a forged ICMP error", () => {
  it("with an MTU below 68 reaches nobody; 68, and the 0 of old routers, do", () => {
    const r = talking();
    for (const mtu of [1, 20, 67]) expect(r.fromServer(tooBig(mtu))).toEqual([]);
    expect(r.stopped("icmp-error-forged")).toBe(3);
    for (const mtu of [0, 68, 1400]) {
      expect(r.fromServer(tooBig(mtu))[0]).toMatchObject({ port: Port.C1, destination: C1, icmpRest: mtu, bad: [] });
    }
  });

  it("of a neighbour's about a flow that is not his reaches neither end, where his port has a guard", () => {
    const plan = defaultPlan();
    plan.ports[Port.C2].guard = { mac: MACS.c2 };
    plan.ports[Port.C1].guard = { mac: MACS.c1 };
    const r = talking(plan);
    // To the server, in c1's name and in his own: "nobody listens there".
    expect(r.fromC2(icmp({ source: C2, destination: SERVER }, 3, 3, 0, cameInside))).toEqual([]);
    expect(r.fromC2(icmp({ source: C1, destination: SERVER }, 3, 3, 0, cameInside))).toEqual([]);
    // To c1, as if from outside.
    expect(r.fromC2(icmp({ source: SERVER, destination: WAN }, 3, 3, 0, sentOutside))).toEqual([]);
    expect(r.stopped("icmp-error-forged")).toBe(3);
    // The one whom it was sent to may say so.
    expect(r.fromC1(icmp({ source: C1, destination: SERVER }, 3, 3, 0, cameInside))[0]).toMatchObject({ source: WAN });
  });

  it("passes without guard, as in Linux", () => {
    const r = talking();
    expect(r.fromC2(icmp({ source: C2, destination: SERVER }, 3, 3, 0, cameInside))[0]).toMatchObject({ source: WAN });
  });

  it("about no flow stops", () => {
    const r = talking();
    const other = udp({ source: WAN, destination: SERVER }, 5001, 53);
    expect(r.fromServer(icmp({ source: SERVER, destination: WAN }, 3, 3, 0, other))).toEqual([]);
    expect(r.stopped("icmp-error-unrelated")).toBe(1);
  });

  it("never ends a flow, nor lengthens its life", () => {
    const r = talking();
    r.advance(20_000);
    r.fromServer(icmp({ source: SERVER, destination: WAN }, 3, 3, 0, sentOutside));
    expect(r.fromServer(udp({ source: SERVER, destination: WAN }, 53, 5000))).toHaveLength(1);
    r.advance(20_000);
    for (let i = 0; i < 5; i++) r.fromServer(icmp({ source: SERVER, destination: WAN }, 3, 3, 0, sentOutside));
    r.advance(105_000);
    expect(r.router.flows.count).toBe(0);
  });

  it("that redirects teaches no container another way", () => {
    const r = talking();
    expect(r.fromServer(icmp({ source: SERVER, destination: WAN }, 5, 1, word("203.0.113.9"), sentOutside))).toEqual(
      [],
    );
    expect(r.fromC2(icmp({ source: C2, destination: GATEWAY }, 5, 1, word(C2), sentInside))).toEqual([]);
    expect(r.stopped("icmp-error-unrelated")).toBe(2);
  });
});

describe("ICMP errors of the router's own", () => {
  const expired = (source: string, port: number) => udp({ source, destination: SERVER, ttl: 1 }, port, 53);

  it("cannot be turned on somebody else: one a second, and six at once", () => {
    const r = router();
    const out: Out[] = [];
    for (let port = 1; port <= 500; port++) out.push(...r.fromC1(expired(C2, port)));
    expect(out.filter(({ icmpType }) => icmpType === 11)).toHaveLength(6);
    expect(r.router.counters.named().icmpErrorsLimited).toBe(494);
    // Another container still gets its own.
    expect(r.fromC1(expired(C1, 1))).toHaveLength(1);
  });

  it("to many made-up addresses are limited over all, and are never longer than what caused them", () => {
    const plan = defaultPlan();
    plan.interfaces[1].mtu = 68;
    const r = router(plan);
    let sent = 0;
    for (let host = 4; host < 254; host++) sent += r.fromC1(expired(`10.55.66.${host}`, 9)).length;
    expect(r.router.counters.named().icmpErrorsSent).toBeLessThanOrEqual(50);
    expect(sent).toBeLessThanOrEqual(250);
    const big = udp({ source: C1, destination: SERVER }, 7, 53, new Uint8Array(1000));
    const [error] = r.fromC1(big);
    expect(error).toMatchObject({ icmpType: 3, icmpCode: 4, icmpRest: 68 });
    expect(error.totalLength).toBeLessThanOrEqual(big.length);
  });
});

describe("a tiny MTU", () => {
  it("of an uplink cuts what may be cut, and holds nothing back", () => {
    const plan = defaultPlan();
    plan.interfaces[1].mtu = 68;
    const r = router(plan);
    const out = r.fromC1(udp({ source: C1, destination: SERVER, fragment: 0 }, 7, 53, new Uint8Array(1400)));
    expect(out).toHaveLength(Math.ceil(1408 / 48));
    expect(out.every(({ totalLength = 0, bad }) => totalLength <= 68 && bad.length === 0)).toBe(true);
    expect(r.arena.heldSlots()).toBe(0);
  });

  it("cannot be used to take all slots for good", () => {
    const plan = defaultPlan();
    plan.interfaces[1].mtu = 68;
    const r = router(plan);
    const frames = Array.from({ length: 20 }, (_, index) =>
      ethernet(
        GATEWAY_MAC,
        C1_MAC,
        0x0800,
        udp({ source: C1, destination: SERVER, fragment: 0 }, 7 + index, 53, new Uint8Array(1400)),
      ),
    );
    r.send(Port.C1, ...frames);
    const { fragmentsSent, fragmentsLost } = r.router.counters.named();
    expect(fragmentsSent + fragmentsLost).toBeGreaterThanOrEqual(20 * Math.ceil(1408 / 48));
    expect(r.arena.heldSlots()).toBe(0);
    expect(r.fromC2(udp({ source: C2, destination: SERVER }, 7, 53))).toHaveLength(1);
  });
});

describe("packets that cannot be true", () => {
  const sources = {
    land: WAN,
    "its gateway's": GATEWAY,
    loopback: "127.0.0.1",
    "this network": "0.1.2.3",
    multicast: "224.0.0.5",
    "limited broadcast": "255.255.255.255",
    "the subnet's broadcast": "10.55.66.255",
    reserved: "240.0.0.1",
  };
  for (const [name, source] of Object.entries(sources)) {
    it(`by their source (${name}) stop, whether for the router or for others`, () => {
      const r = router();
      expect(r.fromC1(tcp({ source, destination: WAN }, 80, 80, { flags: "S" }))).toEqual([]);
      expect(r.fromC1(tcp({ source, destination: SERVER }, 80, 80, { flags: "S" }))).toEqual([]);
      expect(r.fromServer(tcp({ source, destination: WAN }, 80, 80, { flags: "S" }))).toEqual([]);
      expect(r.stopped("martian-source")).toBe(3);
      expect(r.router.flows.count).toBe(0);
    });
  }

  it("with a container's address as source stop on an uplink", () => {
    const r = router();
    expect(r.fromServer(udp({ source: C1, destination: C2 }, 1, 2))).toEqual([]);
    expect(r.stopped("martian-source")).toBe(1);
    expect(r.fromServer(udp({ source: "198.51.100.7", destination: C2 }, 1, 2))).toHaveLength(1);
  });

  it("with a source outside the network stop at a port with a guard", () => {
    const plan = defaultPlan();
    plan.ports[0] = { ...plan.ports[0], guard: { mac: MACS.c1, address: word(C1) } };
    const r = router(plan);
    expect(r.fromC1(udp({ source: "192.0.2.7", destination: SERVER }, 1, 2))).toEqual([]);
    expect(r.stopped("address-spoofed")).toBe(1);
  });

  it("to loopback, the limited broadcast and groups are not forwarded", () => {
    const r = router();
    for (const destination of ["127.0.0.1", "0.0.0.0", "255.255.255.255", "240.0.0.1", "224.0.0.1", "239.1.2.3"]) {
      expect(r.fromC1(udp({ source: C1, destination }, 1, 2))).toEqual([]);
    }
    expect(r.router.flows.count).toBe(0);
  });
});

describe("the hash of tuples", () => {
  const SPREAD = 6;
  const high = (value: number) => value << (32 - SPREAD);
  const low = (value: number, shift: number) => value << (32 - SPREAD - shift);

  /**
   * Tuples that differ in the highest bits of both addresses and, where a shift by 15 and one by 13 would take those,
   * in the destination and the ports: with one multiplication for each word, 64 times as many as there are hashes.
   */
  function chosen(): [number, number, number][] {
    const tuples: [number, number, number][] = [];
    for (let a = 0; a < 64; a++) {
      for (let b = 0; b < 64; b++)
        for (let c = 0; c < 64; c++) tuples.push([0x0a374202, high(a), high(b) ^ low(c, 13)]);
    }
    return tuples;
  }

  it("gives nobody who lacks the key tuples that collide", () => {
    const random = seededRandom(7);
    for (let seed = 0; seed < 3; seed++) {
      const table = new FlowTable(new ArrayBuffer(FlowTable.bytesFor(16)), 16, random());
      const hashes = new Set(
        chosen().map(([source, destination, ports]) => table.hash(source, destination, ports, 17)),
      );
      // By chance alone, 2^18 hashes of 32 bits meet 8 times.
      expect(64 ** 3 - hashes.size).toBeLessThan(40);
    }
  });

  it("of a set that collides under one key does not under another", () => {
    const tables = [1, 2].map((seed) => new FlowTable(new ArrayBuffer(FlowTable.bytesFor(16)), 16, seed));
    const mask = 0xfff;
    const set: [number, number][] = [];
    for (let ports = 0; set.length < 64; ports++) {
      if ((tables[0].hash(1, 2, ports, 17) & mask) === 0) set.push([1, ports]);
    }
    const places = set.map(([source, ports]) => tables[1].hash(source, 2, ports, 17) & mask);
    expect(new Set(places).size).toBeGreaterThan(60);
  });
});
