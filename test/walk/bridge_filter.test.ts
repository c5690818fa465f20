import { describe, expect, it, vi } from "vitest";
import { FLOW_SHIFT, FlowFlag, FlowWord, HeaderWord } from "../../src/conntrack/flow_layout.ts";
import { viewFlow } from "../../src/conntrack/format.ts";
import { checkInvariants } from "../../src/dataplane/invariants.ts";
import { decodeIpv4, echoReply, echoRequest, ethernet, icmp, ipv4, tcp, udp, word } from "../support/frames.ts";
import { ADDRESSES, between, C3_MAC, Lan, MACS, PORTS, planOfThree, portsOf } from "../support/lan.ts";
import { GATEWAY_MAC } from "../support/router.ts";
import { Action, type Chain, RejectWith, type Rule, type ShortPlan, StateBit } from "../support/rules.ts";

const FORTH = between("c1", "c2");
const BACK = between("c2", "c1");
const DROP: Chain = { policy: Action.DROP, rules: [] };
const REPLIES: Rule = { states: StateBit.ESTABLISHED | StateBit.RELATED, action: Action.ACCEPT };
const NEW_FROM_C1: Rule = { inPorts: [PORTS.c1], states: StateBit.NEW, action: Action.ACCEPT };
const STATEFUL: Chain = { policy: Action.DROP, rules: [REPLIES, NEW_FROM_C1] };

function lan(bridge?: Chain, changes: Partial<ShortPlan> = {}): Lan {
  return new Lan(planOfThree({ ...(bridge === undefined ? {} : { bridge }), ...changes })).meet();
}

function flowsOf(router: Lan) {
  const { words, header } = router.router.flows;
  return Array.from({ length: header[HeaderWord.HIGH_WATER] }, (_, flow) => flow << FLOW_SHIFT)
    .filter((base) => (words[base + FlowWord.STATUS] & FlowFlag.CONFIRMED) !== 0)
    .map((base) => viewFlow(words, base, router.now));
}

function isSound(router: Lan): void {
  expect(checkInvariants(router.router).violations).toEqual([]);
  expect(router.arena.heldSlots()).toBe(0);
}

