/** Uplinks: their addresses, gateways and devices. */
import { hostname } from "node:os";
import { type AddressPlan, KERNEL_HOP, type SharedAddress } from "../../dataplane/plan.ts";
import { contains, formatAddress, type Prefix } from "../../packet/ipv4_address.ts";
import { parseMac } from "../../packet/mac_address.ts";
import type { LeasedAddress } from "../dhcp/lease.ts";
import { isHostOf, masked, readAddress, readInterfaceAddress } from "./addresses.ts";
import { withOwnSeeds } from "./build_impair.ts";
import type { InterfaceBuilder } from "./build_interfaces.ts";
import { type DevicePlan, derivedMac, netnsPath, type RawPlan } from "./devices.ts";
import { type Path, quote } from "./errors.ts";
import { interfaceKey } from "./indexes.ts";
import { DEFAULT_IFNAME, DEFAULT_MTU } from "./schema.ts";
import { DEFAULT_RESERVED, type UplinkConfiguration } from "./schema_uplinks.ts";

/** Instead of an address. */
const DHCP = "dhcp";
const HIGHEST_PORT = 65_535;
const LONGEST_PREFIX = 31;
/** Of an address beside the first: it may be routed here without a subnet. */
const LONGEST_FURTHER_PREFIX = 32;

/** Keys that only some kinds have. */
const KINDS_OF: Partial<Record<keyof UplinkConfiguration, readonly UplinkConfiguration["kind"][]>> = {
  ifname: ["tap"],
  netns: ["tap"],
  pid: ["tap"],
  peerAddress: ["tap"],
  ports: ["raw"],
  echoIds: ["raw"],
  defaultRoute: ["raw"],
  addresses: ["packet", "tap"],
  gateway: ["packet", "tap"],
  mac: ["packet", "tap"],
};

export class UplinkBuilder {
  private readonly builder: InterfaceBuilder;

  constructor(builder: InterfaceBuilder) {
    this.builder = builder;
  }

  add(name: string, uplink: UplinkConfiguration): void {
    const { builder } = this;
    const path = ["uplinks", name];
    const index = builder.takeInterface("uplink", name);
    this.checkPlace(uplink, path);
    if (uplink.address === DHCP) {
      this.addLeased(name, index, uplink, path);
      return;
    }
    const own = this.readOwn(uplink.address, LONGEST_PREFIX, [...path, "address"]);
    if (own === undefined) return;
    const { address, length: prefixLength } = own;
    // With its address: routers whose uplinks have the same name may meet on one segment.
    const mac = this.readMac(uplink, path) ?? derivedMac(`${name} ${formatAddress(address)}`);
    const mtu = uplink.mtu ?? (uplink.kind === "tap" ? DEFAULT_MTU : 0);
    builder.connect({ interface: index, name, prefix: own, address }, [...path, "address"]);
    const shared = uplink.kind === "raw" ? this.readShared(uplink, path) : undefined;
    const further = this.addFurther(name, index, own, uplink, path);
    builder.interfaces.push({
      index,
      name,
      kind: "uplink",
      address,
      // The kernel is the next hop to the shared address's own subnet, too.
      prefixLength: shared === undefined ? prefixLength : 32,
      mac,
      mtu,
      ...(shared === undefined ? {} : { shared }),
      ...(further.length === 0 ? {} : { further }),
    });
    if (shared === undefined) this.readGateway(uplink, [own, ...further.map(toPrefix)], index, path);
    else this.leadToKernel(uplink, index, own, path);
    const peer = this.readPeer(uplink, own, path);
    const raw = shared === undefined ? undefined : { address, ...shared, published: [] };
    const impairment = withOwnSeeds(builder.readImpair(uplink.impair, path) ?? {}, name);
    builder.addDevice(
      interfaceKey("uplink", name),
      index,
      deviceOf(name, uplink, mtu, mac, peer, raw),
      path,
      impairment,
    );
  }

