import { describe, expect, it } from "vitest";
import { echoRequest, tcp, udp } from "../support/frames.ts";
import { defaultPlan, Port, TestRouter } from "../support/router.ts";
import { Action, RejectWith, type Rule, StateBit } from "../support/rules.ts";

const out = { source: "10.55.66.2", destination: "203.0.113.2" };
const back = { source: "203.0.113.2", destination: "203.0.113.1" };

const OUTWARD: Rule = { inInterfaces: [0], outInterfaces: [1], action: Action.ACCEPT };
const INWARD: Rule = { inInterfaces: [1], outInterfaces: [0], action: Action.ACCEPT };

function routerWith(forward: Rule[], input: Rule[] = []): TestRouter {
  const plan = defaultPlan();
  plan.forward = { policy: Action.DROP, rules: forward };
  plan.input = { policy: Action.ACCEPT, rules: input };
  const router = new TestRouter(plan);
  router.introduce();
  return router;
}

describe("the forward chain", () => {
  it("drops by policy: nothing on the uplink, no flow left behind", () => {
    const r = routerWith([]);
    expect(r.fromC1(udp(out, 4000, 53))).toEqual([]);
    expect(r.stopped("forward-drop")).toBe(1);
    expect(r.router.flows.count).toBe(0);
  });

  it("lets nothing back in while only the way out is accepted, as iptables does", () => {
    const r = routerWith([OUTWARD]);
    expect(r.fromC1(udp(out, 4000, 53)).length).toBe(1);
    expect(r.fromServer(udp(back, 53, 4000))).toEqual([]);
    expect(r.stopped("forward-drop")).toBe(1);
  });

  it("lets traffic flow with both directions accepted, or with established accepted", () => {
    for (const inward of [INWARD, { ...INWARD, states: StateBit.ESTABLISHED }]) {
      const r = routerWith([OUTWARD, inward]);
      expect(r.fromC1(udp(out, 4000, 53)).length).toBe(1);
      expect(r.fromServer(udp(back, 53, 4000))[0]).toMatchObject({ port: Port.C1, bad: [] });
    }
  });

  it("judges packets after the first reply as established, not as new", () => {
    const r = routerWith([{ ...OUTWARD, states: StateBit.NEW }, INWARD]);
    expect(r.fromC1(udp(out, 4000, 53)).length).toBe(1);
    expect(r.fromServer(udp(back, 53, 4000)).length).toBe(1);
    expect(r.fromC1(udp(out, 4000, 53))).toEqual([]);
  });

  it("judges known flows again when the rules change", () => {
    const r = routerWith([OUTWARD, INWARD]);
    r.fromC1(udp(out, 4000, 53));
    const plan = defaultPlan();
    plan.forward = { policy: Action.DROP, rules: [] };
    r.apply(plan);
    expect(r.fromC1(udp(out, 4000, 53))).toEqual([]);
    r.apply(defaultPlan());
    expect(r.fromC1(udp(out, 4000, 53))[0]).toMatchObject({ sourcePort: 4000 });
    expect(r.router.flows.count).toBe(1);
  });

  it("rejects with the ICMP code asked for, quoting the packet as it came", () => {
    const r = routerWith([{ protocol: 17, action: Action.REJECT, rejectWith: RejectWith.ADMIN_PROHIBITED }]);
    expect(r.fromC1(udp(out, 4000, 53))[0]).toMatchObject({
      port: Port.C1,
      source: "10.55.66.1",
      icmpType: 3,
      icmpCode: 13,
      bad: [],
    });
  });

  it("rejects TCP with a reset from the address that was asked", () => {
    const r = routerWith([{ protocol: 6, action: Action.REJECT, rejectWith: RejectWith.TCP_RESET }]);
    expect(r.fromC1(tcp(out, 4000, 80, { flags: "S", sequence: 10 }))[0]).toMatchObject({
      port: Port.C1,
      source: "203.0.113.2",
      sourcePort: 80,
      destinationPort: 4000,
      tcpFlags: "RA",
      acknowledgement: 11,
      bad: [],
    });
  });

  it("counts what meets each rule", () => {
    const r = routerWith([OUTWARD]);
    r.fromC1(udp(out, 4000, 53));
    r.fromC1(udp(out, 4001, 53));
    expect(r.counters("FORWARD").slice(0, 2)).toEqual([2, 56]);
  });
});

describe("the input chain", () => {
  it("alone decides about the gateway: FORWARD DROP does not stop it, INPUT does", () => {
    const ping = echoRequest({ ...out, destination: "10.55.66.1" }, 7);
    expect(routerWith([]).fromC1(ping)[0]).toMatchObject({
      port: Port.C1,
      icmpType: 0,
      source: "10.55.66.1",
      ttl: 64,
      bad: [],
    });
    const closed = routerWith([], [{ protocol: 1, action: Action.DROP }]);
    expect(closed.fromC1(ping)).toEqual([]);
    expect(closed.stopped("input-drop")).toBe(1);
  });
});

describe("time to live", () => {
  it("ends here at 1, and the sender is told by the ingress interface", () => {
    const r = routerWith([OUTWARD, INWARD]);
    expect(r.fromC1(udp({ ...out, ttl: 1 }, 4000, 33434))[0]).toMatchObject({
      port: Port.C1,
      source: "10.55.66.1",
      icmpType: 11,
      icmpCode: 0,
      bad: [],
    });
    expect(r.router.flows.count).toBe(0);
    expect(r.fromC1(udp({ ...out, ttl: 2 }, 4000, 33434))[0]).toMatchObject({ port: Port.WAN, ttl: 1 });
    // The router itself may be reached with a TTL of 1.
    expect(r.fromC1(echoRequest({ ...out, destination: "10.55.66.1", ttl: 1 }, 7))[0]).toMatchObject({ icmpType: 0 });
  });
});
