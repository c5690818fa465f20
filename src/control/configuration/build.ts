/**
 * From a configuration of the right shape to the plan, checking on the way what a schema cannot say. Everything that
 * is wrong is reported, with its path; the plan is of use only if nothing was.
 */

import type { LimitsPlan, MergePlan, NeighbourPlan, RoutePlan, RouterPlan } from "../../dataplane/plan.ts";
import { type Chain, emptyRuleSet, type RuleSet, type TableName } from "../../filter/rule_set.ts";
import type { PolicyRule } from "../../routing/policy.ts";
import { DEFAULT_SOCKET } from "../default_socket.ts";
import type { LeasedAddress } from "../dhcp/lease.ts";
import { type PublishedByPort, publishedByPorts } from "./build_attached.ts";
import { InterfaceBuilder } from "./build_interfaces.ts";
import { buildConntrack, NatBuilder } from "./build_nat.ts";
import { buildNetworkServices, type NetworkServicesPlan } from "./build_network_services.ts";
import { buildRoutes } from "./build_routes.ts";
import { buildFollows, buildNeighbours, buildPolicy, type FollowPlan } from "./build_routing.ts";
import { buildSets, withRuleText } from "./build_rule_text.ts";
import { buildRules } from "./build_rules.ts";
import { buildServices, type ServicesPlan } from "./build_services.ts";
import type { DevicePlan } from "./devices.ts";
import type { Report } from "./errors.ts";
import { Indexes, interfaceKey, MOST_INTERFACES, MOST_PORTS, portKey } from "./indexes.ts";
import { collectNames, type Names } from "./names.ts";
import { type Configuration, DEFAULT_AGEING_SECONDS, DEFAULT_LIMITS } from "./schema.ts";
import { LONGEST_SOCKET_PATH } from "./schema_services.ts";
import { TableNames } from "./table_names.ts";

/** A configuration with all names resolved: what the dataplane is told, and what the control process does. */
export interface ResolvedPlan {
  plan: RouterPlan & { routes: RoutePlan[]; policy: PolicyRule[]; neighbours: NeighbourPlan[] };
  /** One for each of `plan.ports`, in their order. */
  devices: DevicePlan[];
  limits: Required<LimitsPlan>;
  /** Names of routing tables, and the kernels' tables that are followed. */
  tables: TableNames;
  follows: FollowPlan[];
  /** Path of the API's socket. */
  socket: string;
  services: ServicesPlan;
  networkServices: NetworkServicesPlan;
  publishedByPorts: PublishedByPort[];
}

/** What of a plan the next one needs to know: which index stands for what. */
export interface FormerPlan {
  plan: {
    interfaces: Pick<RouterPlan["interfaces"][number], "index" | "kind" | "name">[];
    ports: Pick<RouterPlan["ports"][number], "index" | "interface">[];
  };
  devices: Pick<DevicePlan, "port" | "name" | "kind" | "netns" | "ifname">[];
}

/** The plan for `configuration`; what `previous` has too keeps its index. `leases`: by uplink. */
export function buildPlan(
  configuration: Configuration,
  previous: FormerPlan | undefined,
  leases: ReadonlyMap<string, LeasedAddress>,
  report: Report,
): ResolvedPlan {
  const names = collectNames(configuration, report);
  const builder = new InterfaceBuilder(
    new Indexes(interfaceIndexes(previous)),
    new Indexes(portIndexes(previous)),
    leases,
    report,
  );
  builder.build(configuration);
  checkSizes(builder, configuration, report);
  const nat = new NatBuilder(builder, names, report);
  const tables = new TableNames(configuration.routing?.tables, report);
  const rules = buildRuleSet(configuration, nat, names, report);
  const published = publishedByPorts(configuration, nat, report);
  const prerouting = rules.nat.chains.find(({ name }) => name === "PREROUTING");
  // Behind the others, those of text too.
  prerouting?.rules.push(...published.map(({ rule }) => rule));
  return {
    plan: {
      interfaces: builder.interfaces,
      ports: builder.ports,
      routes: buildRoutes(configuration, builder, tables, report),
      policy: buildPolicy(configuration, builder, names, tables, report),
      neighbours: buildNeighbours(configuration, builder, report),
      rules,
      conntrack: buildConntrack(configuration),
      macAgeingSeconds: configuration.bridge?.ageingSeconds ?? DEFAULT_AGEING_SECONDS,
      merging: mergingOf(configuration),
    },
    devices: builder.devices.map((device) => withPublished(device, builder, nat)),
    limits: limitsOf(configuration),
    tables,
    follows: buildFollows(configuration, tables, report),
    socket: configuration.control?.socket ?? DEFAULT_SOCKET,
    services: buildServices(configuration, report),
    networkServices: buildNetworkServices(configuration, builder, report),
    publishedByPorts: published,
  };
}

