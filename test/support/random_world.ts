/** Random configurations and the packets that live in them: most of them are what a network sees, some are not. */

import type { RouterPlan } from "../../src/dataplane/plan.ts";
import { arp, echoReply, echoRequest, ethernet, icmp, ipv4, tcp, udp, word } from "./frames.ts";
import {
  BROADCAST,
  C1_MAC,
  C2_MAC,
  defaultPlan,
  GATEWAY_MAC,
  type Out,
  Port,
  SERVER_MAC,
  UPLINK_MAC,
} from "./router.ts";
import { Action, planOf, RejectWith, type Rule, type ShortPlan, StateBit } from "./rules.ts";

export interface RandomFrame {
  port: number;
  frame: Uint8Array;
  /** The offload header before it; absent: zeros. */
  vnet?: Uint8Array;
}

export type Below = (limit: number) => number;

const pick = <T>(below: Below, list: readonly T[]): T => list[below(list.length)];

function randomRule(below: Below): Rule {
  const action = pick(below, [Action.ACCEPT, Action.ACCEPT, Action.DROP, Action.REJECT]);
  const rule: Rule = { action };
  if (below(2) === 0) rule.inInterfaces = [below(2)];
  if (below(2) === 0) rule.outInterfaces = [below(2)];
  if (below(3) === 0) rule.protocol = pick(below, [1, 6, 17]);
  if (below(4) === 0) rule.sources = [{ address: word("10.55.66.2"), length: pick(below, [24, 32]) }];
  if (below(4) === 0) rule.destinationPorts = [{ low: pick(below, [53, 80, 4000]), high: 65_535 }];
  if (below(3) === 0)
    rule.states = pick(below, [StateBit.NEW, StateBit.ESTABLISHED | StateBit.RELATED, StateBit.INVALID]);
  if (action === Action.REJECT) rule.rejectWith = rule.protocol === 6 ? RejectWith.TCP_RESET : pick(below, [1, 3, 13]);
  return rule;
}

const rules = (below: Below): Rule[] => Array.from({ length: below(5) }, () => randomRule(below));

function shortPlan(below: Below): ShortPlan {
  const plan = defaultPlan();
  const policy = (): typeof Action.ACCEPT | typeof Action.DROP => (below(4) === 0 ? Action.DROP : Action.ACCEPT);
  plan.forward = { policy: policy(), rules: rules(below) };
  if (below(3) === 0) plan.input = { policy: policy(), rules: rules(below) };
  if (below(3) === 0) plan.bridge = { policy: policy(), rules: rules(below) };
  const nat = below(8);
  if (nat < 2) plan.sourceNat = [];
  else if (nat < 4) plan.sourceNat[0].fullyRandom = true;
  else if (nat < 6) plan.sourceNat[0].ports = { first: 5000, last: 5003 };
  if (below(2) === 0) {
    const ports = { first: 80, last: 80 };
    plan.publish = [
      { protocol: pick(below, [6, 17]), interface: 1, ports, to: word("10.55.66.3"), toPort: 80 + below(2) },
    ];
  }
  if (below(3) === 0) plan.ports[0].guard = { mac: C1_MAC, address: word("10.55.66.2") };
  if (below(4) === 0) plan.conntrack.profile = "bcp";
  if (below(4) === 0) plan.conntrack.flowsPerHost = 3;
  if (below(5) === 0) plan.conntrack.loose = false;
  if (below(4) === 0) plan.routes = [];
  if (below(3) === 0) plan.interfaces[1].mtu = 576;
  plan.ports.push({ index: 3, name: "c3", interface: 0 });
  if (below(4) === 0) for (const port of plan.ports) if (port.interface === 0) port.isolated = true;
  return plan;
}

