import { describe, expect, it } from "vitest";
import { type ArpFields, arp, concat, ethernet, u16, udp, word } from "../support/frames.ts";
import { ADDRESSES, between, type Container, Lan, MACS, PORTS, planOfThree, portsOf } from "../support/lan.ts";
import { BROADCAST, GATEWAY_MAC, SERVER_MAC } from "../support/router.ts";
import type { ShortPlan } from "../support/rules.ts";

const GATEWAY = "10.55.66.1";
const FORGED_MAC = "02:00:00:00:00:66";
const ZERO_MAC = "00:00:00:00:00:00";
const NAMES = Object.keys(PORTS) as Container[];

/** All three ports have a guard. */
function guarded(withAddress = true, changes: Partial<ShortPlan> = {}): ShortPlan {
  const plan = planOfThree(changes);
  plan.ports = plan.ports.map((port) => {
    const name = NAMES.find((each) => PORTS[each] === port.index);
    if (name === undefined) return port;
    return { ...port, guard: { mac: MACS[name], ...(withAddress ? { address: word(ADDRESSES[name]) } : {}) } };
  });
  return plan;
}

const lan = (withAddress = true): Lan => new Lan(guarded(withAddress)).meet();
const says = (fields: Partial<ArpFields>): ArpFields => ({
  operation: 1,
  senderMac: MACS.c1,
  sender: ADDRESSES.c1,
  targetMac: ZERO_MAC,
  target: ADDRESSES.c2,
  ...fields,
});
/** An ARP packet in a frame that is really c1's. */
const arpFromC1 = (r: Lan, fields: Partial<ArpFields>, destination = BROADCAST) =>
  r.send(PORTS.c1, ethernet(destination, MACS.c1, 0x0806, arp(says(fields))));

describe("the guard of a port", () => {
  it("takes what is the container's own", () => {
    const r = lan();
    expect(portsOf(r.pass("c1", "c2", udp(between("c1", "c2"), 1, 2)))).toEqual([PORTS.c2]);
    expect(portsOf(arpFromC1(r, {}))).toEqual([PORTS.c2, PORTS.c3]);
    expect(portsOf(arpFromC1(r, { operation: 2, targetMac: MACS.c2 }, MACS.c2))).toEqual([PORTS.c2]);
    expect(r.send(PORTS.c1, ethernet(MACS.c2, MACS.c1, 0x86dd, new Uint8Array(46))).length).toBe(1);
  });

  it("drops frames from another hardware address, and learns nothing from them", () => {
    const r = lan();
    const packet = udp(between("c1", "c2"), 1, 2);
    expect(r.send(PORTS.c1, ethernet(MACS.c2, FORGED_MAC, 0x0800, packet))).toEqual([]);
    // As c3: its frames still go to c3.
    expect(r.send(PORTS.c1, ethernet(BROADCAST, MACS.c3, 0x88b5, new Uint8Array(46)))).toEqual([]);
    expect(portsOf(r.pass("c2", "c3", udp(between("c2", "c3"), 1, 2)))).toEqual([PORTS.c3]);
    expect(r.stopped("mac-spoofed")).toBe(2);
    expect(r.router.macs.size).toBe(3);
    expect(r.router.counters.named().stationsMoved).toBe(0);
  });

  it("drops IPv4 from another address, switched or routed, whole or in pieces", () => {
    const r = lan();
    r.introduce();
    const forged = { source: ADDRESSES.c3, destination: ADDRESSES.c2 };
    expect(r.pass("c1", "c2", udp(forged, 1, 2))).toEqual([]);
    expect(r.pass("c1", "c2", udp({ ...forged, fragment: 0x2001 }, 1, 2))).toEqual([]);
    expect(r.fromC1(udp({ source: ADDRESSES.c3, destination: "203.0.113.2" }, 1, 2))).toEqual([]);
    expect(r.pass("c1", "c2", udp({ source: GATEWAY, destination: ADDRESSES.c2 }, 1, 2))).toEqual([]);
    expect(r.stopped("address-spoofed")).toBe(4);
    expect(r.pass("c1", "c2", Uint8Array.of(0x45, 0, 0))).toEqual([]);
    expect(r.stopped("ipv4-malformed")).toBe(1);
    expect(r.fromC1(udp({ source: ADDRESSES.c1, destination: "203.0.113.2" }, 1, 2)).length).toBe(1);
    expect(r.arena.heldSlots()).toBe(0);
  });

  it("drops ARP that speaks for another", () => {
    const r = lan();
    const forgeries: Partial<ArpFields>[] = [
      { senderMac: FORGED_MAC },
      { sender: ADDRESSES.c3 },
      { operation: 2, sender: "0.0.0.0" },
      { operation: 2, senderMac: MACS.c3, sender: ADDRESSES.c3, targetMac: MACS.c2 },
    ];
    for (const forgery of forgeries) expect(arpFromC1(r, forgery)).toEqual([]);
    expect(r.stopped("arp-spoofed")).toBe(forgeries.length);
    expect(r.send(PORTS.c1, ethernet(BROADCAST, MACS.c1, 0x0806, new Uint8Array(28)))).toEqual([]);
    expect(r.stopped("arp-malformed")).toBe(1);
  });

  it("lets a host ask whether its address is free, and for an address", () => {
    const r = lan();
    expect(portsOf(arpFromC1(r, { sender: "0.0.0.0", target: ADDRESSES.c1 }))).toEqual([PORTS.c2, PORTS.c3]);
    const dhcp = { source: "0.0.0.0", destination: "255.255.255.255" };
    expect(portsOf(r.cry("c1", 0x0800, udp(dhcp, 68, 67)))).toEqual([PORTS.c2, PORTS.c3]);
    expect(r.cry("c1", 0x0800, udp(dhcp, 67, 68))).toEqual([]);
    expect(r.cry("c1", 0x0800, udp({ ...dhcp, destination: ADDRESSES.c2 }, 68, 67))).toEqual([]);
    expect(r.stopped("address-spoofed")).toBe(2);
  });

  it("drops tagged frames, behind whose tag anything may be", () => {
    const r = lan();
    const inside = concat(u16(0), u16(0x0800), udp({ source: ADDRESSES.c3, destination: ADDRESSES.c2 }, 1, 2));
    expect(r.send(PORTS.c1, ethernet(MACS.c2, MACS.c1, 0x8100, inside))).toEqual([]);
    expect(r.stopped("vlan-unjudged")).toBe(1);
  });

  it("pins the hardware address alone where the container has no address", () => {
    const r = lan(false);
    expect(r.pass("c1", "c2", udp({ source: "10.55.66.77", destination: ADDRESSES.c2 }, 1, 2)).length).toBe(1);
    expect(arpFromC1(r, { sender: "10.55.66.77" }).length).toBe(2);
    expect(arpFromC1(r, { senderMac: FORGED_MAC })).toEqual([]);
    expect(r.send(PORTS.c1, ethernet(MACS.c2, FORGED_MAC, 0x0800, udp(between("c1", "c2"), 1, 2)))).toEqual([]);
  });

  it("is one port's, and changes with the plan", () => {
    const plan = guarded();
    plan.ports = plan.ports.map((port) =>
      port.index === PORTS.c2 ? { ...port, guard: undefined } : port,
    ) as typeof plan.ports;
    const r = new Lan(plan).meet();
    const forged = udp({ source: "10.55.66.77", destination: ADDRESSES.c1 }, 1, 2);
    expect(r.pass("c2", "c1", forged).length).toBe(1);
    r.apply(guarded());
    expect(r.pass("c2", "c1", forged)).toEqual([]);
    r.apply(planOfThree());
    expect(r.pass("c2", "c1", forged).length).toBe(1);
  });
});