describe("the bridge chain", () => {
  it("is off without rules: nothing is tracked, and frames leave as they came", () => {
    const r = lan();
    const packet = udp(FORTH, 4000, 53);
    const [out] = r.pass("c1", "c2", packet);
    expect(out).toMatchObject({ port: PORTS.c2, ttl: 64 });
    expect(r.router.flows.count).toBe(0);
  });

  it("drops by policy, counted, and leaves no flow behind", () => {
    const r = lan(DROP);
    expect(r.pass("c1", "c2", udp(FORTH, 4000, 53))).toEqual([]);
    expect(r.stopped("bridge-drop")).toBe(1);
    expect(r.counters("BRIDGE")).toEqual([1, 28]);
    expect(r.router.flows.count).toBe(0);
    isSound(r);
  });

  it("changes not a byte of what it accepts", () => {
    const r = lan({ policy: Action.ACCEPT, rules: [{ protocol: 132, action: Action.DROP }] });
    const frame = ethernet(MACS.c2, MACS.c1, 0x0800, udp({ ...FORTH, ttl: 1 }, 4000, 53, new Uint8Array(3)));
    expect(r.send(PORTS.c1, frame)[0]).toMatchObject({ port: PORTS.c2, bytes: frame });
    expect(r.stopped("switched")).toBe(1);
  });

  it("is stateful: answers pass where only one side may begin", () => {
    const r = lan(STATEFUL);
    expect(r.pass("c2", "c1", udp(BACK, 53, 4000))).toEqual([]);
    expect(r.pass("c1", "c2", udp(FORTH, 4000, 53)).length).toBe(1);
    expect(portsOf(r.pass("c2", "c1", udp(BACK, 53, 4000)))).toEqual([PORTS.c1]);
    expect(r.pass("c1", "c2", udp(FORTH, 4000, 53)).length).toBe(1);
    expect(r.pass("c2", "c1", udp(BACK, 53, 4001))).toEqual([]);
    expect(r.stopped("bridge-drop")).toBe(2);
    expect(flowsOf(r)).toMatchObject([
      { protocol: "udp", original: { source: ADDRESSES.c1, packets: 2 }, reply: { packets: 1 }, seenReply: true },
    ]);
    isSound(r);
  });

  it("does not ask an established flow again: once for each class of packets", () => {
    const r = lan(STATEFUL);
    const asked = vi.spyOn(r.router.rules, "evaluate");
    for (let i = 0; i < 5; i++) {
      r.pass("c1", "c2", udp(FORTH, 4000, 53));
      r.pass("c2", "c1", udp(BACK, 53, 4000));
    }
    // The first packet, the first answer, and the first packet after it.
    expect(asked).toHaveBeenCalledTimes(3);
    // All count in the rule that let the first of their class pass.
    expect(r.counters("BRIDGE")).toEqual([9, 252, 1, 28, 0, 0]);
  });

  it("asks again when the rules change: a flow that they let pass stays, one that they forbid ends", () => {
    const r = lan(STATEFUL);
    r.pass("c1", "c2", udp(FORTH, 4000, 53));
    const open = { ...STATEFUL, rules: [...STATEFUL.rules, { action: Action.ACCEPT }] };
    r.apply(planOfThree({ bridge: open }));
    expect(r.pass("c1", "c2", udp(FORTH, 4000, 53)).length).toBe(1);
    expect(r.router.flows.count).toBe(1);
    r.apply(planOfThree({ bridge: DROP }));
    expect(r.pass("c1", "c2", udp(FORTH, 4000, 53))).toEqual([]);
    expect(r.router.flows.count).toBe(0);
    // What would have been an answer is new now, and c2 may not begin.
    r.apply(planOfThree({ bridge: STATEFUL }));
    expect(r.pass("c2", "c1", udp(BACK, 53, 4000))).toEqual([]);
    isSound(r);
  });

  it("forgets its flows when it is turned off", () => {
    const r = lan(STATEFUL);
    r.pass("c1", "c2", udp(FORTH, 4000, 53));
    r.apply(planOfThree());
    expect(r.router.flows.count).toBe(0);
    expect(r.pass("c2", "c1", udp(BACK, 99, 4000)).length).toBe(1);
    isSound(r);
  });

  it("follows TCP: a handshake passes, a segment out of nowhere is new, an answer to nothing invalid", () => {
    const r = lan(STATEFUL);
    expect(r.pass("c1", "c2", tcp(FORTH, 4000, 80, { flags: "S", sequence: 1 })).length).toBe(1);
    expect(flowsOf(r)).toMatchObject([{ state: "SYN_SENT" }]);
    expect(r.pass("c2", "c1", tcp(BACK, 80, 4000, { flags: "SA", sequence: 9, acknowledgement: 2 })).length).toBe(1);
    expect(r.pass("c1", "c2", tcp(FORTH, 4000, 80, { flags: "A", sequence: 2, acknowledgement: 10 })).length).toBe(1);
    expect(flowsOf(r)).toMatchObject([{ state: "ESTABLISHED", assured: true }]);
    expect(r.pass("c2", "c1", tcp(BACK, 80, 5000, { flags: "SA", sequence: 9, acknowledgement: 2 }))).toEqual([]);
    // Not in the window.
    const far = { flags: "A", sequence: 0x40000000, acknowledgement: 10 };
    expect(r.pass("c1", "c2", tcp(FORTH, 4000, 80, far))).toEqual([]);
    isSound(r);
  });

  it("opens a flow anew over one that is over", () => {
    const r = lan(STATEFUL);
    r.pass("c1", "c2", tcp(FORTH, 4000, 80, { flags: "S", sequence: 1 }));
    r.pass("c2", "c1", tcp(BACK, 80, 4000, { flags: "SA", sequence: 9, acknowledgement: 2 }));
    r.pass("c1", "c2", tcp(FORTH, 4000, 80, { flags: "RA", sequence: 2, acknowledgement: 10 }));
    expect(r.pass("c1", "c2", tcp(FORTH, 4000, 80, { flags: "S", sequence: 100_000 })).length).toBe(1);
    expect(flowsOf(r)).toMatchObject([{ state: "SYN_SENT" }]);
    isSound(r);
  });

  it("knows invalid packets", () => {
    const invalid: Rule = { states: StateBit.INVALID, action: Action.DROP };
    const r = lan({ policy: Action.ACCEPT, rules: [invalid] });
    expect(r.pass("c2", "c1", echoReply(BACK, 7))).toEqual([]);
    expect(r.pass("c1", "c2", echoRequest(FORTH, 7)).length).toBe(1);
    expect(r.pass("c2", "c1", echoReply(BACK, 7)).length).toBe(1);
    // Without such a rule they pass, and belong to no flow.
    const open = lan({ policy: Action.ACCEPT, rules: [{ protocol: 132, action: Action.DROP }] });
    expect(open.pass("c2", "c1", echoReply(BACK, 7)).length).toBe(1);
    expect(open.router.flows.count).toBe(0);
  });

  it("takes ICMP errors as related to the flow that they quote", () => {
    const r = lan(STATEFUL);
    const question = udp(FORTH, 4000, 53);
    r.pass("c1", "c2", question);
    const error = (quoted: Uint8Array) => icmp(BACK, 3, 3, 0, quoted);
    expect(r.pass("c2", "c1", error(question))[0]).toMatchObject({ port: PORTS.c1, icmpType: 3, ttl: 64 });
    expect(r.pass("c2", "c1", error(udp(FORTH, 4001, 53)))).toEqual([]);
    expect(flowsOf(r)).toMatchObject([{ seenReply: false }]);
  });

  it("drops bad checksums, which conntrack cannot judge", () => {
    const r = lan(STATEFUL);
    const packet = udp(FORTH, 4000, 53);
    packet[27] ^= 1;
    expect(r.pass("c1", "c2", packet)).toEqual([]);
    expect(r.stopped("l4-checksum")).toBe(1);
  });

  it("ends flows in time", () => {
    const r = lan(STATEFUL);
    r.pass("c1", "c2", udp(FORTH, 4000, 53));
    r.advance(29_000);
    expect(r.pass("c2", "c1", udp(BACK, 53, 4000)).length).toBe(1);
    r.advance(31_000);
    expect(r.pass("c2", "c1", udp(BACK, 53, 4000))).toEqual([]);
    expect(r.router.flows.count).toBe(0);
  });

  it("says so when there is no room for another flow", () => {
    const r = new Lan(planOfThree({ bridge: STATEFUL }), { flows: 1 }).meet();
    // An assured flow does not give way.
    r.pass("c1", "c2", tcp(FORTH, 4000, 80, { flags: "S", sequence: 1 }));
    r.pass("c2", "c1", tcp(BACK, 80, 4000, { flags: "SA", sequence: 9, acknowledgement: 2 }));
    r.pass("c1", "c2", tcp(FORTH, 4000, 80, { flags: "A", sequence: 2, acknowledgement: 10 }));
    expect(r.pass("c1", "c2", udp(FORTH, 4001, 53))).toEqual([]);
    expect(r.stopped("flow-table-full")).toBe(1);
  });
});

