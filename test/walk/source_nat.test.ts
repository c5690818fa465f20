/** Source NAT beyond MASQUERADE: pools, port ranges, limits per host, a full table; and the `bcp` profile. */
import { afterEach, describe, expect, it } from "vitest";
import { checkInvariants } from "../../src/dataplane/invariants.ts";
import type { ConntrackPlan } from "../../src/dataplane/plan.ts";
import { echoRequest, tcp, udp, word } from "../support/frames.ts";
import { defaultPlan, Port, SERVER_MAC, TestRouter, UPLINK_MAC } from "../support/router.ts";
import { Action, type ShortPlan, type SourceNatPlan, StateBit } from "../support/rules.ts";

const C1 = "10.55.66.2";
const C2 = "10.55.66.3";
const WAN = "203.0.113.1";
const SERVER = "203.0.113.2";
const FAR = "198.51.100.7";
const LAB = { address: word("10.55.66.0"), length: 24 };

const out = (source = C1, destination = SERVER) => ({ source, destination });
const back = (destination = WAN, source = SERVER) => ({ source, destination });

function planOf(rule: Partial<SourceNatPlan>, conntrack: Partial<ConntrackPlan> = {}): ShortPlan {
  const plan = defaultPlan();
  return { ...plan, sourceNat: [{ from: LAB, out: 1, ...rule }], conntrack: { ...plan.conntrack, ...conntrack } };
}

let made: TestRouter | undefined;

function router(plan: ShortPlan, limits = {}): TestRouter {
  made = new TestRouter(plan, limits);
  made.introduce();
  return made;
}

const bcp = (rule: Partial<SourceNatPlan> = {}): TestRouter => router(planOf(rule, { profile: "bcp" }));

/** Whatever a test did: ports in use are live mappings, and no slot is lost. */
afterEach(() => {
  if (made === undefined) return;
  expect(checkInvariants(made.router).violations).toEqual([]);
  expect(made.arena.heldSlots()).toBe(0);
  made = undefined;
});

describe("SNAT to a pool", () => {
  const to = { first: word("203.0.113.10"), last: word("203.0.113.13") };

  it("uses its addresses, each source always the same one to a destination", () => {
    const r = router(planOf({ to }));
    const sources = new Set<string>();
    for (let host = 2; host < 60; host++) {
      const packet = () => udp(out(`10.55.66.${host}`), 4000, 53);
      const [sent] = r.fromC1(packet());
      expect(r.fromC1(udp(out(`10.55.66.${host}`), 4001, 53))[0].source).toBe(sent.source);
      sources.add(sent.source as string);
    }
    expect([...sources].sort()).toEqual(["203.0.113.10", "203.0.113.11", "203.0.113.12", "203.0.113.13"]);
  });

  it("answers ARP for them, and answers find their way", () => {
    const r = router(planOf({ to: { first: to.first, last: to.first } }));
    const question = { operation: 1 as const, senderMac: SERVER_MAC, sender: SERVER, target: "203.0.113.10" };
    const [reply] = r.arp(Port.WAN, question);
    expect(reply.arp).toMatchObject({ operation: 2, sender: "203.0.113.10", senderMac: UPLINK_MAC });
    r.fromC1(udp(out(), 4000, 53));
    expect(r.fromServer(udp(back("203.0.113.10"), 53, 4000))[0]).toMatchObject({ destination: C1, bad: [] });
  });

  it("takes ports of its range alone, and drops when they are used up", () => {
    const r = router(planOf({ ports: { first: 2000, last: 2003 } }));
    const ports = [40000, 40001, 40002, 40003].map((port) => r.fromC1(udp(out(), port, 53))[0].sourcePort);
    expect([...ports].sort()).toEqual([2000, 2001, 2002, 2003]);
    expect(r.fromC1(udp(out(), 40004, 53))).toEqual([]);
    expect(r.stopped("nat-ports-exhausted")).toBe(1);
    // No live mapping has given way.
    expect(r.fromServer(udp(back(), 53, ports[0] as number))[0]).toMatchObject({ destinationPort: 40000 });
    // To another destination the same ports are free: a mapping is unique by its reply tuple.
    expect(r.fromC1(udp(out(C1, FAR), 40004, 53))).toHaveLength(1);
  });

  it("keeps a port that is in the range", () => {
    const r = router(planOf({ ports: { first: 2000, last: 2999 } }));
    expect(r.fromC1(udp(out(), 2500, 53))[0].sourcePort).toBe(2500);
  });

  it("draws every port where it is to be random, for each protocol", () => {
    const r = router(planOf({ fullyRandom: true }));
    const kept = [];
    for (let port = 40000; port < 40020; port++) {
      kept.push(r.fromC1(udp(out(), port, 53))[0].sourcePort === port);
      kept.push(r.fromC1(tcp(out(), port, 80, { flags: "S" }))[0].sourcePort === port);
      kept.push((r.fromC1(echoRequest(out(), port))[0].icmpRest as number) >>> 16 === port);
    }
    expect(kept.filter(Boolean).length).toBeLessThan(3);
  });

  it("ends a flow whose address the rules no longer give, with its next packet", () => {
    const r = router(planOf({ to }));
    const [before] = r.fromC1(udp(out(), 4000, 53));
    r.apply(planOf({}));
    expect(before.source).not.toBe(WAN);
    expect(r.fromC1(udp(out(), 4000, 53))[0].source).toBe(WAN);
    expect(r.router.flows.count).toBe(1);
  });
});

