/** Networks with their ports, and uplinks: interfaces, ports and devices of the plan. */
import type { InterfacePlan, PortPlan, RateLimitPlan } from "../../dataplane/plan.ts";
import type { Prefix } from "../../packet/ipv4_address.ts";
import { formatAddress } from "../../packet/ipv4_address.ts";
import { parseMac } from "../../packet/mac_address.ts";
import type { LeasedAddress } from "../dhcp/lease.ts";
import { formatPrefix, isHostOf, overlap, readAddress, readPrefix } from "./addresses.ts";
import { routesOf } from "./build_attached.ts";
import { type Impair, readImpair, withOwnSeeds } from "./build_impair.ts";
import { UplinkBuilder } from "./build_uplinks.ts";
import { type DevicePlan, derivedMac, netnsPath } from "./devices.ts";
import { formatPath, type Path, quote, type Report } from "./errors.ts";
import { type Indexes, interfaceKey, portKey } from "./indexes.ts";
import {
  type Configuration,
  DEFAULT_IFNAME,
  DEFAULT_MTU,
  type NetworkConfiguration,
  type PortConfiguration,
} from "./schema.ts";
import type { RateLimitConfiguration } from "./schema_rate_limit.ts";

const LONGEST_NETWORK_PREFIX = 30;

/** A subnet that the router is connected to. */
export interface Connected {
  interface: number;
  name: string;
  prefix: Prefix;
  /** The router's own address in it. */
  address: number;
}

/** What the ports of one network have in common, while they are built. */
interface NetworkContext {
  name: string;
  index: number;
  mtu: number;
  mac: string;
  subnet: Prefix;
  gateway: number;
  /** Port addresses and hardware addresses that are in use, and where they are written. */
  used: Map<string, Path>;
  /** What ports are that do not say themselves. */
  hasIsolatedPorts: boolean;
  hasGuardedPorts: boolean;
  impair: ReturnType<typeof readImpair>;
  rateLimit: RateLimitConfiguration | undefined;
}

export class InterfaceBuilder {
  readonly interfaces: InterfacePlan[] = [];
  readonly ports: PortPlan[] = [];
  readonly devices: DevicePlan[] = [];
  /** Of all interfaces, if `isComplete`: one whose addresses are wrong is left out. The first of each is its own. */
  readonly connected: Connected[] = [];
  /** Gateways of uplinks: the default routes, but for those that lead to a prefix. */
  readonly gateways: { interface: number; via: number; to?: Prefix; metric: number; path: Path }[] = [];
  /** By name of a network or uplink. */
  readonly indexOfInterface = new Map<string, number>();
  /** Ports by name: of a network and an uplink all their ports, of a port itself. */
  readonly portsOf = new Map<string, number[]>();

  /** Whether every interface could be built. */
  get isComplete(): boolean {
    return this.built.size === this.indexOfInterface.size;
  }

  /** Whether every one could be built but for those that wait for a lease. */
  get hasAllNetworks(): boolean {
    return this.built.size + this.unleased === this.indexOfInterface.size;
  }

  /** Uplinks whose address no DHCP server has given yet. */
  unleased = 0;
  /** By the name of the uplink. */
  readonly leases: ReadonlyMap<string, LeasedAddress>;

  /** Interfaces whose addresses could be read. */
  private readonly built = new Set<number>();
  private readonly interfaceIndexes: Indexes;
  private readonly portIndexes: Indexes;
  readonly report: Report;
  /** Paths of the ports and uplinks by device, each of which can be used once. */
  private readonly deviceUsers = new Map<string, Path>();

  constructor(
    interfaceIndexes: Indexes,
    portIndexes: Indexes,
    leases: ReadonlyMap<string, LeasedAddress>,
    report: Report,
  ) {
    this.leases = leases;
    this.interfaceIndexes = interfaceIndexes;
    this.portIndexes = portIndexes;
    this.report = report;
  }

  build(configuration: Configuration): void {
    for (const [name, network] of Object.entries(configuration.networks ?? {})) this.addNetwork(name, network);
    const uplinks = new UplinkBuilder(this);
    for (const [name, uplink] of Object.entries(configuration.uplinks ?? {})) uplinks.add(name, uplink);
  }

