/** Operations on routes as `ip route` has them: from names to numbers, with the kernel's refusals. */
import { contains, type Prefix } from "../../packet/ipv4_address.ts";
import { TableId } from "../../routing/policy.ts";
import { type NextHopPlan, RouteKind } from "../../routing/route_set.ts";
import { ROUTE_KINDS } from "../configuration/build_routes.ts";
import type { ResolvedPlan } from "../configuration/configuration.ts";
import { ExitCode, TapirError } from "../errors.ts";
import { addressOf, interfaceNamed, prefixOf, refuse } from "./context.ts";
import { protocolNumber, RouteProtocol } from "./names.ts";
import { interfaceOnLink } from "./on_link.ts";
import type { HeldRoute, RouteList } from "./route_list.ts";
import type { RouteOperation } from "./schemas.ts";

/** Whose routes those are that commands make. */
export const COMMAND_OWNER = "command";

/** Does what an operation asks. @throws TapirError in iproute2's words; then nothing has changed. */
export function operate(routes: RouteList, operation: RouteOperation, resolved: ResolvedPlan): void {
  const { op } = operation;
  if (op === "flush") {
    const tables = operation.table === "all" ? routes.tableNumbers : [tableOf(operation, resolved)];
    routes.removeAll(chosenBy(operation, resolved), tables);
    return;
  }
  if (operation.to === undefined) throw new TapirError("which prefix?", ExitCode.USAGE);
  const { address, length } = prefixOf(operation.to);
  const place = { table: tableOf(operation, resolved), address, length };
  if (op === "del") routes.remove(place, chosenBy(operation, resolved));
  else routes.put(op, place, heldOf(operation, resolved));
}

function tableOf({ table = "main" }: RouteOperation, { tables }: ResolvedPlan): number {
  return tables.read(table, [], refuse) ?? TableId.MAIN;
}

function protocolOf(text: string): number {
  const protocol = protocolNumber(text);
  if (protocol === undefined) throw new TapirError(`argument "${text}" is wrong: "protocol" value is invalid`);
  return protocol;
}

function heldOf(operation: RouteOperation, resolved: ResolvedPlan): HeldRoute {
  const { type = "unicast", metric = 0, proto, nexthops = [] } = operation;
  const kind = ROUTE_KINDS[type];
  if (kind === RouteKind.UNICAST && nexthops.length === 0) throw new TapirError("RTNETLINK answers: No such device");
  if (kind !== RouteKind.UNICAST && nexthops.length > 0) {
    throw new TapirError(`Error: Nexthop is not allowed in a ${type} route.`);
  }
  const option = {
    ...(kind === RouteKind.UNICAST ? {} : { kind }),
    ...(metric === 0 ? {} : { metric }),
    nextHops: nexthops.map((hop) => nextHopOf(hop, resolved)),
  };
  return { option, protocol: proto === undefined ? RouteProtocol.BOOT : protocolOf(proto), owner: COMMAND_OWNER };
}

type Hop = NonNullable<RouteOperation["nexthops"]>[number];

function nextHopOf({ via, dev, weight = 1, onlink }: Hop, resolved: ResolvedPlan): NextHopPlan {
  const named = dev === undefined ? undefined : interfaceNamed(resolved, dev);
  const share = weight === 1 ? {} : { weight };
  if (via === undefined) {
    if (named === undefined) throw new TapirError("RTNETLINK answers: No such device");
    return { interface: named.index, ...share };
  }
  const address = addressOf(via);
  const found = interfaceOnLink(resolved.plan.interfaces, address);
  if (onlink === true && named !== undefined) return { interface: named.index, via: address, ...share };
  if (found === undefined || (named !== undefined && named !== found)) {
    throw new TapirError("Error: Nexthop has invalid gateway.");
  }
  return { interface: found.index, via: address, ...share };
}

/** Whether a route is one of those that a deletion means: what it does not say, does not matter. */
function chosenBy(
  operation: RouteOperation,
  resolved: ResolvedPlan,
): (route: HeldRoute, place?: { address: number; length: number }) => boolean {
  const { type, metric, proto, nexthops = [], match, to, op } = operation;
  const protocol = proto === undefined ? undefined : protocolOf(proto);
  const kind = type === undefined ? undefined : ROUTE_KINDS[type];
  const wanted = nexthops.map(({ via, dev, weight }) => ({
    ...(dev === undefined ? {} : { interface: interfaceNamed(resolved, dev).index }),
    ...(via === undefined ? {} : { via: addressOf(via) }),
    ...(weight === undefined || weight === 1 ? {} : { weight }),
  }));
  const prefix = op !== "flush" || to === undefined ? undefined : prefixOf(to);
  return ({ option, protocol: own }, place) => {
    if (prefix !== undefined && place !== undefined && !isMeant(prefix, match, place)) return false;
    if (protocol !== undefined && own !== protocol) return false;
    if (kind !== undefined && (option.kind ?? RouteKind.UNICAST) !== kind) return false;
    if (metric !== undefined && (option.metric ?? 0) !== metric) return false;
    return wanted.length === 0 || hopsFit(wanted, option.nextHops);
  };
}

function hopsFit(wanted: readonly Partial<NextHopPlan>[], hops: readonly NextHopPlan[]): boolean {
  if (wanted.length > 1 && wanted.length !== hops.length) return false;
  return wanted.every((each, index) => {
    const hop = hops[index];
    if (hop === undefined) return false;
    if (each.interface !== undefined && each.interface !== hop.interface) return false;
    return each.via === undefined || each.via === hop.via;
  });
}

/** `root`: the prefix and all inside; `match`: those that cover it; `exact`: itself. */
export function isMeant(prefix: Prefix, match: RouteOperation["match"], place: Prefix): boolean {
  if (match === "root") return place.length >= prefix.length && contains(prefix, place.address);
  if (match === "match") return place.length <= prefix.length && contains(place, prefix.address);
  return place.length === prefix.length && place.address === prefix.address;
}