describe("ports and networks in bridge rules", () => {
  const only = (rule: Omit<Rule, "action">): Chain => ({
    policy: Action.DROP,
    rules: [{ ...rule, action: Action.ACCEPT }],
  });

  it("match where a frame comes in and leaves", () => {
    const r = lan(only({ inPorts: [PORTS.c1], outPorts: [PORTS.c2] }));
    expect(r.pass("c1", "c2", udp(FORTH, 1, 2)).length).toBe(1);
    expect(r.pass("c1", "c3", udp(between("c1", "c3"), 1, 2))).toEqual([]);
    expect(r.pass("c3", "c2", udp(between("c3", "c2"), 1, 2))).toEqual([]);
    const whole = lan(only({ inInterfaces: [0], outInterfaces: [0] }));
    expect(whole.pass("c3", "c2", udp(between("c3", "c2"), 1, 2)).length).toBe(1);
    expect(lan(only({ outInterfaces: [1] })).pass("c1", "c2", udp(FORTH, 1, 2))).toEqual([]);
  });

  it("know no egress port of what is flooded", () => {
    const unknown = (bridge: Chain) => new Lan(planOfThree({ bridge })).pass("c1", "c2", udp(FORTH, 1, 2));
    expect(unknown(only({ outPorts: [PORTS.c2] }))).toEqual([]);
    expect(portsOf(unknown(only({ outInterfaces: [0] })))).toEqual([PORTS.c2, PORTS.c3]);
  });

  it("are asked again when a station has moved, or another speaks in its name", () => {
    const r = lan({
      policy: Action.DROP,
      rules: [{ inPorts: [PORTS.c1], outPorts: [PORTS.c2], action: Action.ACCEPT }],
    });
    expect(r.pass("c1", "c2", udp(FORTH, 1, 2)).length).toBe(1);
    // c3 as c1.
    expect(r.send(PORTS.c3, ethernet(MACS.c2, C3_MAC, 0x0800, udp(FORTH, 1, 2)))).toEqual([]);
    // c2's hardware address is behind c3's port now.
    r.send(PORTS.c3, ethernet(GATEWAY_MAC, MACS.c2, 0x88b5, new Uint8Array(46)));
    expect(r.pass("c1", "c2", udp(FORTH, 1, 2))).toEqual([]);
    isSound(r);
  });
});

