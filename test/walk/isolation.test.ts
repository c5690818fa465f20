import { describe, expect, it } from "vitest";
import { ethernet, udp, word } from "../support/frames.ts";
import { ADDRESSES, between, type Container, Lan, MACS, PORTS, planOfThree, portsOf } from "../support/lan.ts";
import { BROADCAST, GATEWAY_MAC } from "../support/router.ts";
import { Action, type ShortPlan } from "../support/rules.ts";

const OTHER_MAC = "02:00:00:00:03:01";
const O1_MAC = "02:00:00:00:00:05";
const O1 = 4;

/** c1 and c2 are isolated, c3 is not. */
function isolatedPorts(changes: Partial<ShortPlan> = {}): ShortPlan {
  const plan = planOfThree(changes);
  plan.ports = plan.ports.map((port) => ({ ...port, isolated: port.index === PORTS.c1 || port.index === PORTS.c2 }));
  return plan;
}

const direct = (r: Lan, from: Container, to: Container) => r.pass(from, to, udp(between(from, to), 4000, 53));
const byGateway = (r: Lan, from: Container, packet: Uint8Array) =>
  r.send(PORTS[from], ethernet(GATEWAY_MAC, MACS[from], 0x0800, packet));

describe("isolated ports of a network", () => {
  it("reach the others, but not each other", () => {
    const r = new Lan(isolatedPorts()).meet();
    expect(direct(r, "c1", "c2")).toEqual([]);
    expect(direct(r, "c2", "c1")).toEqual([]);
    expect(r.stopped("port-isolated")).toBe(2);
    for (const name of ["c1", "c2"] as const) {
      expect(portsOf(direct(r, name, "c3"))).toEqual([PORTS.c3]);
      expect(portsOf(direct(r, "c3", name))).toEqual([PORTS[name]]);
    }
    expect(r.arena.heldSlots()).toBe(0);
  });

  it("hear no floods and no broadcasts of each other", () => {
    const r = new Lan(isolatedPorts());
    expect(portsOf(r.announce("c1"))).toEqual([PORTS.c3]);
    expect(portsOf(direct(r, "c1", "c2"))).toEqual([PORTS.c3]);
    expect(portsOf(r.announce("c3"))).toEqual([PORTS.c1, PORTS.c2]);
    expect(r.arena.heldSlots()).toBe(0);
  });

  it("still reach the gateway and the outside", () => {
    const r = new Lan(isolatedPorts());
    r.introduce();
    expect(r.fromC1(udp({ source: ADDRESSES.c1, destination: "203.0.113.2" }, 1, 2))[0]).toMatchObject({ port: 2 });
    expect(r.fromServer(udp({ source: "203.0.113.2", destination: "203.0.113.1" }, 2, 1))[0]).toMatchObject({
      port: 0,
    });
  });

  it("do not reach each other through the router either, but the others", () => {
    const r = new Lan(isolatedPorts()).meet();
    r.introduce();
    r.arp(PORTS.c3, { operation: 1, senderMac: MACS.c3, sender: ADDRESSES.c3, target: "10.55.66.1" });
    expect(byGateway(r, "c1", udp(between("c1", "c2"), 1, 2))).toEqual([]);
    expect(r.stopped("port-isolated")).toBe(1);
    expect(portsOf(byGateway(r, "c1", udp(between("c1", "c3"), 1, 2)))).toEqual([PORTS.c3]);
    expect(portsOf(byGateway(r, "c3", udp(between("c3", "c1"), 2, 1)))).toEqual([PORTS.c1]);
    expect(r.arena.heldSlots()).toBe(0);
  });

  it("reach ports that are published, which are there for everybody", () => {
    const publish = [{ protocol: 17, interface: 1, ports: { first: 53, last: 53 }, to: word(ADDRESSES.c2) }];
    const r = new Lan(isolatedPorts({ publish })).meet();
    r.introduce();
    const asked = byGateway(r, "c1", udp({ source: ADDRESSES.c1, destination: "203.0.113.1" }, 4000, 53));
    expect(asked[0]).toMatchObject({ port: PORTS.c2, source: "203.0.113.1", destination: ADDRESSES.c2 });
    const answered = byGateway(r, "c2", udp({ source: ADDRESSES.c2, destination: "203.0.113.1" }, 53, 4000));
    expect(answered[0]).toMatchObject({ port: PORTS.c1, source: "203.0.113.1" });
  });

  it("are what the plan says, also after it has changed", () => {
    const r = new Lan(planOfThree()).meet();
    expect(direct(r, "c1", "c2").length).toBe(1);
    r.apply(isolatedPorts());
    expect(direct(r, "c1", "c2")).toEqual([]);
    r.apply(planOfThree());
    expect(direct(r, "c1", "c2").length).toBe(1);
  });
});

/** A second network `other` with the container o1. */
function twoNetworks(isolated: { lab?: boolean; other?: boolean }, changes: Partial<ShortPlan> = {}): Lan {
  const plan = planOfThree(changes);
  const other = { ...plan.interfaces[0], index: 2, name: "other", address: word("10.55.67.1"), mac: OTHER_MAC };
  plan.interfaces.push({ ...other, isolated: isolated.other ?? false });
  plan.interfaces[0].isolated = isolated.lab ?? false;
  plan.ports.push({ index: O1, name: "o1", interface: 2 });
  const r = new Lan(plan).meet();
  r.introduce();
  r.arp(O1, { operation: 1, senderMac: O1_MAC, sender: "10.55.67.2", target: "10.55.67.1" }, BROADCAST);
  return r;
}

