import { afterEach, describe, expect, it } from "vitest";
import { checkInvariants } from "../../src/dataplane/invariants.ts";
import { decodeIpv4, echoRequest, ethernet, icmp, tcp, udp, word } from "../support/frames.ts";
import { C1_MAC, C2_MAC, defaultPlan, GATEWAY_MAC, Port, TestRouter } from "../support/router.ts";
import { Action, type PublishPlan, type ShortPlan, StateBit } from "../support/rules.ts";

const C1 = "10.55.66.2";
const C2 = "10.55.66.3";
const WAN = "203.0.113.1";
const SERVER = "203.0.113.2";
const TCP = 6;
const UDP = 17;

const web: PublishPlan = {
  protocol: TCP,
  interface: 1,
  ports: { first: 8080, last: 8080 },
  to: word(C2),
  toPort: 80,
};

function published(...publish: PublishPlan[]): ShortPlan {
  return { ...defaultPlan(), publish };
}

let made: TestRouter | undefined;

function router(plan: ShortPlan): TestRouter {
  made = new TestRouter(plan);
  made.introduce();
  return made;
}

/** Whatever a test did: the books agree with the flows, and no slot is lost. */
afterEach(() => {
  if (made === undefined) return;
  expect(checkInvariants(made.router).violations).toEqual([]);
  expect(made.arena.heldSlots()).toBe(0);
  made = undefined;
});

const inward = { source: SERVER, destination: WAN };