  private addNetwork(name: string, network: NetworkConfiguration): void {
    const path = ["networks", name];
    const index = this.takeInterface("network", name);
    const subnet = readPrefix(network.subnet, [...path, "subnet"], this.report);
    const ports = Object.entries(network.ports ?? {});
    if (subnet === undefined || !this.hasRoom(subnet, LONGEST_NETWORK_PREFIX, [...path, "subnet"])) {
      for (const [port, { address }] of ports) {
        if (address !== undefined) readAddress(address, [...path, "ports", port, "address"], this.report);
      }
      return;
    }
    const gateway = this.readGateway(network, subnet, path);
    if (gateway === undefined) return;
    const mac = derivedMac(name);
    const mtu = network.mtu ?? DEFAULT_MTU;
    const isolation = [network.isolation ?? []].flat();
    this.interfaces.push({
      index,
      name,
      kind: "network",
      address: gateway,
      prefixLength: subnet.length,
      mac,
      mtu,
      ...(isolation.includes("network") ? { isolated: true } : {}),
      ...(isolation.includes("uplinks") ? { internal: true } : {}),
      ...(network.dhcp === undefined ? {} : { dhcp: true as const }),
      ...(network.dns === undefined ? {} : { dns: true as const }),
    });
    this.connect({ interface: index, name, prefix: subnet, address: gateway }, [...path, "subnet"]);
    const context: NetworkContext = {
      name,
      index,
      mtu,
      mac,
      subnet,
      gateway,
      used: new Map(),
      hasIsolatedPorts: isolation.includes("ports"),
      hasGuardedPorts: network.antiSpoofing ?? false,
      impair: this.readImpair(network.impair, path) ?? {},
      rateLimit: network.rateLimit,
    };
    for (const [port, settings] of ports) this.addPort(context, port, settings, [...path, "ports", port]);
  }

  readImpair(impair: Impair | undefined, path: Path): ReturnType<typeof readImpair> | undefined {
    return impair === undefined ? undefined : readImpair(impair, [...path, "impair"], this.report);
  }

  private readGateway(network: NetworkConfiguration, subnet: Prefix, path: Path): number | undefined {
    if (network.gateway === undefined) {
      const first = subnet.address + 1;
      return isHostOf(subnet, first, "the gateway's default", [...path, "subnet"], this.report) ? first : undefined;
    }
    const at = [...path, "gateway"];
    const gateway = readAddress(network.gateway, at, this.report);
    return gateway !== undefined && isHostOf(subnet, gateway, "gateway", at, this.report) ? gateway : undefined;
  }

  private addPort(network: NetworkContext, name: string, port: PortConfiguration, path: Path): void {
    this.checkPlace(port, path);
    const address = this.readPortAddress(network, port, path);
    if (port.defaultRoute === true && port.address === undefined) {
      this.report([...path, "defaultRoute"], 'a default route needs an "address"', "key");
    }
    const netns = netnsPath(port);
    const { pid, started } = port;
    const device = {
      kind: "tap" as const,
      name,
      ...(netns === undefined ? {} : { netns }),
      ...(pid === undefined || started === undefined ? {} : { process: { pid, started } }),
      ifname: port.ifname ?? DEFAULT_IFNAME,
      mtu: network.mtu,
      mac: this.readPortMac(network, name, port, path),
      ...(address === undefined ? {} : { address: { address, prefixLength: network.subnet.length } }),
      ...(port.handedOver === true ? { isHandedOver: true as const } : {}),
      ...(port.defaultRoute === true ? { defaultVia: network.gateway } : {}),
      ...routesOf(port, network, path, this.report),
    };
    const isIsolated = port.isolated ?? network.hasIsolatedPorts;
    const isGuarded = port.antiSpoofing ?? network.hasGuardedPorts;
    const guard = { mac: device.mac, ...(address === undefined ? {} : { address }) };
    const settings = {
      ...(isIsolated ? { isolated: true } : {}),
      ...(isGuarded ? { guard } : {}),
      ...rateLimitOf(port.rateLimit ?? network.rateLimit),
      ...withOwnSeeds(this.readImpair(port.impair, path) ?? network.impair, name),
    };
    this.addDevice(interfaceKey("network", network.name), network.index, device, path, settings);
  }

