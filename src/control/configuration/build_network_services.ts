/** From the configuration of a network's `dhcp` and `dns` to what the servers are told. */
import type { Prefix } from "../../packet/ipv4_address.ts";
import { formatAddress, prefixMask } from "../../packet/ipv4_address.ts";
import type { Pool } from "../dhcp/bindings.ts";
import type { ServerPort } from "../dhcp/question.ts";
import { isHostOf, isUnicast, readAddress } from "./addresses.ts";
import type { InterfaceBuilder } from "./build_interfaces.ts";
import { type Path, quote, type Report } from "./errors.ts";
import type { Configuration, NetworkConfiguration } from "./schema.ts";
import { DEFAULT_DHCP } from "./schema_network_services.ts";
import { DEFAULT_LEASES } from "./schema_services.ts";

const MOST_ADDRESSES = 65_536;

interface ServedNetwork {
  network: string;
  interface: number;
  gateway: number;
  subnet: Prefix;
  mtu: number;
  /** With the indexes of `RouterPlan.ports`. */
  ports: (ServerPort & { index: number })[];
}

export interface DhcpServerPlan extends ServedNetwork {
  pool: Pool;
  leaseSeconds: number;
  dns: number[];
  domain?: string;
}

export interface DnsPlan extends ServedNetwork {
  servers: number[];
  /** In lower case. */
  domain: string;
}

/** The networks that have one, and the file of their leases. */
export interface NetworkServicesPlan {
  dhcp: DhcpServerPlan[];
  dns: DnsPlan[];
  leases: string;
}

/** What cannot be built is reported and left out. */
export function buildNetworkServices(
  { networks = {}, control }: Configuration,
  builder: InterfaceBuilder,
  report: Report,
): NetworkServicesPlan {
  const plan: NetworkServicesPlan = { dhcp: [], dns: [], leases: control?.leases ?? DEFAULT_LEASES };
  for (const [name, network] of Object.entries(networks)) {
    const served = servedNetwork(name, builder);
    if (served === undefined) continue;
    const path = ["networks", name];
    if (network.dns !== undefined) plan.dns.push(buildDns(network.dns, served, builder, [...path, "dns"], report));
    if (network.dhcp !== undefined) plan.dhcp.push(buildDhcp(network, network.dhcp, served, path, report));
  }
  return plan;
}

function servedNetwork(
  name: string,
  { connected, devices, interfaces, ports }: InterfaceBuilder,
): ServedNetwork | undefined {
  const found = connected.find((each) => each.name === name);
  if (found === undefined) return undefined;
  const own = ports.filter((port) => port.interface === found.interface);
  return {
    network: name,
    interface: found.interface,
    gateway: found.address,
    subnet: found.prefix,
    mtu: interfaces.find(({ index }) => index === found.interface)?.mtu ?? 0,
    ports: own.flatMap(({ index }) => {
      const device = devices.find(({ port }) => port === index);
      if (device === undefined) return [];
      const address = device.address === undefined ? {} : { address: device.address.address };
      return { index, name: device.name, mac: device.mac, ...address };
    }),
  };
}

function buildDhcp(
  network: NetworkConfiguration,
  dhcp: NonNullable<NetworkConfiguration["dhcp"]>,
  served: ServedNetwork,
  path: Path,
  report: Report,
): DhcpServerPlan {
  const at = [...path, "dhcp"];
  const { gateway, ports, subnet } = served;
  const range = dhcp.range === undefined ? wholeRange(subnet, at, report) : readRange(dhcp.range, subnet, at, report);
  const domain = dhcp.domain ?? (network.dns === undefined ? undefined : (network.dns.domain ?? served.network));
  const servers = dhcp.dns?.map((text, index) => readAddress(text, [...at, "dns", index], report) ?? 0);
  return {
    ...served,
    pool: {
      ...range,
      taken: new Set([gateway, ...ports.flatMap(({ address }) => address ?? [])]),
      ports: new Set(ports.map(({ name }) => name)),
      leasesPerPort: dhcp.leasesPerPort ?? DEFAULT_DHCP.leasesPerPort,
    },
    leaseSeconds: dhcp.leaseSeconds ?? DEFAULT_DHCP.leaseSeconds,
    dns: servers ?? (network.dns === undefined ? [] : [gateway]),
    ...(domain === undefined ? {} : { domain }),
  };
}

const NO_RANGE = { first: 1, last: 0 };

function wholeRange(subnet: Prefix, path: Path, report: Report): { first: number; last: number } {
  const first = (subnet.address + 1) | 0;
  const last = ((subnet.address | ~prefixMask(subnet.length)) - 1) | 0;
  if (last - first < MOST_ADDRESSES) return { first, last };
  report(path, `the subnet has more than ${MOST_ADDRESSES} addresses: "range" has to say which are given away`, "key");
  return NO_RANGE;
}

function readRange(text: string, subnet: Prefix, at: Path, report: Report): { first: number; last: number } {
  const path = [...at, "range"];
  const [first, last] = text.split("-").map((each) => readAddress(each, path, report));
  if (first === undefined || last === undefined) return NO_RANGE;
  const areHosts = [first, last].every((each) => isHostOf(subnet, each, "range:", path, report));
  if (!areHosts) return NO_RANGE;
  if (last >>> 0 < first >>> 0) report(path, `${quote(text)} ends before it begins`);
  else if (last - first >= MOST_ADDRESSES) report(path, `${quote(text)} has more than ${MOST_ADDRESSES} addresses`);
  return { first, last };
}

function buildDns(
  dns: NonNullable<NetworkConfiguration["dns"]>,
  served: ServedNetwork,
  { connected }: InterfaceBuilder,
  path: Path,
  report: Report,
): DnsPlan {
  const servers = (dns.servers ?? []).flatMap((text, index) => {
    const at = [...path, "servers", index];
    const word = readAddress(text, at, report);
    if (word === undefined) return [];
    if (!isUnicast(word)) report(at, `${formatAddress(word)} is not a unicast address`);
    const owner = connected.find(({ address }) => address === word);
    if (owner !== undefined) report(at, `${formatAddress(word)} is the router's own address on ${owner.name}`);
    return word;
  });
  return { ...served, servers, domain: (dns.domain ?? served.network).toLowerCase() };
}