describe("reject on a bridge", () => {
  const reject = (rejectWith: RejectWith, protocol: number): Chain => ({
    policy: Action.ACCEPT,
    rules: [{ protocol, action: Action.REJECT, rejectWith }],
  });

  it("answers with ICMP from the gateway, through the bridge, to a sender that nobody could route to", () => {
    const r = lan(reject(RejectWith.ADMIN_PROHIBITED, 17));
    const strange = udp({ source: "192.0.2.7", destination: ADDRESSES.c2 }, 4000, 53);
    const out = r.pass("c1", "c2", strange);
    expect(out).toMatchObject([
      {
        port: PORTS.c1,
        destinationMac: MACS.c1,
        sourceMac: GATEWAY_MAC,
        source: "10.55.66.1",
        destination: "192.0.2.7",
        icmpType: 3,
        icmpCode: 13,
        ttl: 64,
        bad: [],
      },
    ]);
    expect(decodeIpv4(out[0].payload as Uint8Array)).toMatchObject({ source: "192.0.2.7", bad: [] });
    expect(r.stopped("bridge-reject")).toBe(1);
    expect(r.router.flows.count).toBe(0);
    isSound(r);
  });

  it("answers TCP with a reset from the station that was asked", () => {
    const r = lan(reject(RejectWith.TCP_RESET, 6));
    expect(r.pass("c1", "c2", tcp(FORTH, 4000, 80, { flags: "S", sequence: 10 }))).toMatchObject([
      {
        port: PORTS.c1,
        destinationMac: MACS.c1,
        sourceMac: MACS.c2,
        source: ADDRESSES.c2,
        destination: ADDRESSES.c1,
        tcpFlags: "RA",
        acknowledgement: 11,
        bad: [],
      },
    ]);
  });

  it("never answers a broadcast", () => {
    const r = lan(reject(RejectWith.PORT_UNREACHABLE, 17));
    expect(r.cry("c1", 0x0800, udp({ ...FORTH, destination: "10.55.66.255" }, 1, 2))).toEqual([]);
    expect(r.stopped("bridge-reject")).toBe(1);
  });
});

