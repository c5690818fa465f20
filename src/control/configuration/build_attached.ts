/** What a port brings along: routes in its container, and published ports as rules of PREROUTING. */
import type { Rule } from "../../filter/rule_set.ts";
import { formatAddress, type Prefix } from "../../packet/ipv4_address.ts";
import { formatPrefix, isHostOf, readAddress, readPrefix } from "./addresses.ts";
import type { NatBuilder } from "./build_nat.ts";
import type { DevicePlan } from "./devices.ts";
import type { Path, Report } from "./errors.ts";
import type { Configuration, PortConfiguration, UplinkConfiguration } from "./schema.ts";
import type { PublishOfPort } from "./schema_attached.ts";

/** A rule that a port brings along; `index` is its place in the port's `publish`. */
export interface PublishedByPort {
  network: string;
  port: string;
  index: number;
  rule: Rule;
}

export function routesOf(
  { routes, address }: PortConfiguration,
  { subnet, gateway }: { subnet: Prefix; gateway: number },
  path: Path,
  report: Report,
): Pick<DevicePlan, "routes"> {
  if (routes === undefined) return {};
  if (address === undefined) report([...path, "routes"], 'routes need an "address"', "key");
  const read = routes.flatMap(({ to, via }, index) => {
    const at = [...path, "routes", index];
    const prefix = readPrefix(to, [...at, "to"], report);
    const hop = via === undefined ? gateway : readAddress(via, [...at, "via"], report);
    if (prefix === undefined || hop === undefined) return [];
    if (!isHostOf(subnet, hop, "next hop", [...at, "via"], report)) return [];
    return { to: formatPrefix(prefix), via: formatAddress(hop) };
  });
  return { routes: read };
}

/** In the order of networks and ports. */
export function publishedByPorts(configuration: Configuration, nat: NatBuilder, report: Report): PublishedByPort[] {
  return Object.entries(configuration.networks ?? {}).flatMap(([network, { ports = {} }]) =>
    Object.entries(ports).flatMap(([port, { address, publish = [] }]) =>
      publish.flatMap((wish, index) => {
        const path = ["networks", network, "ports", port, "publish", index];
        const rules = rulesOf(wish, address, configuration, nat, path, report);
        return rules.map((rule) => ({ network, port, index, rule: { ...rule, name: `port ${port}` } }));
      }),
    ),
  );
}

function rulesOf(
  { on, to, ...wish }: PublishOfPort,
  address: string | undefined,
  { uplinks = {} }: Configuration,
  nat: NatBuilder,
  path: Path,
  report: Report,
): Rule[] {
  if (address === undefined) {
    report(path, 'what is published needs the port\'s "address"');
    return [];
  }
  const able = Object.keys(uplinks).filter(
    (name) => wish.address === undefined || hasAddress(uplinks[name], wish.address),
  );
  const names = on === undefined ? able : [on];
  if (names.length === 0) {
    const why = wish.address === undefined ? "there is no uplink" : `none has ${wish.address}`;
    report(path, `ports are published on the addresses of uplinks, and ${why}`);
  }
  const target = to === undefined ? address : `${address}:${to}`;
  return names.flatMap((name) => nat.published({ ...wish, on: name, to: target }, path));
}

/** Whether an address is one of an uplink's. */
export function hasAddress({ address, addresses = [] }: UplinkConfiguration, wanted: string): boolean {
  return [address, ...addresses].some((each) => each.split("/")[0] === wanted);
}
