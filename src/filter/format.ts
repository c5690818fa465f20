/** A rule as one line of text, in the words of the configuration. */
import { formatAddress } from "../packet/ipv4_address.ts";
import { Action, type PortRange, type Prefix, RejectWith, type Rule, StateBit } from "./rule.ts";

export interface Names {
  interface(index: number): string;
  port(index: number): string;
}

const PROTOCOLS: Record<number, string> = { 1: "icmp", 6: "tcp", 17: "udp" };
const ACTIONS: Record<number, string> = { [Action.ACCEPT]: "accept", [Action.DROP]: "drop", [Action.REJECT]: "reject" };
const REJECTS: Record<number, string> = {
  [RejectWith.NET_UNREACHABLE]: "icmp-net-unreachable",
  [RejectWith.HOST_UNREACHABLE]: "icmp-host-unreachable",
  [RejectWith.PROTOCOL_UNREACHABLE]: "icmp-proto-unreachable",
  [RejectWith.PORT_UNREACHABLE]: "icmp-port-unreachable",
  [RejectWith.NET_PROHIBITED]: "icmp-net-prohibited",
  [RejectWith.HOST_PROHIBITED]: "icmp-host-prohibited",
  [RejectWith.ADMIN_PROHIBITED]: "icmp-admin-prohibited",
  [RejectWith.TCP_RESET]: "tcp-reset",
};

/** As in `in lab out wan from 10.55.66.0/24 proto tcp dport 80,443 state new -> accept`. */
export function describeRule(rule: Rule, names: Names): string {
  const parts: string[] = [];
  const add = (word: string, values: readonly string[] | undefined): void => {
    if (values !== undefined) parts.push(word, values.join(","));
  };
  add("in", places(rule.inInterfaces, rule.inPorts, names));
  add("out", places(rule.outInterfaces, rule.outPorts, names));
  add("from", rule.sources?.map(describePrefix));
  add("to", rule.destinations?.map(describePrefix));
  if (rule.protocol !== undefined) add("proto", [PROTOCOLS[rule.protocol] ?? String(rule.protocol)]);
  add("sport", rule.sourcePorts?.map(describeRange));
  add("dport", rule.destinationPorts?.map(describeRange));
  add("icmpType", rule.icmpTypes?.map(describeRange));
  if (rule.states !== undefined) add("state", describeStates(rule.states));
  const reject =
    rule.action === Action.REJECT ? ` with ${REJECTS[rule.rejectWith ?? RejectWith.PORT_UNREACHABLE]}` : "";
  const name = rule.name === undefined ? "" : ` (${rule.name})`;
  return [...parts, "->", `${ACTIONS[rule.action]}${reject}${name}`].join(" ");
}

function places(interfaces: number[] | undefined, ports: number[] | undefined, names: Names): string[] | undefined {
  if (interfaces === undefined && ports === undefined) return undefined;
  return [...(interfaces ?? []).map(names.interface), ...(ports ?? []).map(names.port)];
}

function describePrefix({ address, length }: Prefix): string {
  return length === 32 ? formatAddress(address) : `${formatAddress(address)}/${length}`;
}

function describeRange({ low, high }: PortRange): string {
  return low === high ? String(low) : `${low}-${high}`;
}

function describeStates(states: number): string[] {
  return Object.entries(StateBit)
    .filter(([, bit]) => (states & bit) !== 0)
    .map(([name]) => name.toLowerCase());
}
