/** Rows of `tapir show` and the API: the dataplane's numbers with the configuration's names. */
import type { FdbRow, NeighbourRow, RulesResult } from "../dataplane/messages.ts";
import { KERNEL_HOP } from "../dataplane/plan.ts";
import type { ChainCounters } from "../filter/compiled_rules.ts";
import { describeAddresses, describeRange, describeRule } from "../filter/format.ts";
import { type Chain, type Range, type Rule, TABLE_NAMES, type TableName } from "../filter/rule_set.ts";
import { Protocol } from "../packet/ipv4.ts";
import { formatAddress, type Prefix } from "../packet/ipv4_address.ts";
import { TableId } from "../routing/policy.ts";
import type { RunningRouter } from "./router.ts";
import { kindName } from "./routing/names.ts";

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

const OWNERS: Record<string, string> = { configuration: "configured", command: "added" };

/** Routes of the table main, longest prefix first. */
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
  const given = [...router.routing.routes.entries(TableId.MAIN)].flatMap(({ place, routes }) =>
    routes.map(({ option, owner }) => ({
      to: prefix(place),
      via:
        option.nextHops
          .map(({ via }) => (via === undefined || via === KERNEL_HOP ? "-" : formatAddress(via)))
          .join(",") || null,
      interface: option.nextHops.map((hop) => name.interface(hop.interface)).join(",") || null,
      kind: option.kind === undefined ? (OWNERS[owner] ?? "followed") : kindName(option.kind),
      length: place.length,
    })),
  );
  const rows = [...connected, ...given].sort((a, b) => b.length - a.length);
  return rows.map(({ length: _, ...row }) => row);
}

/** Chains that are in use: INPUT and FORWARD always, the others when they have rules or a policy that drops. */
export function showRules(router: RunningRouter, counted: RulesResult): object {
  const { rules } = router.resolved.plan;
  const shown: Record<string, object> = {};
  for (const table of TABLE_NAMES) {
    for (const [index, chain] of rules[table].chains.entries()) {
      const isUsed = chain.rules.length > 0 || chain.policy === "DROP" || ["INPUT", "FORWARD"].includes(chain.name);
      if (isUsed && (table === "filter" || chain.rules.length > 0))
        shown[nameOf(table, chain)] = describeChain(chain, counted[table][index]);
    }
  }
  return shown;
}

/** Built-in chains by the configuration's names, those of users by their own. */
function nameOf(table: TableName, { name, policy }: Chain): string {
  if (policy === undefined) return table === "filter" ? name : `${table} ${name}`;
  return table === "filter" ? name.toLowerCase() : `${table} ${name.toLowerCase()}`;
}

function describeChain(shown: Chain, counted: ChainCounters): object {
  const policy = shown.rules.length;
  return {
    policy: shown.policy === undefined ? "return" : shown.policy.toLowerCase(),
    policyPackets: counted.packets[policy],
    policyBytes: counted.bytes[policy],
    rules: shown.rules.map((rule, index) => ({
      rule: describeRule(rule),
      packets: counted.packets[index],
      bytes: counted.bytes[index],
    })),
  };
}

/** Rules in the order in which they are asked. A port that goes on as it is has no port in `to`. */
export async function showNat(router: RunningRouter): Promise<object[]> {
  const { plan } = router.resolved;
  const { profile } = plan.conntrack;
  const addressOf = (name: string): string => {
    const found = plan.interfaces.find((each) => each.name === name);
    return found === undefined ? "" : formatAddress(found.address);
  };
  const rulesOf = (name: string): Rule[] => plan.rules.nat.chains.find((chain) => chain.name === name)?.rules ?? [];
  const sources = rulesOf("POSTROUTING").flatMap(({ target, source, out }) => {
    if (target?.kind !== "SNAT" && target?.kind !== "MASQUERADE") return [];
    const uplink = out?.is.join(",") ?? "";
    const addresses = target.kind === "SNAT" ? target.addresses : undefined;
    return {
      kind: target.kind.toLowerCase(),
      profile,
      proto: null,
      from: source === undefined ? "0.0.0.0/0" : source.is.map(prefixText).join(","),
      out: uplink,
      to: addresses === undefined ? addressOf(uplink) : describeAddressRange(addresses),
      ports: target.ports === undefined ? null : describeRange(target.ports),
      fullyRandom: target.randomFully ?? false,
    };
  });
  const published = rulesOf("PREROUTING").flatMap(({ target, destination, protocol, matches }) => {
    if (target?.kind !== "DNAT") return [];
    const ports = matches.find((match) => match.kind === "tcp" || match.kind === "udp")?.destinationPort?.is;
    const port = target.ports === undefined ? "" : `:${describeRange(target.ports)}`;
    const from = destination?.is.map(describeAddressRange).join(",") ?? "";
    return {
      kind: target.publishes === undefined ? "dnat" : "publish",
      profile,
      proto: protocol === undefined ? null : protocolName(protocol.is),
      from: `${from}${ports === undefined ? "" : `:${describeRange(ports)}`}`,
      out: target.publishes ?? null,
      to: `${target.addresses === undefined ? "" : describeAddressRange(target.addresses)}${port}`,
      ports: null,
      fullyRandom: false,
    };
  });
  return [...sources, ...published];
}

/** With its length, also where that is 32. */
function prefixText(range: Range): string {
  const text = describeAddresses(range);
  return range.first === range.last ? `${text}/32` : text;
}

function describeAddressRange({ first, last }: Range): string {
  return first === last ? formatAddress(first) : `${formatAddress(first)}-${formatAddress(last)}`;
}

function protocolName(protocol: number): string {
  if (protocol === Protocol.TCP) return "tcp";
  return protocol === Protocol.UDP ? "udp" : String(protocol);
}
