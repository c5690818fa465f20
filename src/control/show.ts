/** Rows of `tapir show` and the API: the dataplane's numbers with the configuration's names. */
import type { FdbRow, NeighbourRow, RuleCounters, RulesResult } from "../dataplane/messages.ts";
import { describeRule } from "../filter/format.ts";
import { Action, type Chain, type Prefix } from "../filter/rule.ts";
import { Protocol } from "../packet/ipv4.ts";
import { formatAddress } from "../packet/ipv4_address.ts";
import type { RunningRouter } from "./router.ts";

function names(router: RunningRouter) {
  const { plan } = router.resolved;
  return {
    interface: (index: number): string => plan.interfaces.find((each) => each.index === index)?.name ?? `#${index}`,
    port: (index: number): string => plan.ports.find((each) => each.index === index)?.name ?? `#${index}`,
  };
}

const prefix = (value: Prefix): string => `${formatAddress(value.address)}/${value.length}`;

export async function showFdb(router: RunningRouter): Promise<object[]> {
  const name = names(router);
  const rows = (await router.show("fdb")) as FdbRow[];
  return rows.map((row) => ({
    network: name.interface(row.network),
    mac: row.mac,
    port: name.port(row.port),
    ageSeconds: Math.floor(row.ageMs / 1000),
  }));
}

export async function showNeighbours(router: RunningRouter): Promise<object[]> {
  const name = names(router);
  const rows = (await router.show("neighbours")) as NeighbourRow[];
  return rows.map((row) => ({ ...row, interface: name.interface(row.interface) }));
}

/** Connected and configured routes, longest prefix first. */
export async function showRoutes(router: RunningRouter): Promise<object[]> {
  const name = names(router);
  const { plan } = router.resolved;
  const connected = plan.interfaces.map((each) => {
    const network = each.address & (each.prefixLength === 0 ? 0 : -1 << (32 - each.prefixLength));
    return {
      to: prefix({ address: network, length: each.prefixLength }),
      via: null,
      interface: each.name,
      kind: "connected",
      length: each.prefixLength,
    };
  });
  const configured = plan.routes.map((route) => ({
    to: prefix(route.to),
    via: route.via === undefined ? null : formatAddress(route.via),
    interface: name.interface(route.interface),
    kind: "configured",
    length: route.to.length,
  }));
  const rows = [...connected, ...configured].sort((a, b) => b.length - a.length);
  return rows.map(({ length: _, ...row }) => row);
}

export function showRules(router: RunningRouter, counted: RulesResult): object {
  const { forward, input, bridge } = router.resolved.plan;
  return {
    forward: chain(router, forward, counted.forward),
    input: chain(router, input, counted.input),
    ...(bridge === undefined ? {} : { bridge: chain(router, bridge, counted.bridge) }),
  };
}

function chain(router: RunningRouter, shown: Chain, counted: RuleCounters): object {
  const name = names(router);
  const policy = shown.rules.length;
  return {
    policy: shown.policy === Action.ACCEPT ? "accept" : "drop",
    policyPackets: counted.packets[policy],
    policyBytes: counted.bytes[policy],
    rules: shown.rules.map((rule, index) => ({
      rule: describeRule(rule, name),
      packets: counted.packets[index],
      bytes: counted.bytes[index],
    })),
  };
}

/** Rules in the order in which they are asked. A port that goes on as it is has no port in `to`. */
export async function showNat(router: RunningRouter): Promise<object[]> {
  const { plan } = router.resolved;
  const { profile } = plan.conntrack;
  const name = names(router);
  const addressOf = (index: number): string => {
    const found = plan.interfaces.find((each) => each.index === index);
    return found === undefined ? "" : formatAddress(found.address);
  };
  const sources = plan.sourceNat.map((rule) => ({
    kind: rule.to === undefined ? "masquerade" : "snat",
    profile,
    proto: null,
    from: prefix(rule.from),
    out: name.interface(rule.out),
    to: rule.to === undefined ? addressOf(rule.out) : range(formatAddress(rule.to.first), formatAddress(rule.to.last)),
    ports: rule.ports === undefined ? null : range(String(rule.ports.first), String(rule.ports.last)),
    fullyRandom: rule.fullyRandom ?? false,
  }));
  const published = plan.publish.map((rule) => {
    const { first, last } = rule.ports;
    const port = rule.toPort === undefined ? "" : `:${range(String(rule.toPort), String(rule.toPort + last - first))}`;
    return {
      kind: "publish",
      profile,
      proto: protocolName(rule.protocol),
      from: `${addressOf(rule.interface)}:${range(String(first), String(last))}`,
      out: name.interface(rule.interface),
      to: `${formatAddress(rule.to)}${port}`,
      ports: null,
      fullyRandom: false,
    };
  });
  return [...sources, ...published];
}

function range(first: string, last: string): string {
  return first === last ? first : `${first}-${last}`;
}

function protocolName(protocol: number): string {
  return protocol === Protocol.TCP ? "tcp" : "udp";
}