describe("a published port", () => {
  it("is reached from outside, and answers with the published address", () => {
    const r = router(published(web));
    const [syn] = r.fromServer(tcp(inward, 5000, 8080, { flags: "S", sequence: 1 }));
    expect(syn).toMatchObject({ port: Port.C2, destinationMac: C2_MAC, source: SERVER, destination: C2 });
    expect(syn).toMatchObject({ sourcePort: 5000, destinationPort: 80, ttl: 63, bad: [] });
    const [answer] = r.fromC2(tcp({ source: C2, destination: SERVER }, 80, 5000, { flags: "SA", acknowledgement: 2 }));
    expect(answer).toMatchObject({ port: Port.WAN, source: WAN, destination: SERVER, sourcePort: 8080, bad: [] });
  });

  it("is one of a range, for each protocol by itself", () => {
    const range = { protocol: UDP, interface: 1, ports: { first: 9000, last: 9010 }, to: word(C1), toPort: 7000 };
    const r = router(published(web, range));
    expect(r.fromServer(udp(inward, 5000, 9004))[0]).toMatchObject({ destination: C1, destinationPort: 7004, bad: [] });
    expect(r.fromServer(udp(inward, 5000, 9011))[0]).toMatchObject({ icmpType: 3, icmpCode: 3 });
    expect(r.fromServer(tcp(inward, 5000, 9004, { flags: "S" }))[0]).toMatchObject({ tcpFlags: "RA" });
    expect(r.fromServer(udp(inward, 5000, 8080))[0]).toMatchObject({ icmpType: 3, icmpCode: 3 });
  });

  it("keeps the port where none is given", () => {
    const { toPort: _, ...kept } = web;
    const r = router(published(kept));
    expect(r.fromServer(tcp(inward, 5000, 8080, { flags: "S" }))[0]).toMatchObject({ destinationPort: 8080 });
  });

  it("opens FORWARD for its flows alone, and an explicit rule goes first", () => {
    const plan = published(web);
    plan.forward = { policy: Action.DROP, rules: [] };
    const r = router(plan);
    expect(r.fromServer(tcp(inward, 5000, 8080, { flags: "S" }))).toHaveLength(1);
    const answer = tcp({ source: C2, destination: SERVER }, 80, 5000, { flags: "SA", acknowledgement: 1 });
    expect(r.fromC2(answer)).toHaveLength(1);
    expect(r.fromC2(udp({ source: C2, destination: SERVER }, 80, 5000))).toEqual([]);
    expect(r.fromServer(tcp({ source: SERVER, destination: C2 }, 5001, 80, { flags: "S" }))).toEqual([]);

    const denying = published(web);
    denying.forward = {
      policy: Action.DROP,
      rules: [{ action: Action.DROP, destinationPorts: [{ low: 80, high: 80 }] }],
    };
    const denied = router(denying);
    expect(denied.fromServer(tcp(inward, 5000, 8080, { flags: "S" }))).toEqual([]);
    expect(denied.stopped("forward-drop")).toBe(1);
  });

  it("hairpins from the same network with the published address as the source", () => {
    const r = router(published(web));
    const [syn] = r.fromC1(tcp({ source: C1, destination: WAN }, 5000, 8080, { flags: "S", sequence: 1 }));
    expect(syn).toMatchObject({ port: Port.C2, source: WAN, destination: C2, destinationPort: 80, bad: [] });
    const back = { source: C2, destination: WAN };
    const [answer] = r.fromC2(tcp(back, 80, syn.sourcePort as number, { flags: "SA", acknowledgement: 2 }));
    expect(answer).toMatchObject({ port: Port.C1, source: WAN, destination: C1, sourcePort: 8080, bad: [] });
    expect(answer.destinationPort).toBe(5000);
  });

  it("hairpins to the very container that asks", () => {
    const r = router(published(web));
    const [syn] = r.fromC2(tcp({ source: C2, destination: WAN }, 5000, 8080, { flags: "S", sequence: 1 }));
    expect(syn).toMatchObject({ port: Port.C2, source: WAN, destination: C2, destinationPort: 80, bad: [] });
    const back = { source: C2, destination: WAN };
    const [answer] = r.fromC2(tcp(back, 80, syn.sourcePort as number, { flags: "SA", acknowledgement: 2 }));
    expect(answer).toMatchObject({ port: Port.C2, source: WAN, destination: C2, sourcePort: 8080, bad: [] });
  });

  it("hairpins from another network with the uplink's address as the source", () => {
    const plan = published(web);
    const other = {
      ...plan.interfaces[0],
      index: 2,
      name: "dmz",
      address: word("10.55.67.1"),
      mac: "02:00:00:00:03:01",
    };
    plan.interfaces.push(other);
    plan.ports.push({ index: 3, name: "d1", interface: 2 });
    const r = router(plan);
    const mac = "02:00:00:00:00:07";
    r.arp(3, { operation: 1, senderMac: mac, sender: "10.55.67.7", target: "10.55.67.1" });
    const packet = tcp({ source: "10.55.67.7", destination: WAN }, 5000, 8080, { flags: "S" });
    const [syn] = r.send(3, ethernet("02:00:00:00:03:01", mac, 0x0800, packet));
    expect(syn).toMatchObject({ port: Port.C2, source: WAN, destination: C2, bad: [] });
    const answer = tcp({ source: C2, destination: WAN }, 80, 5000, { flags: "SA", acknowledgement: 1 });
    expect(r.fromC2(answer)[0]).toMatchObject({ port: 3, source: WAN, destination: "10.55.67.7", sourcePort: 8080 });
  });

  it("tells two clients of the same source port apart when they hairpin", () => {
    const r = router(published(web));
    const [one] = r.fromC1(tcp({ source: C1, destination: WAN }, 5000, 8080, { flags: "S" }));
    const [two] = r.fromC2(tcp({ source: C2, destination: WAN }, 5000, 8080, { flags: "S" }));
    expect(two.sourcePort).not.toBe(one.sourcePort);
  });

  it("turns ICMP errors of its target round, the quote restored", () => {
    const r = router(published(web));
    const [syn] = r.fromServer(tcp(inward, 5000, 8080, { flags: "S" }));
    const quote = syn.bytes.subarray(14);
    const [error] = r.fromC2(icmp({ source: C2, destination: SERVER }, 3, 10, 0, quote));
    expect(error).toMatchObject({ port: Port.WAN, source: WAN, destination: SERVER, icmpType: 3, bad: [] });
    expect(decodeIpv4(error.payload as Uint8Array)).toMatchObject({ destination: WAN, destinationPort: 8080, bad: [] });
  });

  it("turns ICMP errors of a hairpinned flow round", () => {
    const r = router(published(web));
    const [syn] = r.fromC1(tcp({ source: C1, destination: WAN }, 5000, 8080, { flags: "S" }));
    const quote = syn.bytes.subarray(14);
    const [error] = r.fromC2(icmp({ source: C2, destination: WAN }, 3, 1, 0, quote));
    expect(error).toMatchObject({ port: Port.C1, source: WAN, destination: C1, icmpType: 3, bad: [] });
    const inner = decodeIpv4(error.payload as Uint8Array);
    expect(inner).toMatchObject({ source: C1, destination: WAN, sourcePort: 5000, destinationPort: 8080, bad: [] });
  });

  it("moves elsewhere, and exactly its flows end", () => {
    const dns = { protocol: UDP, interface: 1, ports: { first: 53, last: 53 }, to: word(C1), toPort: 53 };
    const r = router(published(web, dns));
    r.fromServer(tcp(inward, 5000, 8080, { flags: "S" }));
    r.fromServer(udp(inward, 5000, 53));
    r.fromC1(udp({ source: C1, destination: SERVER }, 4000, 53));
    expect(r.router.flows.count).toBe(3);
    r.apply(published({ ...web, to: word(C1) }, dns));
    expect(r.router.flows.count).toBe(2);
    expect(r.fromServer(tcp(inward, 5000, 8080, { flags: "S" }))[0]).toMatchObject({ destination: C1 });
  });

  it("takes over from the router itself, and gives back", () => {
    const r = router(defaultPlan());
    r.fromServer(udp(inward, 5000, 53));
    expect(r.router.flows.count).toBe(1);
    const dns = { protocol: UDP, interface: 1, ports: { first: 53, last: 53 }, to: word(C1), toPort: 53 };
    r.apply(published(dns));
    expect(r.router.flows.count).toBe(0);
    expect(r.fromServer(udp(inward, 5000, 53))[0]).toMatchObject({ destination: C1 });
    r.apply(defaultPlan());
    expect(r.router.flows.count).toBe(0);
    expect(r.fromServer(udp(inward, 5000, 53))[0]).toMatchObject({ icmpType: 3, icmpCode: 3 });
  });

  it("does not let an invalid segment of its target out untranslated", () => {
    const plan = { ...published(web), sourceNat: [] };
    const r = router(plan);
    // A SYN/ACK that answers nothing opens no flow: conntrack calls it invalid.
    const stray = tcp({ source: C2, destination: SERVER }, 80, 5000, { flags: "SA", acknowledgement: 7 });
    expect(r.fromC2(stray)).toEqual([]);
    expect(r.stopped("invalid-state")).toBe(1);
    expect(
      r.fromC2(tcp({ source: C2, destination: SERVER }, 81, 5000, { flags: "SA", acknowledgement: 7 })),
    ).toHaveLength(1);
  });

  it("reaches a target that has to be asked for first", () => {
    const r = router(published({ ...web, to: word("10.55.66.9") }));
    const [question] = r.fromServer(tcp(inward, 5000, 8080, { flags: "S" }));
    expect(question.arp).toMatchObject({ operation: 1, target: "10.55.66.9" });
    const answer = { operation: 2 as const, senderMac: C1_MAC, sender: "10.55.66.9", target: "10.55.66.1" };
    const sent = r.arp(Port.C1, { ...answer, targetMac: GATEWAY_MAC }, GATEWAY_MAC);
    expect(sent[0]).toMatchObject({ destination: "10.55.66.9", destinationPort: 80, bad: [] });
  });

  it("leaves echo to the router", () => {
    const r = router(published(web));
    expect(r.fromServer(echoRequest(inward, 1))[0]).toMatchObject({ icmpType: 0, source: WAN });
  });

  it("accepts published replies under a policy that knows states", () => {
    const plan = published(web);
    const established = { action: Action.ACCEPT, states: StateBit.ESTABLISHED };
    plan.forward = { policy: Action.DROP, rules: [established] };
    const r = router(plan);
    r.fromServer(tcp(inward, 5000, 8080, { flags: "S" }));
    const answer = tcp({ source: C2, destination: SERVER }, 80, 5000, { flags: "SA", acknowledgement: 1 });
    expect(r.fromC2(answer)).toHaveLength(1);
  });
});