  private checkPlace({ netns, pid, started, handedOver, defaultRoute }: PortConfiguration, path: Path): void {
    const named = Object.entries({ netns, pid, handedOver }).flatMap(([key, value]) =>
      value === undefined ? [] : key,
    );
    const [first, second] = named;
    if (first === undefined) this.report(path, 'a port needs "netns" or "pid"', "key");
    else if (second !== undefined)
      this.report([...path, second], `"${first}" and "${second}" exclude each other`, "key");
    else if (started !== undefined && pid === undefined) {
      this.report([...path, "started"], '"started" is said of a "pid"', "key");
    } else if (handedOver === true && defaultRoute === true) {
      this.report([...path, "defaultRoute"], "a device that is handed over gets its routes from who takes it", "key");
    }
  }

  private readPortAddress(network: NetworkContext, port: PortConfiguration, path: Path): number | undefined {
    if (port.address === undefined) return undefined;
    const at = [...path, "address"];
    const address = readAddress(port.address, at, this.report, "an IPv4 address without a prefix length");
    if (address === undefined || !isHostOf(network.subnet, address, "address", at, this.report)) return undefined;
    if (address === network.gateway) {
      this.report(at, `address ${formatAddress(address)} is the gateway's`);
      return undefined;
    }
    this.useOnce(network.used, `address ${formatAddress(address)}`, at);
    return address;
  }

  private readPortMac(network: NetworkContext, name: string, port: PortConfiguration, path: Path): string {
    if (port.mac === undefined) return derivedMac(`${network.name}/${name}`);
    const mac = port.mac.toLowerCase();
    const at = [...path, "mac"];
    const { high, low } = parseMac(mac);
    if ((high & 0x0100) !== 0) this.report(at, `${mac} is a multicast address`);
    else if (high === 0 && low === 0) this.report(at, `${mac} is no device's address`);
    else if (mac === network.mac) this.report(at, `${mac} is the gateway's`);
    else this.useOnce(network.used, `hardware address ${mac}`, at);
    return mac;
  }

  takeInterface(kind: InterfacePlan["kind"], name: string): number {
    const index = this.interfaceIndexes.take(interfaceKey(kind, name));
    this.indexOfInterface.set(name, index);
    this.portsOf.set(name, []);
    return index;
  }

  hasRoom(subnet: Prefix, longest: number, path: Path): boolean {
    if (subnet.length >= 1 && subnet.length <= longest) return true;
    this.report(path, `prefix length /${subnet.length} is not /1 to /${longest}`);
    return false;
  }

  /** Notes a subnet. Those of one interface may overlap, those of two may not. */
  connect(connected: Connected, path: Path): void {
    const other = this.connected.find(
      (each) => each.interface !== connected.interface && overlap(each.prefix, connected.prefix),
    );
    if (other !== undefined) {
      const theirs = `${formatPrefix(other.prefix)} of ${quote(other.name)}`;
      this.report(path, `${formatPrefix(connected.prefix)} overlaps ${theirs}`);
    }
    this.connected.push(connected);
    this.built.add(connected.interface);
  }

  addDevice(
    interfaceKeyOfPort: string,
    index: number,
    device: Omit<DevicePlan, "port">,
    path: Path,
    settings: Omit<PortPlan, "index" | "name" | "interface">,
  ): void {
    const place = device.netns === undefined ? "" : ` in ${device.netns}`;
    this.useOnce(this.deviceUsers, `device ${device.ifname}${place}`, path, "key");
    const port = this.portIndexes.take(portKey(interfaceKeyOfPort, device));
    this.devices.push({ port, ...device });
    this.ports.push({ index: port, name: device.name, interface: index, ...settings });
    this.portsOf.set(device.name, [port]);
    const interfaceName = this.interfaces[this.interfaces.length - 1].name;
    if (interfaceName !== device.name) this.portsOf.get(interfaceName)?.push(port);
  }

  private useOnce(used: Map<string, Path>, what: string, path: Path, side: "key" | "value" = "value"): void {
    const user = used.get(what);
    if (user === undefined) used.set(what, path);
    else this.report(path, `${what} is in use already, at ${formatPath(user)}`, side);
  }
}

function rateLimitOf(limit: RateLimitConfiguration | undefined): { rateLimit?: RateLimitPlan } {
  if (limit === undefined) return {};
  const { packetsPerSecond: packets, bytesPerSecond: bytes, newFlowsPerSecond: flows } = limit;
  return {
    rateLimit: {
      ...(packets === undefined ? {} : { packets }),
      ...(bytes === undefined ? {} : { bytes }),
      ...(flows === undefined ? {} : { flows }),
    },
  };
}