  /** Its address and routes are those of the lease, if there is one; its device does not depend on it. */
  private addLeased(name: string, index: number, uplink: UplinkConfiguration, path: Path): void {
    const { builder } = this;
    const mac = this.readMac(uplink, path) ?? derivedMac(`${name} ${hostname()}`);
    const mtu = uplink.mtu ?? 0;
    const lease = builder.leases.get(name);
    if (uplink.kind !== "packet")
      builder.report([...path, "address"], "a DHCP client runs on uplinks of kind packet only: give the address");
    if (uplink.addresses !== undefined)
      builder.report([...path, "addresses"], 'with `address: dhcp` there are no other "addresses"', "key");
    builder.interfaces.push({
      index,
      name,
      kind: "uplink",
      address: lease?.address ?? 0,
      prefixLength: lease?.prefixLength ?? 32,
      isLeased: true,
      mac,
      mtu,
    });
    if (lease === undefined) this.awaitLease(uplink, path);
    else this.takeLease(name, index, lease, uplink, path);
    const device = deviceOf(name, uplink, mtu, mac, undefined, undefined);
    const impairment = withOwnSeeds(builder.readImpair(uplink.impair, path) ?? {}, name);
    builder.addDevice(interfaceKey("uplink", name), index, { ...device, isLeased: true }, path, impairment);
  }

  private awaitLease({ gateway }: UplinkConfiguration, path: Path): void {
    this.builder.unleased++;
    if (gateway !== undefined) readAddress(gateway, [...path, "gateway"], this.builder.report);
  }

  /** A configured gateway is the default route's, whatever the lease says. */
  private takeLease(name: string, index: number, lease: LeasedAddress, uplink: UplinkConfiguration, path: Path): void {
    const { builder } = this;
    const own = toPrefix(lease);
    const at = [...path, "address"];
    builder.connect({ interface: index, name, prefix: own, address: lease.address }, at);
    if (uplink.gateway !== undefined) this.readGateway(uplink, [own], index, path);
    for (const { to, via } of lease.routes) {
      if (uplink.gateway !== undefined && to.length === 0) continue;
      builder.gateways.push({ interface: index, via, to, metric: uplink.metric ?? 0, path: at });
    }
  }

  private readShared(uplink: UplinkConfiguration, path: Path): SharedAddress {
    return {
      ports: this.readSpan(uplink.ports, 1, [...path, "ports"]),
      echoIds: this.readSpan(uplink.echoIds, 0, [...path, "echoIds"]),
    };
  }

  private readSpan(text: string | undefined, least: number, path: Path): SharedAddress["ports"] {
    const [first, last] = (text ?? DEFAULT_RESERVED).split("-").map(Number);
    const { report } = this.builder;
    if (first > last) report(path, `${quote(text)} ends before it begins; did you mean "${last}-${first}"?`);
    else if (first < least || last > HIGHEST_PORT)
      report(path, `${quote(text)} is not within ${least} to ${HIGHEST_PORT}`);
    return { first, last };
  }

  /** The kernel routes what goes out by a raw uplink: to its subnet, and to everywhere. */
  private leadToKernel(uplink: UplinkConfiguration, index: number, own: Prefix, path: Path): void {
    const { gateways } = this.builder;
    const metric = uplink.metric ?? 0;
    gateways.push({ interface: index, via: KERNEL_HOP, to: masked(own), metric, path: [...path, "address"] });
    if (uplink.defaultRoute === false) return;
    gateways.push({ interface: index, via: KERNEL_HOP, metric, path });
  }

  private checkPlace(uplink: UplinkConfiguration, path: Path): void {
    const { report } = this.builder;
    for (const [key, kinds] of Object.entries(KINDS_OF)) {
      if (uplink[key as keyof UplinkConfiguration] === undefined || kinds.includes(uplink.kind)) continue;
      report([...path, key], `${quote(key)} is for uplinks of kind ${kinds.join(" and ")}`, "key");
    }
    if (uplink.kind === "tap") {
      if (uplink.netns !== undefined && uplink.pid !== undefined)
        report([...path, "pid"], '"netns" and "pid" exclude each other', "key");
      if (uplink.device !== undefined && uplink.ifname !== undefined)
        report([...path, "ifname"], '"device" and "ifname" say the same', "key");
    } else if (uplink.device === undefined) {
      report(path, 'missing key "device"', "key");
    }
  }