/** A plan with what a short one cannot say: chains of users, limits, marks, logs, an open or closed OUTPUT. */
export function randomPlan(below: Below): RouterPlan {
  const plan = planOf(shortPlan(below));
  const { chains } = plan.rules.filter;
  const forward = chains.find(({ name }) => name === "FORWARD");
  if (below(3) === 0) {
    const limit = { kind: "limit", packets: 2, perSeconds: 1, burst: 2 } as const;
    forward?.rules.unshift({ matches: [limit], target: { kind: "LOG", level: 4, prefix: "seen", options: 0 } });
    forward?.rules.unshift({ matches: [{ ...limit, burst: 3 }], target: { kind: "ACCEPT" } });
  }
  if (below(3) === 0) {
    const dport = { kind: "udp", destinationPort: { is: { first: 53, last: 53 } } } as const;
    chains.push({ name: "USER", rules: [{ matches: [dport], protocol: { is: 17 }, target: { kind: "RETURN" } }] });
    forward?.rules.unshift({ matches: [], target: { kind: "MARK", value: 7, mask: -1 } });
    forward?.rules.unshift({ matches: [], target: { kind: "JUMP", chain: "USER" } });
  }
  const output = chains.find(({ name }) => name === "OUTPUT");
  if (below(5) === 0 && output !== undefined) output.policy = "DROP";
  return plan;
}

const INSIDE = ["10.55.66.2", "10.55.66.3", "10.55.66.2", "10.55.66.9"];
const OUTSIDE = ["203.0.113.2", "203.0.113.2", "203.0.113.77", "198.51.100.4", "192.0.2.1"];
const ROUTER = ["10.55.66.1", "203.0.113.1"];
const FLAGS = ["S", "S", "S", "A", "SA", "PA", "FA", "R", "RA", "", "SF"];

interface Ends {
  source: string;
  destination: string;
}

