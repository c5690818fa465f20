/**
 * The configuration in force as a file that `tapir run` takes: with the routes, policy rules and permanent neighbours that
 * commands have added, which a router otherwise forgets when it ends.
 */
import { stringify } from "yaml";
import { formatAddress } from "../../packet/ipv4_address.ts";
import type { Configuration, ResolvedPlan } from "../configuration/configuration.ts";
import {
  LARGEST_PRIORITY,
  type NeighbourConfiguration,
  type PolicyRuleConfiguration,
  type RouteConfiguration,
} from "../configuration/schema_routing.ts";
import { COMMAND_OWNER } from "../routing/route_operations.ts";
import type { Routing } from "../routing/routing.ts";
import { heldRows, ruleRow } from "../routing/rows.ts";
import type { RouteRow, RuleRow } from "../routing/schemas.ts";

/** As YAML. */
export function configurationText(configuration: Configuration, resolved: ResolvedPlan, routing: Routing): string {
  return stringify(withRouting(configuration, resolved, routing), { lineWidth: 0 });
}

function withRouting(configuration: Configuration, resolved: ResolvedPlan, routing: Routing): Configuration {
  const added = [...heldRows(routing.routes, resolved, COMMAND_OWNER)].map(routeOf);
  const routes = [...(configuration.routes ?? []), ...added];
  const rules = routing.rules
    .filter(({ priority }) => priority <= LARGEST_PRIORITY)
    .map((rule) => policyRuleOf(ruleRow(rule, resolved)));
  const neighbours = routing.neighbours.map((each) => neighbourOf(each, resolved));
  const { routing: configured, neighbours: _neighbours, ...rest } = configuration;
  const { rules: _, ...others } = configured ?? {};
  return {
    ...rest,
    ...(routes.length === 0 ? {} : { routes }),
    ...(configured === undefined && rules.length === 0
      ? {}
      : { routing: { ...others, ...(rules.length === 0 ? {} : { rules }) } }),
    ...(neighbours.length === 0 ? {} : { neighbours }),
  };
}

function routeOf({ table, dst, type, metric, nexthops }: RouteRow): RouteConfiguration {
  const hops = nexthops.map(({ gateway, dev, weight }) => ({
    ...(gateway === undefined ? {} : { via: gateway }),
    dev,
    ...(weight === 1 ? {} : { weight }),
  }));
  const [{ weight: _, ...only } = { weight: 1 }] = hops;
  return {
    to: dst,
    ...(hops.length > 1 ? { nexthops: hops } : only),
    ...(type === "unicast" ? {} : { type: type as NonNullable<RouteConfiguration["type"]> }),
    ...(metric === 0 ? {} : { metric }),
    ...(table === "main" ? {} : { table: nameOrNumber(table) }),
  };
}

function policyRuleOf(row: RuleRow): PolicyRuleConfiguration {
  const { priority, not, from, to, fwmark, fwmask, iif, table, action } = row;
  return {
    priority,
    ...(not === undefined ? {} : { not }),
    ...(from === "all" ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    ...(fwmark === undefined ? {} : { fwmark: fwmask === undefined ? fwmark : `${fwmark}/${fwmask}` }),
    ...(iif === undefined ? {} : { iif }),
    ...(table === undefined
      ? { type: action as NonNullable<PolicyRuleConfiguration["type"]> }
      : { lookup: nameOrNumber(table) }),
  };
}

function neighbourOf(
  { interface: owner, address, mac }: Routing["neighbours"][number],
  { plan }: ResolvedPlan,
): NeighbourConfiguration {
  const dev = plan.interfaces.find(({ index }) => index === owner)?.name;
  return { address: formatAddress(address), ...(dev === undefined ? {} : { dev }), mac };
}

/** Tables without a name are told by their number. */
function nameOrNumber(table: string): string | number {
  return /^\d+$/.test(table) ? Number(table) : table;
}
