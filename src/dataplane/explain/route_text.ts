/** The route that a packet takes, in words: its prefix and table, and where it leads. */
import { formatAddress, prefixMask } from "../../packet/ipv4_address.ts";
import { TableId } from "../../routing/policy.ts";
import type { Router } from "../router.ts";
import { type Route, RouteKind } from "../routes.ts";
import { interfaceName } from "./texts.ts";

const REFUSALS: Record<number, string> = {
  [RouteKind.BLACKHOLE]: "leads into a black hole",
  [RouteKind.UNREACHABLE]: "is unreachable by configuration",
  [RouteKind.PROHIBIT]: "is prohibited by configuration",
};

export function routeText(router: Router, destination: number, route: Route | undefined): string {
  const to = formatAddress(destination);
  if (route === undefined) return `no prefix covers ${to}`;
  const name = interfaceName(router, route.interface);
  if (route.kind === RouteKind.LOCAL) return `${to} is the router's own address on ${name}: meets INPUT`;
  if (route.kind === RouteKind.BROADCAST) return `${to} is a broadcast address of ${name}`;
  const prefix = prefixText(router, destination, route);
  const refusal = REFUSALS[route.kind];
  if (refusal !== undefined) return `${prefix} ${refusal}`;
  if (route.via === 0) return `${prefix} is connected to ${name}: the next hop is ${to} itself`;
  return `${prefix} goes out of ${name} by way of ${formatAddress(route.via)}`;
}

function prefixText({ routes }: Router, destination: number, route: Route): string {
  const place = routes.placeOf(route, destination);
  // A policy rule that refuses has no prefix.
  if (place === undefined) return `${formatAddress(destination)}, by a policy rule,`;
  const { table, length } = place;
  const where = table === TableId.MAIN ? "" : ` of table ${table}`;
  return `${formatAddress(destination & prefixMask(length))}/${length}${where}`;
}