  /** An address of the router's own with its subnet. */
  private readOwn(text: string, longest: number, path: Path): Prefix | undefined {
    const { builder } = this;
    const own = readInterfaceAddress(text, path, builder.report);
    if (own === undefined || !builder.hasRoom(own, longest, path)) return undefined;
    return isHostOf(own, own.address, "address", path, builder.report) ? own : undefined;
  }

  /** Addresses beside the first: of its subnet, or of other ones. */
  private addFurther(name: string, index: number, own: Prefix, uplink: UplinkConfiguration, path: Path): AddressPlan[] {
    const further: AddressPlan[] = [];
    for (const [position, text] of (uplink.addresses ?? []).entries()) {
      const at = [...path, "addresses", position];
      const read = this.readOwn(text, LONGEST_FURTHER_PREFIX, at);
      if (read === undefined) continue;
      const { address, length } = read;
      if (address === own.address || further.some((each) => each.address === address)) {
        this.builder.report(at, `${formatAddress(address)} is there twice`);
        continue;
      }
      this.builder.connect({ interface: index, name, prefix: read, address }, at);
      further.push({ address, prefixLength: length });
    }
    return further;
  }

  private readMac({ mac }: UplinkConfiguration, path: Path): string | undefined {
    if (mac === undefined) return undefined;
    const { high, low } = parseMac(mac);
    if ((high & 0x0100) !== 0) this.builder.report([...path, "mac"], `${mac} is a multicast address`);
    else if (high === 0 && low === 0) this.builder.report([...path, "mac"], `${mac} is no device's address`);
    return mac.toLowerCase();
  }

  private readGateway(uplink: UplinkConfiguration, subnets: readonly Prefix[], index: number, path: Path): void {
    const { builder } = this;
    if (uplink.gateway === undefined) {
      if (uplink.metric !== undefined) builder.report([...path, "metric"], '"metric" needs a "gateway"', "key");
      return;
    }
    const at = [...path, "gateway"];
    const via = readAddress(uplink.gateway, at, builder.report);
    if (via === undefined) return;
    const subnet = subnets.find((each) => contains(each, via)) ?? subnets[0];
    if (!isHostOf(subnet, via, "gateway", at, builder.report)) return;
    if (subnets.some(({ address }) => address === via)) {
      builder.report(at, `gateway ${formatAddress(via)} is the router's own address`);
    } else {
      builder.gateways.push({ interface: index, via, metric: uplink.metric ?? 0, path: at });
    }
  }

  private readPeer({ peerAddress }: UplinkConfiguration, own: Prefix, path: Path): Prefix | undefined {
    if (peerAddress === undefined) return undefined;
    const { report } = this.builder;
    const at = [...path, "peerAddress"];
    const address = readAddress(peerAddress, at, report, "an IPv4 address without a prefix length");
    if (address === undefined || !isHostOf(own, address, "peer address", at, report)) return undefined;
    if (address === own.address) report(at, `${formatAddress(address)} is the router's own address`);
    return { address, length: own.length };
  }
}

const toPrefix = ({ address, prefixLength }: AddressPlan): Prefix => ({ address, length: prefixLength });

function deviceOf(
  name: string,
  uplink: UplinkConfiguration,
  mtu: number,
  mac: string,
  peer: Prefix | undefined,
  raw: RawPlan | undefined,
): Omit<DevicePlan, "port"> {
  const { kind, device, ifname } = uplink;
  if (kind !== "tap") return { kind, name, ifname: device ?? "", mtu, mac, ...(raw === undefined ? {} : { raw }) };
  const netns = netnsPath(uplink);
  return {
    kind,
    name,
    ...(netns === undefined ? {} : { netns }),
    ifname: ifname ?? device ?? DEFAULT_IFNAME,
    mtu,
    mac: derivedMac(`${name}/${name}`),
    ...(peer === undefined ? {} : { address: { address: peer.address, prefixLength: peer.length } }),
  };
}
