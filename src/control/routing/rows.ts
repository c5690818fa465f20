/** Routes, rules and answers as the API tells them: in names, and in the order of the kernel's dumps. */
import type { FoundRoute } from "../../dataplane/messages.ts";
import type { InterfacePlan } from "../../dataplane/plan.ts";
import { formatAddress, type Prefix, prefixMask } from "../../packet/ipv4_address.ts";
import { type PolicyRule, TableId } from "../../routing/policy.ts";
import { RouteKind } from "../../routing/route_set.ts";
import type { ResolvedPlan } from "../configuration/configuration.ts";
import { interfaceName } from "./context.ts";
import { kindName, protocolName, RouteProtocol } from "./names.ts";
import { addressesOf, addressTowards } from "./on_link.ts";
import type { HeldRoute, RouteList } from "./route_list.ts";
import type { FoundRow, RouteRow, RuleRow } from "./schemas.ts";

/** A prefix as iproute2 prints it. */
export function prefixText({ address, length }: Prefix, everywhere = "default"): string {
  if (length === 0) return everywhere;
  return length === 32 ? formatAddress(address) : `${formatAddress(address)}/${length}`;
}

/** The routes of a table, connected ones included. */
export function* routeRows(routes: RouteList, table: number, resolved: ResolvedPlan): Generator<RouteRow> {
  const connected = table === TableId.MAIN ? connectedRows(resolved.plan.interfaces) : [];
  let next = 0;
  for (const { place, routes: held } of routes.entries(table)) {
    const key = orderOf(place);
    while (next < connected.length && connected[next].order <= key) yield connected[next++].row;
    for (const route of held) yield rowOf(route, place, table, resolved);
  }
  while (next < connected.length) yield connected[next++].row;
}

/** The routes of all tables that an owner has given. */
export function* heldRows(routes: RouteList, resolved: ResolvedPlan, owner: string): Generator<RouteRow> {
  for (const table of routes.tableNumbers) {
    for (const { place, routes: held } of routes.entries(table)) {
      for (const route of held) if (route.owner === owner) yield rowOf(route, place, table, resolved);
    }
  }
}

function connectedRows(interfaces: readonly InterfacePlan[]): { order: number; row: RouteRow }[] {
  const rows = interfaces.flatMap((each) =>
    addressesOf(each).map((own) => {
      const prefix = { address: own.address & prefixMask(own.prefixLength), length: own.prefixLength };
      const row = {
        table: "main",
        dst: prefixText(prefix),
        type: "unicast",
        protocol: protocolName(RouteProtocol.KERNEL),
        metric: 0,
        prefsrc: formatAddress(own.address),
        nexthops: [{ dev: each.name, weight: 1 }],
      };
      return { order: orderOf(prefix), row };
    }),
  );
  return rows.sort((left, right) => left.order - right.order);
}

/** By address, of equal ones the longer prefix first. */
export function orderOf({ address, length }: Prefix): number {
  return (address >>> 0) * 64 + 32 - length;
}

function rowOf({ option, protocol }: HeldRoute, place: Prefix, table: number, resolved: ResolvedPlan): RouteRow {
  return {
    table: resolved.tables.nameOf(table),
    dst: prefixText(place),
    type: kindName(option.kind ?? RouteKind.UNICAST),
    protocol: protocolName(protocol),
    metric: option.metric ?? 0,
    nexthops: option.nextHops.map(({ interface: index, via, weight = 1 }) => ({
      ...(via === undefined ? {} : { gateway: formatAddress(via) }),
      dev: interfaceName(resolved, index),
      weight,
    })),
  };
}

export function ruleRow(rule: PolicyRule, { plan, tables }: ResolvedPlan): RuleRow {
  const { priority, not, from, to, fwmark, iif, action } = rule;
  const port = iif !== undefined && "port" in iif ? plan.ports.find(({ index }) => index === iif.port) : undefined;
  const owner = iif !== undefined && "interface" in iif ? iif.interface : -1;
  const name = port?.name ?? plan.interfaces.find(({ index }) => index === owner)?.name;
  return {
    priority,
    ...(not === true ? { not } : {}),
    from: from === undefined ? "all" : prefixText(from, "0.0.0.0/0"),
    ...(to === undefined ? {} : { to: prefixText(to, "0.0.0.0/0") }),
    ...(fwmark === undefined ? {} : { fwmark: hex(fwmark.value) }),
    ...(fwmark === undefined || fwmark.mask === -1 ? {} : { fwmask: hex(fwmark.mask) }),
    ...(iif === undefined ? {} : { iif: name ?? "?" }),
    ...("table" in action ? { table: tables.nameOf(action.table) } : { action: kindName(action.kind) }),
  };
}

/** `asked`: what the question said of where the packet comes from. */
export function foundRow(
  found: FoundRoute,
  destination: number,
  asked: Pick<FoundRow, "from" | "iif" | "mark">,
  { plan, tables }: ResolvedPlan,
): FoundRow {
  const dst = formatAddress(destination);
  if (found.kind !== RouteKind.UNICAST) {
    return { dst, type: found.kind < 0 ? "none" : kindName(found.kind), ...asked };
  }
  const egress = plan.interfaces.find(({ index }) => index === found.interface);
  const isOwn = asked.from === undefined && egress !== undefined;
  return {
    dst,
    type: "unicast",
    ...asked,
    ...(found.via === 0 ? {} : { gateway: formatAddress(found.via) }),
    ...(egress === undefined ? {} : { dev: egress.name }),
    ...(found.table === 0 || found.table === TableId.MAIN ? {} : { table: tables.nameOf(found.table) }),
    ...(isOwn ? { prefsrc: formatAddress(addressTowards(egress, found.via === 0 ? destination : found.via)) } : {}),
  };
}

function hex(word: number): string {
  return `0x${(word >>> 0).toString(16)}`;
}
