/** Cases at the edges: spoofed sources, plans that change while frames wait, floods that must not harm others. */
import { describe, expect, it } from "vitest";
import { echoRequest, ethernet, type Ipv4Fields, udp, word } from "../support/frames.ts";
import { C1_MAC, defaultPlan, Port, TestRouter } from "../support/router.ts";

const out = (source: string, destination: string, more: Partial<Ipv4Fields> = {}) => ({ source, destination, ...more });

function router(plan = defaultPlan(), limits = {}): TestRouter {
  const made = new TestRouter(plan, limits);
  made.introduce();
  return made;
}

describe("edges", () => {
  it.each(["10.55.66.1", "203.0.113.1", "10.55.66.255", "203.0.113.255"])("refuses %s as a source", (source) => {
    const r = router();
    expect(r.fromC1(udp(out(source, "198.51.100.7"), 40000, 53))).toEqual([]);
    expect(r.stopped("martian-source")).toBe(1);
  });

  it("asks for a next hop though as many frames as may wait do so for others", () => {
    const r = router();
    for (let host = 10; host < 30; host++) {
      for (let i = 0; i < 20; i++) r.fromServer(udp(out("198.51.100.7", `10.55.66.${host}`), 1000 + i, 53));
    }
    const sent = r.fromServer(udp(out("198.51.100.7", "10.55.66.77"), 1, 53));
    expect(sent.length).toBeGreaterThan(0);
  });

  it("survives that the ingress interface of a waiting frame is taken away", () => {
    const plan = defaultPlan();
    const other = {
      ...plan.interfaces[0],
      index: 2,
      name: "other",
      address: word("10.55.67.1"),
      mac: "02:00:00:00:03:01",
    };
    plan.interfaces.push(other);
    plan.ports.push({ index: 3, name: "d1", interface: 2 });
    const r = router(plan);
    const packet = udp(out("10.55.67.2", "10.55.66.99"), 1, 53);
    r.send(3, ethernet("02:00:00:00:03:01", "02:00:00:00:00:77", 0x0800, packet));
    expect(r.stopped("parked")).toBe(1);
    r.router.removePort(3);
    const less = defaultPlan();
    r.apply(less);
    expect(() => r.advance(5000)).not.toThrow();
    expect(r.arena.heldSlots()).toBe(0);
  });

  it("does not answer for an address that is no longer its own", () => {
    const r = router();
    expect(r.fromC1(echoRequest(out("10.55.66.2", "10.55.66.1"), 7))).toHaveLength(1);
    const plan = defaultPlan();
    plan.interfaces[0].address = word("10.55.66.254");
    r.apply(plan);
    r.arp(Port.C1, { operation: 1, senderMac: C1_MAC, sender: "10.55.66.2", target: "10.55.66.254" });
    const sent = r.fromC1(echoRequest(out("10.55.66.2", "10.55.66.1"), 7, 2));
    expect(sent.filter((each) => each.icmpType === 0)).toEqual([]);
  });

  it("counts an echo request that it answers", () => {
    const r = router();
    const before = r.stopped("local");
    r.fromC1(echoRequest(out("10.55.66.2", "10.55.66.1"), 7));
    expect(r.stopped("local")).toBe(before + 1);
  });

  it("keeps neighbours that are in use while somebody scans", () => {
    const r = router(defaultPlan(), { neighbours: 16 });
    r.fromC1(udp(out("10.55.66.2", "203.0.113.2"), 4000, 53));
    for (let host = 20; host < 60; host++) r.fromC1(udp(out("10.55.66.2", `203.0.113.${host}`), 4000, 53));
    expect(r.fromC1(udp(out("10.55.66.2", "203.0.113.2"), 4000, 53))).toHaveLength(1);
  });

  it("keeps a place for others when one floods the table with unanswered flows", () => {
    const r = router(defaultPlan(), { flows: 64 });
    for (let port = 1; port <= 64; port++) r.fromC1(udp(out("10.55.66.2", "203.0.113.2"), 1024 + port, 53));
    expect(r.fromC2(udp(out("10.55.66.3", "203.0.113.2"), 5000, 53))).toHaveLength(1);
  });

  it("masquerades or drops a flow that a new plan would masquerade", () => {
    const plan = defaultPlan();
    plan.sourceNat = [];
    const r = router(plan);
    expect(r.fromC1(udp(out("10.55.66.2", "203.0.113.2"), 4000, 53))).toHaveLength(1);
    r.apply(defaultPlan());
    const sent = r.fromC1(udp(out("10.55.66.2", "203.0.113.2"), 4000, 53));
    expect(sent.map((each) => each.source)).not.toContain("10.55.66.2");
  });

  it("finds the place of a flow among many of one source and port without reading them all", () => {
    const r = router(defaultPlan(), { flows: 4096 });
    r.fromC2(udp(out("10.55.66.3", "203.0.113.2"), 40000, 53));
    r.fromC1(udp(out("10.55.66.2", "203.0.113.2"), 40000, 53));
    for (let i = 0; i < 2000; i++) r.fromC1(udp(out("10.55.66.2", `198.51.${i >> 8}.${i & 255}`), 40000, 53));
    const { slots, mask } = (r.router.sourceNat as unknown as { sources: { slots: Int32Array; mask: number } }).sources;
    let longest = 0;
    for (let at = 0, run = 0; at <= mask; at++) {
      run = slots[at * 2 + 1] === 0 ? 0 : run + 1;
      longest = Math.max(longest, run);
    }
    expect(longest).toBeLessThan(64);
  });

  it("cuts a datagram into more pieces than there are slots", () => {
    const plan = defaultPlan();
    plan.interfaces[1].mtu = 576;
    const r = new TestRouter(plan, {}, 1, 64);
    r.introduce();
    const sent = r.fromC1(udp(out("10.55.66.2", "203.0.113.2", { fragment: 0 }), 4000, 53, new Uint8Array(60_000)));
    expect(r.router.counters.named().fragmentsLost).toBe(0);
    expect(sent.length).toBe(Math.ceil(60_008 / 552));
  });
});