/** A raw uplink hears its published ports, beside the reserved ones. */
function withPublished(device: DevicePlan, { ports }: InterfaceBuilder, nat: NatBuilder): DevicePlan {
  if (device.raw === undefined) return device;
  const owner = ports.find(({ index }) => index === device.port)?.interface ?? -1;
  return { ...device, raw: { ...device.raw, published: nat.publishedOn(owner) } };
}

/** The rules of the configuration, in the tables and chains of iptables. */
function buildRuleSet(configuration: Configuration, nat: NatBuilder, names: Names, report: Report): RuleSet {
  const ruleSet: RuleSet = { ...emptyRuleSet(), sets: buildSets(configuration, report) };
  const chainOf = (table: TableName, name: string): Chain =>
    ruleSet[table].chains.find((chain) => chain.name === name) as Chain;
  for (const name of ["forward", "input", "bridge"] as const) {
    const written = configuration.filter?.[name] ?? {};
    const chain = chainOf("filter", name.toUpperCase());
    chain.policy = written.policy === "drop" ? "DROP" : "ACCEPT";
    chain.rules = buildRules(name, written, names, report);
  }
  chainOf("nat", "POSTROUTING").rules = nat.sourceRules(configuration);
  chainOf("nat", "PREROUTING").rules = nat.destinationRules(configuration);
  return withRuleText(ruleSet, configuration, report);
}

/** Whether the kernel knows UDP segmentation, only the devices can tell. */
function mergingOf({ offload }: Configuration): MergePlan {
  const isOn = offload?.merge ?? true;
  return { segments: isOn, datagrams: isOn };
}

function limitsOf(configuration: Configuration): Required<LimitsPlan> {
  const { flowsPerHost: _, ...limits } = configuration.limits ?? {};
  return { ...DEFAULT_LIMITS, ...limits };
}

function checkSizes(builder: InterfaceBuilder, configuration: Configuration, report: Report): void {
  const { networks = {}, uplinks = {} } = configuration;
  const count = Object.keys(networks).length + Object.keys(uplinks).length;
  if (count === 0) report([], "a router needs at least one network or uplink");
  if (count > MOST_INTERFACES) report([], `${count} networks and uplinks: at most ${MOST_INTERFACES} are supported`);
  if (builder.ports.length > MOST_PORTS)
    report([], `${builder.ports.length} ports: at most ${MOST_PORTS} are supported`);
  if (Buffer.byteLength(configuration.control?.socket ?? "") > LONGEST_SOCKET_PATH) {
    report(["control", "socket"], `the path is longer than ${LONGEST_SOCKET_PATH} bytes`);
  }
}

function interfaceIndexes(previous: FormerPlan | undefined): Map<string, number> {
  return new Map(previous?.plan.interfaces.map(({ kind, name, index }) => [interfaceKey(kind, name), index]));
}

function portIndexes(previous: FormerPlan | undefined): Map<string, number> {
  if (previous === undefined) return new Map();
  const { plan, devices } = previous;
  const interfaces = new Map(plan.interfaces.map(({ kind, name, index }) => [index, interfaceKey(kind, name)]));
  const interfaceOf = new Map(plan.ports.map((port) => [port.index, interfaces.get(port.interface) as string]));
  return new Map(devices.map((device) => [portKey(interfaceOf.get(device.port) as string, device), device.port]));
}