describe("what is no IPv4 for one station", () => {
  const multicast = "01:00:5e:00:00:fb";
  const group = udp({ source: ADDRESSES.c1, destination: "224.0.0.251" }, 5353, 5353);

  it("ARP passes always", () => {
    const r = lan(DROP);
    expect(portsOf(r.announce("c1"))).toEqual([PORTS.c2, PORTS.c3]);
    const answer = { operation: 2, senderMac: MACS.c2, sender: ADDRESSES.c2, target: ADDRESSES.c1 } as const;
    expect(portsOf(r.arp(PORTS.c2, { ...answer, targetMac: MACS.c1 }, MACS.c1))).toEqual([PORTS.c1]);
  });

  it("a group's packets are judged one by one, and belong to no flow", () => {
    const rules = [{ destinations: [{ address: word("224.0.0.0"), length: 24 }], action: Action.ACCEPT }];
    const r = lan({ policy: Action.DROP, rules });
    for (let i = 0; i < 2; i++) {
      expect(portsOf(r.cry("c1", 0x0800, group, multicast))).toEqual([PORTS.c2, PORTS.c3]);
    }
    expect(r.cry("c1", 0x0800, udp({ ...FORTH, destination: "255.255.255.255" }, 68, 67))).toEqual([]);
    expect(r.counters("BRIDGE")).toEqual([2, 56, 1, 28]);
    expect(r.stopped("flooded")).toBe(2 + 3);
    expect(r.stopped("bridge-drop")).toBe(1);
    expect(r.router.flows.count).toBe(0);
    isSound(r);
  });

  it("of other protocols the policy decides", () => {
    const ipv6 = new Uint8Array(60);
    const closed = lan(DROP);
    expect(closed.send(PORTS.c1, ethernet(MACS.c2, MACS.c1, 0x86dd, ipv6))).toEqual([]);
    expect(closed.cry("c1", 0x86dd, ipv6, "33:33:00:00:00:01")).toEqual([]);
    expect(closed.stopped("bridge-drop")).toBe(2);
    expect(closed.counters("BRIDGE")[0]).toBe(2);
    const open = lan({ policy: Action.ACCEPT, rules: [{ action: Action.DROP }] });
    expect(open.send(PORTS.c1, ethernet(MACS.c2, MACS.c1, 0x86dd, ipv6)).length).toBe(1);
    expect(open.cry("c1", 0x86dd, ipv6, "33:33:00:00:00:01").length).toBe(2);
  });

  it("a tag hides nothing from the rules", () => {
    const r = lan(STATEFUL);
    const tagged = Uint8Array.from([0, 0, 8, 0, ...udp(BACK, 53, 4000)]);
    expect(r.send(PORTS.c2, ethernet(MACS.c1, MACS.c2, 0x8100, tagged))).toEqual([]);
    expect(r.cry("c2", 0x88a8, tagged)).toEqual([]);
    expect(r.stopped("vlan-unjudged")).toBe(2);
    expect(lan().send(PORTS.c2, ethernet(MACS.c1, MACS.c2, 0x8100, tagged)).length).toBe(1);
  });

  it("stops what is malformed", () => {
    const r = lan({ policy: Action.ACCEPT, rules: [{ protocol: 132, action: Action.DROP }] });
    const packet = udp(FORTH, 4000, 53);
    packet[10] ^= 1;
    expect(r.pass("c1", "c2", packet)).toEqual([]);
    expect(r.pass("c1", "c2", Uint8Array.of(0x45))).toEqual([]);
    expect([r.stopped("ipv4-checksum"), r.stopped("ipv4-malformed")]).toEqual([1, 1]);
    isSound(r);
  });
});

describe("fragments on a bridge", () => {
  const payload = Uint8Array.from({ length: 3000 }, (_, index) => (index * 7) & 0xff);
  const cut = (packet: Uint8Array, size: number, id: number, fields = FORTH): Uint8Array[] => {
    const body = packet.slice(20);
    const count = Math.ceil(body.length / size);
    return Array.from({ length: count }, (_, index) => {
      const fragment = (index + 1 < count ? 0x2000 : 0) | ((index * size) >> 3);
      return ipv4({ ...fields, id, fragment }, packet[9], body.slice(index * size, (index + 1) * size));
    });
  };

  it("are judged as one datagram and leave no larger than they came, with the same identification", () => {
    const r = lan({
      policy: Action.DROP,
      rules: [REPLIES, { ...NEW_FROM_C1, protocol: 17, destinationPorts: [{ low: 53, high: 53 }] }],
    });
    const pieces = cut(udp(FORTH, 4000, 53, payload), 1024, 77);
    expect(r.pass("c1", "c2", pieces[2], pieces[0])).toEqual([]);
    const out = r.pass("c1", "c2", pieces[1]);
    expect(portsOf(out)).toEqual([PORTS.c2, PORTS.c2, PORTS.c2]);
    expect(out.map(({ bytes }) => bytes)).toEqual(pieces.map((piece) => ethernet(MACS.c2, MACS.c1, 0x0800, piece)));
    expect(flowsOf(r)).toMatchObject([{ original: { packets: 1, bytes: 3028 } }]);
    // Of another port: all of it is dropped, and nothing is held.
    expect(r.pass("c1", "c2", ...cut(udp(FORTH, 4000, 54, payload), 1024, 78))).toEqual([]);
    expect(r.stopped("bridge-drop")).toBe(1);
    isSound(r);
  });

  it("are flooded like others, and judged once", () => {
    const r = new Lan(
      planOfThree({ bridge: { policy: Action.DROP, rules: [{ protocol: 17, action: Action.ACCEPT }] } }),
    );
    const out = r.pass("c1", "c2", ...cut(udp(FORTH, 4000, 53, payload), 1480, 5));
    expect(portsOf(out)).toEqual([1, 1, 1, 3, 3, 3]);
    const group = { source: ADDRESSES.c1, destination: "239.1.1.1" };
    const pieces = cut(udp(group, 7400, 7400, payload), 1480, 6, group);
    expect(portsOf(pieces.flatMap((piece) => r.cry("c1", 0x0800, piece, "01:00:5e:01:01:01")))).toEqual([
      1, 1, 1, 3, 3, 3,
    ]);
    expect(r.counters("BRIDGE")[0]).toBe(2);
    isSound(r);
  });

  it("leave in pieces, too, when the chain is turned off in the middle", () => {
    const r = lan(STATEFUL);
    const [first, ...rest] = cut(udp(FORTH, 4000, 53, payload), 1024, 9);
    r.pass("c1", "c2", first);
    r.apply(planOfThree());
    // Nobody collects any more: the rest passes as it comes.
    expect(r.pass("c1", "c2", ...rest).length).toBe(2);
    r.advance(31_000);
    isSound(r);
  });
});