describe("limits", () => {
  it("gives a host as many translated flows as it may have, and gives them back", () => {
    const r = router(planOf({}, { flowsPerHost: 2 }));
    expect(r.fromC1(udp(out(), 4000, 53))).toHaveLength(1);
    expect(r.fromC1(tcp(out(), 4000, 80, { flags: "S" }))).toHaveLength(1);
    expect(r.fromC1(udp(out(), 4001, 53))).toEqual([]);
    expect(r.stopped("host-limit")).toBe(1);
    expect(r.fromC2(udp(out(C2), 4001, 53))).toHaveLength(1);
    expect(r.fromC1(udp(out(), 4000, 53))).toHaveLength(1);
    r.advance(31_000);
    expect(r.fromC1(udp(out(), 4001, 53))).toHaveLength(1);
  });

  it("refuses in a full table where the profile is bcp, and never ends a live flow", () => {
    const r = router(planOf({}, { profile: "bcp" }), { flows: 64 });
    for (let port = 1; port <= 64; port++) r.fromC1(udp(out(), 1024 + port, 53));
    expect(r.fromC2(udp(out(C2), 5000, 53))).toEqual([]);
    expect(r.stopped("flow-table-full")).toBe(1);
    expect(r.router.flows.count).toBe(64);
  });

  it("ends an unassured flow in a full table where the profile is linux, never an assured one", () => {
    const r = router(planOf({}), { flows: 16 });
    for (let port = 1; port <= 16; port++) {
      r.fromC1(udp(out(), 1024 + port, 53));
      r.fromServer(udp(back(), 53, 1024 + port));
    }
    r.advance(2500);
    for (let port = 1; port <= 16; port++) r.fromC1(udp(out(), 1024 + port, 53));
    expect(r.fromC2(udp(out(C2), 5000, 53))).toEqual([]);
    expect(r.stopped("flow-table-full")).toBe(1);
    expect(r.router.counters.named().flowsEvicted).toBe(0);
  });
});