function packet(below: Below, ends: Ends, answered: Out | undefined): Uint8Array {
  const fields = {
    ...ends,
    ttl: pick(below, [64, 64, 64, 64, 2, 1]),
    id: below(4),
    fragment: pick(below, [0x4000, 0x4000, 0]),
  };
  const sourcePort = pick(below, [4000, 4000, 4001, 80, 53]);
  const destinationPort = pick(below, [80, 80, 53, 443, 4000]);
  const payload = new Uint8Array(pick(below, [0, 8, 24, 600, 1500]));
  switch (below(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return udp(fields, sourcePort, destinationPort, payload);
    case 4:
    case 5:
    case 6:
      return tcp(fields, sourcePort, destinationPort, {
        flags: pick(below, FLAGS),
        sequence: below(3) * 1000,
        acknowledgement: below(3) * 1000,
        payload: payload.subarray(0, below(2) * 24),
      });
    case 7:
      return echoRequest(fields, 5 + below(3), 1, payload);
    case 8: {
      // A datagram in two halves, of which either may come first, twice, or not at all.
      const whole = ipv4({ ...fields, fragment: 0 }, 17, udp(ends, sourcePort, 53, new Uint8Array(56)).subarray(20));
      const isFirst = below(2) === 0;
      const part = isFirst ? whole.subarray(20, 52) : whole.subarray(52);
      return ipv4({ ...fields, fragment: isFirst ? 0x2000 : 4 }, 17, part);
    }
    case 9: {
      const quoted = answered === undefined ? udp(ends, sourcePort, 53) : answered.bytes.subarray(14);
      const destination = answered?.source ?? ends.destination;
      return icmp(
        { ...fields, destination },
        pick(below, [3, 3, 11, 5]),
        pick(below, [0, 1, 3, 4]),
        0,
        quoted.slice(0, 548),
      );
    }
    case 10:
      return ipv4(fields, pick(below, [47, 99, 132]), payload);
    default:
      return echoReply(fields, 5);
  }
}

/** The answer to a packet that the router has sent. */
function answerTo(below: Below, out: Out): Uint8Array | undefined {
  const { source, destination, protocol, sourcePort = 0, destinationPort = 0 } = out;
  if (source === undefined || destination === undefined) return undefined;
  const fields = { source: destination, destination: source };
  if (protocol === 17) return udp(fields, destinationPort, sourcePort, new Uint8Array(8));
  if (protocol === 6) {
    const acknowledgement = ((out.sequence ?? 0) + 1) >>> 0;
    const flags = pick(below, ["SA", "SA", "A", "RA", "FA"]);
    return tcp(fields, destinationPort, sourcePort, { flags, sequence: below(2) * 77, acknowledgement });
  }
  return protocol === 1 && out.icmpType === 8 ? echoReply(fields, (out.icmpRest ?? 0) >>> 16) : undefined;
}

function randomArp(below: Below): { port: number; frame: Uint8Array } {
  const isInside = below(3) > 0;
  const [senderMac, sender] = isInside
    ? pick(below, [
        [C1_MAC, "10.55.66.2"],
        [C2_MAC, "10.55.66.3"],
        [C2_MAC, "10.55.66.1"],
        [C1_MAC, "0.0.0.0"],
      ])
    : [SERVER_MAC, pick(below, ["203.0.113.2", "203.0.113.77", "198.51.100.4"])];
  const operation = pick(below, [1, 1, 2] as const);
  const target = pick(below, isInside ? ["10.55.66.1", "10.55.66.3"] : ["203.0.113.1", "203.0.113.9"]);
  const own = isInside ? GATEWAY_MAC : UPLINK_MAC;
  const frame = arp({ operation, senderMac, sender, targetMac: own, target });
  const port = isInside ? (senderMac === C1_MAC ? Port.C1 : Port.C2) : Port.WAN;
  return { port, frame: ethernet(operation === 1 ? BROADCAST : own, senderMac, 0x0806, frame) };
}

/** A frame and the port that it comes in by. `last` is one that the router has sent. */
export function randomFrame(below: Below, last: Out | undefined): RandomFrame {
  const kind = below(20);
  if (kind === 0) return randomArp(below);
  if (kind === 1)
    return { port: Port.C1, frame: ethernet(pick(below, [C2_MAC, BROADCAST]), C1_MAC, 0x86dd, new Uint8Array(40)) };
  if (kind === 2) return { port: below(4), frame: Uint8Array.from({ length: below(120) }, () => below(256)) };
  if (kind < 7 && last !== undefined) {
    const answer = answerTo(below, last);
    if (answer !== undefined && last.port === Port.WAN)
      return { port: Port.WAN, frame: ethernet(UPLINK_MAC, SERVER_MAC, 0x0800, answer) };
    if (answer !== undefined) {
      const port = last.destinationMac === C2_MAC ? Port.C2 : Port.C1;
      return { port, frame: ethernet(last.sourceMac, last.destinationMac, 0x0800, answer) };
    }
  }
  const frame = routed(below, kind, last);
  if (below(12) === 0) frame.frame[below(frame.frame.length)] ^= 1 << below(8);
  return below(15) === 0 ? { ...frame, vnet: partial(frame.frame) } : frame;
}

function routed(below: Below, kind: number, last: Out | undefined): { port: number; frame: Uint8Array } {
  if (kind < 10) {
    const destination = pick(below, [...ROUTER, ...INSIDE]);
    const ends = { source: pick(below, OUTSIDE), destination };
    return { port: Port.WAN, frame: ethernet(UPLINK_MAC, SERVER_MAC, 0x0800, packet(below, ends, last)) };
  }
  if (kind < 13) {
    // Inside the network: bridged, or to a group.
    const ends = { source: "10.55.66.2", destination: pick(below, ["10.55.66.3", "10.55.66.255", "224.0.0.5"]) };
    const to = pick(below, [C2_MAC, C2_MAC, BROADCAST, "02:00:00:00:00:77", C1_MAC]);
    return { port: Port.C1, frame: ethernet(to, C1_MAC, 0x0800, packet(below, ends, undefined)) };
  }
  const isC1 = below(3) > 0;
  const source = isC1 ? pick(below, ["10.55.66.2", "10.55.66.2", "10.55.66.2", "10.55.66.3"]) : "10.55.66.3";
  const ends = { source, destination: pick(below, [...OUTSIDE, ...OUTSIDE, ...ROUTER, "10.55.66.3", "10.55.66.255"]) };
  const frame = ethernet(GATEWAY_MAC, isC1 ? C1_MAC : C2_MAC, 0x0800, packet(below, ends, last));
  return { port: isC1 ? Port.C1 : Port.C2, frame };
}

/** An offload header that says the checksum is partial: where it lies is right for TCP and UDP without options. */
function partial(frame: Uint8Array): Uint8Array {
  const header = new Uint8Array(10);
  header[0] = 1;
  header[6] = 34;
  header[8] = frame[23] === 6 ? 16 : 6;
  return header;
}
