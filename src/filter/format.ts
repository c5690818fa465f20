/** A rule as one line of text, in the words of the configuration. */
import { formatAddress } from "../packet/ipv4_address.ts";
import { formatMac } from "../packet/mac_address.ts";
import { type Match, type Range, type RejectAnswer, type Rule, RuleState, type Target, type Wish } from "./rule_set.ts";

const PROTOCOLS: Record<number, string> = { 1: "icmp", 6: "tcp", 17: "udp" };

export const REJECT_NAMES: Record<RejectAnswer, string> = {
  0: "icmp-net-unreachable",
  1: "icmp-host-unreachable",
  2: "icmp-proto-unreachable",
  3: "icmp-port-unreachable",
  9: "icmp-net-prohibited",
  10: "icmp-host-prohibited",
  13: "icmp-admin-prohibited",
  "tcp-reset": "tcp-reset",
};

/** As in `in lab out wan from 10.55.66.0/24 proto tcp dport 80,443 state new -> accept`. */
export function describeRule(rule: Rule): string {
  const parts: string[] = [];
  const add = <T>(word: string, wish: Wish<T> | undefined, show: (value: T) => string): void => {
    if (wish !== undefined) parts.push(...(wish.not === true ? ["not"] : []), word, show(wish.is));
  };
  add("in", rule.in, (names) => names.join(","));
  add("out", rule.out, (names) => names.join(","));
  add("from", rule.source, (ranges) => ranges.map(describeAddresses).join(","));
  add("to", rule.destination, (ranges) => ranges.map(describeAddresses).join(","));
  add("proto", rule.protocol, (number) => PROTOCOLS[number] ?? String(number));
  for (const match of rule.matches) describeMatch(match, add, parts);
  const name = rule.name === undefined ? "" : ` (${rule.name})`;
  return [...parts, "->", `${describeTarget(rule.target)}${name}`].join(" ");
}

type Add = <T>(word: string, wish: Wish<T> | undefined, show: (value: T) => string) => void;

function describeMatch(match: Match, add: Add, parts: string[]): void {
  switch (match.kind) {
    case "tcp":
    case "udp":
      add("sport", match.sourcePort, describeRange);
      add("dport", match.destinationPort, describeRange);
      if (match.kind === "tcp") {
        add("flags", match.flags, ({ mask, set }) => `0x${mask.toString(16)}/0x${set.toString(16)}`);
        add("option", match.option, String);
      }
      break;
    case "icmp":
      add("icmpType", match.types, (types) => types.map(describeIcmp).join(","));
      break;
    case "multiport": {
      const word = { source: "sport", destination: "dport", either: "port" }[match.side];
      add(word, match.ports, (ports) => ports.map(describeRange).join(","));
      break;
    }
    case "iprange":
      add("from", match.source, describeAddresses);
      add("to", match.destination, describeAddresses);
      break;
    case "conntrack":
    case "state":
      add("state", match.states, describeStates);
      break;
    case "comment":
      parts.push(JSON.stringify(match.text));
      break;
    case "mac":
      parts.push(...(match.not === true ? ["not"] : []), "mac", formatMac(match.high, match.low));
      break;
    case "limit":
      parts.push("limit", `${match.packets}/${match.perSeconds}s`, "burst", String(match.burst));
      break;
    default: {
      const { kind, ...rest } = match;
      parts.push(kind, JSON.stringify(rest));
    }
  }
}

/** In the words of `iptables`: what is not a verdict names its target. */
function describeTarget(target: Target | undefined): string {
  if (target === undefined) return "count";
  const word = target.kind.toLowerCase();
  switch (target.kind) {
    case "REJECT":
      return `${word} with ${REJECT_NAMES[target.answer]}`;
    case "JUMP":
    case "GOTO":
      return `${word} ${target.chain}`;
    case "SNAT":
    case "DNAT": {
      const ports = target.ports === undefined ? "" : `:${describeRange(target.ports)}`;
      return `${word} to ${target.addresses === undefined ? "" : describeAddresses(target.addresses)}${ports}`;
    }
    case "MARK":
      return `${word} 0x${(target.value >>> 0).toString(16)}`;
    case "LOG":
      return target.prefix === "" ? word : `${word} ${JSON.stringify(target.prefix)}`;
    default:
      return word;
  }
}

export function describeAddresses({ first, last }: Range): string {
  const size = ((last - first) >>> 0) + 1;
  if (size === 1) return formatAddress(first);
  const isPrefix = Number.isInteger(Math.log2(size)) && (first >>> 0) % size === 0;
  return isPrefix
    ? `${formatAddress(first)}/${32 - Math.log2(size)}`
    : `${formatAddress(first)}-${formatAddress(last)}`;
}

export function describeRange({ first, last }: Range): string {
  return first === last ? String(first) : `${first}-${last}`;
}

function describeIcmp({ type, codes }: { type: number; codes: Range }): string {
  return codes.first === 0 && codes.last === 255 ? String(type) : `${type}/${describeRange(codes)}`;
}

function describeStates(states: number): string {
  return Object.entries(RuleState)
    .filter(([, bit]) => (states & bit) !== 0)
    .map(([name]) => name.toLowerCase())
    .join(",");
}