describe("one tuple, switched and routed", () => {
  /** c1 sends to c2 by way of the gateway, as a host with a narrow netmask does. */
  const routed = (r: Lan, packet: Uint8Array) => r.send(PORTS.c1, ethernet(GATEWAY_MAC, MACS.c1, 0x0800, packet));

  it("is two flows, each with its own verdict and counters", () => {
    const r = lan(STATEFUL);
    r.introduce();
    const packet = udp(FORTH, 4000, 53);
    expect(r.pass("c1", "c2", packet)[0]).toMatchObject({ ttl: 64, sourceMac: MACS.c1 });
    expect(routed(r, packet)[0]).toMatchObject({ port: PORTS.c2, ttl: 63, sourceMac: GATEWAY_MAC });
    expect(r.pass("c1", "c2", packet)[0]).toMatchObject({ ttl: 64 });
    expect(flowsOf(r).map(({ original }) => original.packets)).toEqual([2, 1]);
    // Answers belong to the flow of their own way.
    r.pass("c2", "c1", udp(BACK, 53, 4000));
    expect(flowsOf(r).map(({ seenReply }) => seenReply)).toEqual([true, false]);
    isSound(r);
  });

  it("does not let NAT touch what is switched", () => {
    // The routed flow of this tuple is translated.
    const sourceNat = [{ from: { address: word(ADDRESSES.c1), length: 32 }, out: 0 }];
    const r = lan(STATEFUL, { sourceNat });
    r.introduce();
    const packet = udp(FORTH, 4000, 53);
    expect(routed(r, packet)[0]).toMatchObject({ source: "10.55.66.1" });
    expect(r.pass("c1", "c2", packet)[0]).toMatchObject({ source: ADDRESSES.c1, ttl: 64 });
    expect(r.pass("c2", "c1", udp(BACK, 53, 4000))[0]).toMatchObject({ destination: ADDRESSES.c1, ttl: 64 });
    isSound(r);
  });

  it("is two flows in two networks with the same addresses", () => {
    const plan = planOfThree({ bridge: STATEFUL });
    plan.interfaces.push({
      ...plan.interfaces[0],
      index: 2,
      name: "other",
      address: word("10.55.67.1"),
      mac: "02:00:00:00:03:01",
    });
    plan.ports.push({ index: 4, name: "o1", interface: 2 }, { index: 5, name: "o2", interface: 2 });
    plan.bridge = {
      policy: Action.DROP,
      rules: [REPLIES, { inPorts: [PORTS.c1, 4], states: StateBit.NEW, action: Action.ACCEPT }],
    };
    const r = new Lan(plan).meet();
    r.send(5, ethernet("ff:ff:ff:ff:ff:ff", MACS.c2, 0x0806, new Uint8Array(28)));
    r.pass("c1", "c2", udp(FORTH, 4000, 53));
    // In the other network nobody has asked.
    expect(r.send(5, ethernet(MACS.c1, MACS.c2, 0x0800, udp(BACK, 53, 4000)))).toEqual([]);
    expect(r.send(4, ethernet(MACS.c2, MACS.c1, 0x0800, udp(FORTH, 4000, 53))).length).toBe(1);
    expect(r.router.flows.count).toBe(2);
    isSound(r);
    // A network that goes takes its flows along.
    const { interfaces, ports, ...rest } = plan;
    r.router.removePort(4);
    r.router.removePort(5);
    r.apply({ ...rest, interfaces: interfaces.slice(0, 2), ports: ports.slice(0, 4) });
    expect(r.router.flows.count).toBe(1);
    isSound(r);
  });
});