describe("the gateway's address", () => {
  const claim: Partial<ArpFields> = { sender: GATEWAY, senderMac: MACS.c1, target: ADDRESSES.c2 };

  it("can be claimed by nobody, with or without a guard", () => {
    for (const plan of [planOfThree(), guarded(false)]) {
      const r = new Lan(plan).meet();
      expect(arpFromC1(r, claim)).toEqual([]);
      expect(arpFromC1(r, { ...claim, operation: 2, targetMac: MACS.c2 }, MACS.c2)).toEqual([]);
      expect(arpFromC1(r, { ...claim, operation: 2, targetMac: "02:00:00:00:00:77" }, "02:00:00:00:00:77")).toEqual([]);
      expect(arpFromC1(r, { ...claim, target: GATEWAY }, GATEWAY_MAC)).toEqual([]);
      expect(r.stopped("arp-spoofed")).toBe(4);
      expect(r.arena.heldSlots()).toBe(0);
    }
  });

  it("cannot be claimed behind a tag that receivers overlook", () => {
    const r = new Lan(planOfThree()).meet();
    const packet = arp(says(claim));
    expect(r.send(PORTS.c1, ethernet(MACS.c2, MACS.c1, 0x8100, concat(u16(0), u16(0x0806), packet)))).toEqual([]);
    const twice = concat(u16(0), u16(0x8100), u16(0), u16(0x0806), packet);
    expect(r.cry("c1", 0x88a8, twice)).toEqual([]);
    expect(r.stopped("arp-spoofed")).toBe(2);
    // Tagged frames of other kinds, and such as end within a tag, pass.
    expect(r.cry("c1", 0x8100, concat(u16(0), u16(0x86dd), new Uint8Array(46))).length).toBe(2);
    expect(r.cry("c1", 0x8100, u16(0)).length).toBe(2);
    expect(r.cry("c1", 0x8100, concat(u16(0), u16(0x0806), packet.slice(0, 27))).length).toBe(2);
  });

  it("may be asked for, and the uplink's neighbours are no containers", () => {
    const r = new Lan(guarded()).meet();
    expect(arpFromC1(r, { target: GATEWAY }).some((each) => each.arp?.operation === 2)).toBe(true);
    r.arp(2, { operation: 1, senderMac: SERVER_MAC, sender: "203.0.113.2", target: "203.0.113.1" });
    expect(r.stopped("arp-spoofed")).toBe(0);
  });
});
