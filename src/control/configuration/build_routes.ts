/** Configured routes, and the default route of the uplink. */
import type { RoutePlan } from "../../dataplane/plan.ts";
import { contains, formatAddress } from "../../packet/ipv4_address.ts";
import { TableId } from "../../routing/policy.ts";
import { type NextHopPlan, RouteKind } from "../../routing/route_set.ts";
import { formatPrefix, isHostOf, masked, readAddress, readPrefixOrAddress } from "./addresses.ts";
import type { InterfaceBuilder } from "./build_interfaces.ts";
import { formatPath, type Path, quote, type Report } from "./errors.ts";
import { suggestion } from "./nearest.ts";
import type { Configuration } from "./schema.ts";
import type { NextHopConfiguration, RouteConfiguration } from "./schema_routing.ts";
import type { TableNames } from "./table_names.ts";

const EVERYWHERE = { address: 0, length: 0 };

export const ROUTE_KINDS = {
  unicast: RouteKind.UNICAST,
  blackhole: RouteKind.BLACKHOLE,
  unreachable: RouteKind.UNREACHABLE,
  prohibit: RouteKind.PROHIBIT,
  throw: RouteKind.THROW,
} as const;

/** Routes in the configuration's order, then the default route of the uplink that has a gateway. */
export function buildRoutes(
  configuration: Configuration,
  interfaces: InterfaceBuilder,
  tables: TableNames,
  report: Report,
): RoutePlan[] {
  const builder = new RouteBuilder(interfaces, tables, report);
  for (const { interface: index, via, to = EVERYWHERE, metric, path } of interfaces.gateways) {
    const best = metric === 0 ? {} : { metric };
    builder.addOnce({ to, ...best, nextHops: [{ interface: index, via }] }, path);
  }
  const defaults = builder.routes.splice(0);
  for (const [index, route] of (configuration.routes ?? []).entries()) builder.add(route, ["routes", index]);
  return [...builder.routes, ...defaults];
}

class RouteBuilder {
  readonly routes: RoutePlan[] = [];
  private readonly places = new Map<string, Path>();
  private readonly interfaces: InterfaceBuilder;
  private readonly tables: TableNames;
  private readonly report: Report;

  constructor(interfaces: InterfaceBuilder, tables: TableNames, report: Report) {
    this.interfaces = interfaces;
    this.tables = tables;
    this.report = report;
  }

  add(route: RouteConfiguration, path: Path): void {
    const to = route.to === "default" ? EVERYWHERE : readPrefixOrAddress(route.to, [...path, "to"], this.report);
    const nextHops = this.readTargets(route, path);
    const table = this.tables.read(route.table ?? "main", [...path, "table"], this.report);
    if (to === undefined || nextHops === undefined || table === undefined) return;
    const { metric = 0, type = "unicast" } = route;
    const same = this.interfaces.connected.find(({ prefix }) => formatPrefix(masked(prefix)) === formatPrefix(to));
    if (same !== undefined && table === TableId.MAIN && metric === 0) {
      this.report([...path, "to"], `${formatPrefix(to)} is the subnet of ${quote(same.name)} itself`);
      return;
    }
    const plan = {
      to,
      ...(table === TableId.MAIN ? {} : { table }),
      ...(type === "unicast" ? {} : { kind: ROUTE_KINDS[type] }),
      ...(metric === 0 ? {} : { metric }),
      nextHops,
    };
    this.addOnce(plan, [...path, "to"]);
  }

  addOnce(route: RoutePlan, path: Path): void {
    const to = formatPrefix(route.to);
    const key = `${to} ${route.table ?? TableId.MAIN} ${route.metric ?? 0}`;
    const place = this.places.get(key);
    if (place !== undefined) {
      const metric = route.metric === undefined ? "" : ` with metric ${route.metric}`;
      const what = `${route.to.length === 0 ? "a second default route" : `a second route to ${to}`}${metric}`;
      this.report(path, `${what}: the first is at ${formatPath(place)}`);
      return;
    }
    this.places.set(key, path);
    this.routes.push(route);
  }

  private readTargets(route: RouteConfiguration, path: Path): NextHopPlan[] | undefined {
    const { nexthops, type = "unicast" } = route;
    const given = (["via", "dev", "nexthops"] as const).filter((key) => route[key] !== undefined);
    if (type !== "unicast") {
      for (const key of given) this.report([...path, key], `a ${type} route has no ${quote(key)}`, "key");
      return given.length > 0 ? undefined : [];
    }
    if (nexthops === undefined) {
      if (given.length === 0) this.report(path, 'a route needs "via", "dev" or "nexthops"', "key");
      const hop = given.length === 0 ? undefined : readNextHop(route, path, this.interfaces, this.report);
      return hop === undefined ? undefined : [hop];
    }
    for (const key of given.slice(0, -1))
      this.report([...path, key], `${quote(key)} and "nexthops" exclude each other`, "key");
    const hops = nexthops.map((hop, index) =>
      readNextHop(hop, [...path, "nexthops", index], this.interfaces, this.report),
    );
    return hops.every((hop) => hop !== undefined) ? hops : undefined;
  }
}

/** A next hop by its address, its interface, or both. */
function readNextHop(
  hop: NextHopConfiguration,
  path: Path,
  interfaces: InterfaceBuilder,
  report: Report,
): NextHopPlan | undefined {
  if (hop.via === undefined && hop.dev === undefined) {
    report(path, 'a next hop needs "via" or "dev"', "key");
    return undefined;
  }
  const dev = hop.dev === undefined ? undefined : readInterface(hop.dev, [...path, "dev"], interfaces, report);
  if (hop.dev !== undefined && dev === undefined) return undefined;
  const share = hop.weight === undefined || hop.weight === 1 ? {} : { weight: hop.weight };
  if (hop.via === undefined) return dev === undefined ? undefined : { interface: dev, ...share };
  const found = readVia(hop.via, [...path, "via"], interfaces, report);
  if (found === undefined) return undefined;
  if (dev !== undefined && dev !== found.interface) {
    report([...path, "via"], `${hop.via} is not in the subnet of ${quote(hop.dev)}`);
    return undefined;
  }
  return { ...found, ...share };
}

/** The index of a network or an uplink. */
export function readInterface(
  name: string,
  path: Path,
  { indexOfInterface }: InterfaceBuilder,
  report: Report,
): number | undefined {
  const index = indexOfInterface.get(name);
  if (index === undefined) {
    report(path, `no network or uplink is called ${quote(name)}${suggestion(name, indexOfInterface.keys())}`);
  }
  return index;
}

/** An address that is on a subnet of the router's, and not its own. */
export function readVia(
  text: string,
  path: Path,
  { connected, isComplete }: InterfaceBuilder,
  report: Report,
): { interface: number; via: number } | undefined {
  const via = readAddress(text, path, report);
  if (via === undefined) return undefined;
  const subnet = connected.find(({ prefix }) => contains(prefix, via));
  if (subnet === undefined) {
    // It may be in the subnet that could not be read.
    if (!isComplete) return undefined;
    const known = connected.map(({ prefix }) => formatPrefix(masked(prefix))).join(", ");
    report(path, `${formatAddress(via)} is in no subnet of the router${known === "" ? "" : ` (${known})`}`);
    return undefined;
  }
  if (subnet.address === via) {
    report(path, `${formatAddress(via)} is the router's own address`);
    return undefined;
  }
  if (!isHostOf(subnet.prefix, via, "next hop", path, report)) return undefined;
  return { interface: subnet.interface, via };
}