describe("profile bcp", () => {
  it("maps an inside end to one outside end, whoever the other end is (RFC 4787 REQ-1)", () => {
    const r = bcp();
    r.fromC1(udp(out(), 5000, 53));
    const [second] = r.fromC2(udp(out(C2), 5000, 53));
    expect(second.sourcePort).not.toBe(5000);
    expect(r.fromC2(udp(out(C2, FAR), 5000, 99))[0].sourcePort).toBe(second.sourcePort);
    expect(r.fromC1(udp(out(C1, FAR), 5000, 99))[0].sourcePort).toBe(5000);
  });

  it("shares no port between two inside ends, even to different peers (RFC 4787 REQ-3)", () => {
    const r = bcp();
    expect(r.fromC1(udp(out(C1, SERVER), 5000, 53))[0].sourcePort).toBe(5000);
    expect(r.fromC2(udp(out(C2, FAR), 5000, 53))[0].sourcePort).not.toBe(5000);
  });

  it("keeps the parity of a UDP port (RFC 4787 REQ-4)", () => {
    const r = bcp();
    for (const port of [5000, 5001]) {
      r.fromC1(udp(out(), port, 53));
      const [sent] = r.fromC2(udp(out(C2), port, 53));
      expect((sent.sourcePort as number) & 1).toBe(port & 1);
    }
  });

  it("lets anybody reach a mapped end (RFC 4787 REQ-8), as RELATED", () => {
    const plan = planOf({}, { profile: "bcp" });
    plan.forward = {
      policy: Action.DROP,
      rules: [
        { action: Action.ACCEPT, inInterfaces: [0] },
        { action: Action.ACCEPT, states: StateBit.ESTABLISHED | StateBit.RELATED },
      ],
    };
    const r = router(plan);
    r.fromC1(udp(out(), 5000, 53));
    const [sent] = r.fromServer(udp(back(WAN, FAR), 7777, 5000));
    expect(sent).toMatchObject({ port: Port.C1, source: FAR, destination: C1, destinationPort: 5000, bad: [] });
    // Before the first answer too, and after a change of the rules.
    r.apply(plan);
    expect(r.fromServer(udp(back(WAN, FAR), 7777, 5000))[0]).toMatchObject({ destination: C1, bad: [] });
    const [answer] = r.fromC1(udp(out(C1, FAR), 5000, 7777));
    expect(answer).toMatchObject({ source: WAN, sourcePort: 5000, bad: [] });
  });

  it("hairpins with the sender's outside end as its source (RFC 4787 REQ-9)", () => {
    const r = bcp();
    r.fromC1(udp(out(), 5000, 53));
    r.fromC2(udp(out(C2), 6000, 53));
    const [sent] = r.fromC2(udp(out(C2, WAN), 6000, 5000));
    expect(sent).toMatchObject({
      port: Port.C1,
      source: WAN,
      sourcePort: 6000,
      destination: C1,
      destinationPort: 5000,
    });
    const [answer] = r.fromC1(udp(out(C1, WAN), 5000, 6000));
    expect(answer).toMatchObject({ port: Port.C2, source: WAN, sourcePort: 5000, destination: C2, bad: [] });
  });

  it("keeps a mapping as long as one of its flows lives, and no longer", () => {
    const r = bcp();
    r.fromC1(udp(out(), 5000, 53));
    r.advance(200_000);
    r.fromC1(udp(out(C1, FAR), 5000, 53));
    r.advance(200_000);
    expect(r.router.sourceNat.mappings?.size).toBe(1);
    r.advance(102_000);
    expect(r.router.sourceNat.mappings?.size).toBe(0);
  });

  it("says nothing about an unsolicited SYN (RFC 5382 REQ-4)", () => {
    const r = bcp();
    expect(r.fromServer(tcp(back(), 5000, 80, { flags: "S" }))).toEqual([]);
    // The outbound SYN of a simultaneous open that crosses it opens the connection (REQ-2).
    const [syn] = r.fromC1(tcp(out(), 80, 5000, { flags: "S", sequence: 1 }));
    expect(syn).toMatchObject({ source: WAN, sourcePort: 80 });
    const [crossing] = r.fromServer(tcp(back(), 5000, 80, { flags: "S", sequence: 9 }));
    expect(crossing).toMatchObject({ destination: C1, destinationPort: 80, bad: [] });
  });

  it("starts anew when the profile changes: no flow of one lives on in the other", () => {
    const r = bcp();
    r.fromC1(udp(out(), 5000, 53));
    r.apply(planOf({}));
    expect(r.router.flows.count).toBe(0);
    expect(r.fromC1(udp(out(), 5000, 53))).toHaveLength(1);
  });
});
