/** Configured routes, and the default route of the uplink. */
import type { RoutePlan } from "../../dataplane/plan.ts";
import { contains, formatAddress } from "../../packet/ipv4_address.ts";
import { formatPrefix, isHostOf, masked, readAddress, readPrefixOrAddress } from "./addresses.ts";
import type { InterfaceBuilder } from "./build_interfaces.ts";
import { formatPath, type Path, quote, type Report } from "./errors.ts";
import type { Configuration } from "./schema.ts";

const EVERYWHERE = { address: 0, length: 0 };

/** Routes in the configuration's order, then the default route of the uplink that has a gateway. */
export function buildRoutes(configuration: Configuration, interfaces: InterfaceBuilder, report: Report): RoutePlan[] {
  const { gateways } = interfaces;
  const routes: RoutePlan[] = [];
  const places = new Map<string, Path>();
  const addOnce = (route: RoutePlan, path: Path): void => {
    const to = formatPrefix(route.to);
    const key = `${to} ${route.metric ?? 0}`;
    const place = places.get(key);
    if (place !== undefined) {
      const metric = route.metric === undefined ? "" : ` with metric ${route.metric}`;
      const what = `${route.to.length === 0 ? "a second default route" : `a second route to ${to}`}${metric}`;
      report(path, `${what}: the first is at ${formatPath(place)}`);
      return;
    }
    places.set(key, path);
    routes.push(route);
  };
  for (const { interface: index, via, metric, path } of gateways)
    addOnce({ to: EVERYWHERE, interface: index, via, ...(metric === 0 ? {} : { metric }) }, path);
  const defaults = routes.splice(0);
  for (const [index, { to: toText, via: viaText }] of (configuration.routes ?? []).entries()) {
    const path = ["routes", index];
    const to = readPrefixOrAddress(toText, [...path, "to"], report);
    const next = readVia(viaText, [...path, "via"], interfaces, report);
    if (to === undefined || next === undefined) continue;
    const same = interfaces.connected.find(({ prefix }) => formatPrefix(masked(prefix)) === formatPrefix(to));
    if (same !== undefined) report([...path, "to"], `${formatPrefix(to)} is the subnet of ${quote(same.name)} itself`);
    else addOnce({ to, ...next }, [...path, "to"]);
  }
  return [...routes, ...defaults];
}

function readVia(
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