const ACROSS = { source: ADDRESSES.c1, destination: "10.55.67.2" };
const RETURN = { source: "10.55.67.2", destination: ADDRESSES.c1 };
const fromO1 = (r: Lan, packet: Uint8Array) => r.send(O1, ethernet(OTHER_MAC, O1_MAC, 0x0800, packet));

describe("isolated networks", () => {
  it.each([[{ lab: true }], [{ other: true }], [{ lab: true, other: true }]])(
    "%o do not reach other networks",
    (which) => {
      const r = twoNetworks(which);
      expect(byGateway(r, "c1", udp(ACROSS, 1, 2))).toEqual([]);
      expect(fromO1(r, udp(RETURN, 2, 1))).toEqual([]);
      expect(r.stopped("network-isolated")).toBe(2);
      expect(r.router.flows.count).toBe(0);
      expect(r.arena.heldSlots()).toBe(0);
    },
  );

  it("pass where neither is isolated", () => {
    const r = twoNetworks({});
    expect(byGateway(r, "c1", udp(ACROSS, 1, 2))[0]).toMatchObject({ port: O1 });
    expect(fromO1(r, udp(RETURN, 2, 1))[0]).toMatchObject({ port: PORTS.c1 });
  });

  it("still reach the outside, and the router's own addresses, and themselves", () => {
    const r = twoNetworks({ lab: true, other: true });
    expect(byGateway(r, "c1", udp({ ...ACROSS, destination: "203.0.113.2" }, 1, 2))[0]).toMatchObject({ port: 2 });
    expect(fromO1(r, udp({ ...RETURN, destination: "203.0.113.2" }, 1, 2))[0]).toMatchObject({ port: 2 });
    expect(portsOf(direct(r, "c1", "c2"))).toEqual([PORTS.c2]);
    expect(byGateway(r, "c1", udp(between("c1", "c2"), 1, 2))[0]).toMatchObject({ port: PORTS.c2 });
    expect(r.stopped("network-isolated")).toBe(0);
  });

  it("do not let rules or published ports open what is isolated", () => {
    const publish = [{ protocol: 17, interface: 1, ports: { first: 53, last: 53 }, to: word("10.55.67.2") }];
    const forward = { policy: Action.ACCEPT, rules: [{ action: Action.ACCEPT }] };
    const r = twoNetworks({ other: true }, { publish, forward });
    expect(byGateway(r, "c1", udp({ ...ACROSS, destination: "203.0.113.1" }, 4000, 53))).toEqual([]);
    expect(r.stopped("network-isolated")).toBe(1);
    const outside = udp({ source: "203.0.113.2", destination: "203.0.113.1" }, 4000, 53);
    expect(r.fromServer(outside)[0]).toMatchObject({ port: O1 });
  });

  it("cut off flows that were there before", () => {
    const r = twoNetworks({});
    byGateway(r, "c1", udp(ACROSS, 1, 2));
    const plan = { ...planOfThree(), ports: [] };
    plan.interfaces.push({
      ...plan.interfaces[0],
      index: 2,
      name: "other",
      address: word("10.55.67.1"),
      mac: OTHER_MAC,
      isolated: true,
    });
    r.apply(plan);
    expect(byGateway(r, "c1", udp(ACROSS, 1, 2))).toEqual([]);
    expect(fromO1(r, udp(RETURN, 2, 1))).toEqual([]);
    expect(r.stopped("network-isolated")).toBe(2);
  });
});

describe("internal networks", () => {
  it("reach no uplink and are reached from none, published ports included, but other networks and the router", () => {
    const publish = [{ protocol: 17, interface: 1, ports: { first: 53, last: 53 }, to: word(ADDRESSES.c2) }];
    const plan = planOfThree({ publish });
    plan.interfaces[0].internal = true;
    plan.interfaces.push({
      ...plan.interfaces[0],
      index: 2,
      name: "other",
      address: word("10.55.67.1"),
      mac: OTHER_MAC,
    });
    plan.interfaces[2].internal = false;
    plan.ports.push({ index: O1, name: "o1", interface: 2 });
    const r = new Lan(plan).meet();
    r.introduce();
    r.arp(O1, { operation: 1, senderMac: O1_MAC, sender: "10.55.67.2", target: "10.55.67.1" }, BROADCAST);
    expect(byGateway(r, "c1", udp({ ...ACROSS, destination: "203.0.113.2" }, 1, 2))).toEqual([]);
    expect(r.fromServer(udp({ source: "203.0.113.2", destination: "203.0.113.1" }, 4000, 53))).toEqual([]);
    expect(r.fromServer(udp({ source: "203.0.113.2", destination: ADDRESSES.c1 }, 4000, 53))).toEqual([]);
    expect(r.stopped("network-isolated")).toBe(3);
    expect(r.router.flows.count).toBe(0);
    expect(byGateway(r, "c1", udp(ACROSS, 1, 2))[0]).toMatchObject({ port: O1 });
    expect(fromO1(r, udp({ ...RETURN, destination: "203.0.113.2" }, 1, 2))[0]).toMatchObject({ port: 2 });
  });
});
