/** Policy rules, permanent neighbours and the tables that are followed. */
import type { NeighbourPlan } from "../../dataplane/plan.ts";
import { formatAddress } from "../../packet/ipv4_address.ts";
import { parseMac } from "../../packet/mac_address.ts";
import { DEFAULT_POLICY, type PolicyRule, TableId } from "../../routing/policy.ts";
import { readAddress, readPrefixOrAddress } from "./addresses.ts";
import type { InterfaceBuilder } from "./build_interfaces.ts";
import { ROUTE_KINDS, readInterface, readVia } from "./build_routes.ts";
import { netnsPath } from "./devices.ts";
import { type Path, quote, type Report } from "./errors.ts";
import { findNamed, type Names } from "./names.ts";
import type { Configuration } from "./schema.ts";
import type { NeighbourConfiguration, PolicyRuleConfiguration } from "./schema_routing.ts";
import type { TableNames } from "./table_names.ts";

/** A kernel's routing table that is followed. */
export interface FollowPlan {
  /** Path of the namespace. */
  netns: string;
  /** What it is called in messages. */
  name: string;
  table: number;
  /** The router's own table. */
  into: number;
}

/** The configured rules, and those that are always there. */
export function buildPolicy(
  configuration: Configuration,
  interfaces: InterfaceBuilder,
  names: Names,
  tables: TableNames,
  report: Report,
): PolicyRule[] {
  const rules = (configuration.routing?.rules ?? []).flatMap((rule, index) => {
    return buildRule(rule, ["routing", "rules", index], interfaces, names, tables, report) ?? [];
  });
  return [...rules, ...DEFAULT_POLICY].sort((left, right) => left.priority - right.priority);
}

function buildRule(
  rule: PolicyRuleConfiguration,
  path: Path,
  interfaces: InterfaceBuilder,
  names: Names,
  tables: TableNames,
  report: Report,
): PolicyRule | undefined {
  const from = rule.from === undefined ? undefined : readPrefixOrAddress(rule.from, [...path, "from"], report);
  const to = rule.to === undefined ? undefined : readPrefixOrAddress(rule.to, [...path, "to"], report);
  const fwmark = rule.fwmark === undefined ? undefined : readMark(rule.fwmark, [...path, "fwmark"], report);
  const iif = rule.iif === undefined ? undefined : readIngress(rule.iif, [...path, "iif"], interfaces, names, report);
  if ((rule.lookup === undefined) === (rule.type === undefined)) {
    report(path, 'a policy rule needs either "lookup" or "type"', "key");
    return undefined;
  }
  const table = rule.lookup === undefined ? undefined : tables.read(rule.lookup, [...path, "lookup"], report);
  const action = rule.type === undefined ? { table: table ?? TableId.MAIN } : { kind: ROUTE_KINDS[rule.type] };
  return {
    priority: rule.priority,
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(rule.not === true ? { not: true as const } : {}),
    ...(fwmark === undefined ? {} : { fwmark }),
    ...(iif === undefined ? {} : { iif }),
    action,
  };
}

/** A mark, and a mask behind a slash; decimal or hexadecimal. */
export function readMark(
  mark: string | number,
  path: Path,
  report: Report,
): { value: number; mask: number } | undefined {
  const words = String(mark).split("/");
  const read = words.map((word) => (/^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(word) ? Number(word) : Number.NaN));
  if (words.length > 2 || !read.every((word) => word <= 0xffffffff)) {
    report(path, `expected a mark, or a mark and a mask like 0x1/0xff, not ${quote(mark)}`);
    return undefined;
  }
  const [value, mask = 0xffffffff] = read;
  return { value: value | 0, mask: mask | 0 };
}

function readIngress(
  name: string,
  path: Path,
  interfaces: InterfaceBuilder,
  names: Names,
  report: Report,
): PolicyRule["iif"] {
  const named = findNamed(names, name, path, report);
  if (named === undefined) return undefined;
  if (named.kind === "port") return { port: interfaces.portsOf.get(name)?.[0] ?? -1 };
  return { interface: interfaces.indexOfInterface.get(name) ?? -1 };
}

export function buildNeighbours(
  configuration: Configuration,
  interfaces: InterfaceBuilder,
  report: Report,
): NeighbourPlan[] {
  const places = new Set<string>();
  return (configuration.neighbours ?? []).flatMap((neighbour, index) => {
    const path = ["neighbours", index];
    const built = buildNeighbour(neighbour, path, interfaces, report);
    if (built === undefined) return [];
    const key = `${built.interface} ${built.address}`;
    if (places.has(key)) report([...path, "address"], `a second neighbour ${formatAddress(built.address)}`);
    places.add(key);
    return built;
  });
}

function buildNeighbour(
  { address: text, dev, mac }: NeighbourConfiguration,
  path: Path,
  interfaces: InterfaceBuilder,
  report: Report,
): NeighbourPlan | undefined {
  const { high } = parseMac(mac);
  if ((high & 0x0100) !== 0) report([...path, "mac"], `${mac} is a multicast address`);
  const lower = mac.toLowerCase();
  if (dev === undefined) {
    const found = readVia(text, [...path, "address"], interfaces, report);
    return found === undefined ? undefined : { interface: found.interface, address: found.via, mac: lower };
  }
  const address = readAddress(text, [...path, "address"], report);
  const index = readInterface(dev, [...path, "dev"], interfaces, report);
  if (address === undefined || index === undefined) return undefined;
  if (interfaces.connected.some((each) => each.address === address)) {
    report([...path, "address"], `${text} is the router's own address`);
  }
  return { interface: index, address, mac: lower };
}

export function buildFollows(configuration: Configuration, tables: TableNames, report: Report): FollowPlan[] {
  const { follow } = configuration.routing ?? {};
  if (follow === undefined) return [];
  const list = Array.isArray(follow) ? follow : [follow];
  return list.flatMap((each, index) => {
    const path = ["routing", "follow", ...(Array.isArray(follow) ? [index] : [])];
    const { netns, pid, table = "main", into = "main" } = each;
    const place = netnsPath(each);
    const target = tables.read(into, [...path, "into"], report);
    if (place === undefined) report(path, 'what is followed needs "netns" or "pid"', "key");
    if (netns !== undefined && pid !== undefined)
      report([...path, "pid"], '"netns" and "pid" exclude each other', "key");
    if (place === undefined || target === undefined) return [];
    const number = typeof table === "number" ? table : table === "main" ? TableId.MAIN : TableId.DEFAULT;
    return { netns: place, name: netns ?? `pid ${pid}`, table: number, into: target };
  });
}
