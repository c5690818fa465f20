/**
 * What the words of a packet leave open, from what the router knows: the container's own addresses on its port, the
 * gateway's hardware address or, inside the network, the other station's.
 */
import type { FdbRow, NeighbourRow } from "../../dataplane/messages.ts";
import type { InterfacePlan, PortPlan } from "../../dataplane/plan.ts";
import { isMulticast, LIMITED_BROADCAST } from "../../packet/ipv4.ts";
import { contains, formatAddress, prefixMask } from "../../packet/ipv4_address.ts";
import type { DevicePlan, ResolvedPlan } from "../configuration/configuration.ts";
import { UnknownNameError } from "../errors.ts";
import type { Settled } from "./packet_bytes.ts";
import { type PacketWish, refusePacket } from "./packet_wish.ts";

/** A station outside of which nothing is known yet (RFC 7042 2.1.2: for documentation). */
const SOME_STATION = "00:00:5e:00:53:01";
const BROADCAST = "ff:ff:ff:ff:ff:ff";

export interface KnownStations {
  neighbours: readonly NeighbourRow[];
  fdb: readonly FdbRow[];
}

export class Ingress {
  readonly port: PortPlan;
  private readonly resolved: ResolvedPlan;
  private readonly own: InterfacePlan;
  private readonly device: DevicePlan | undefined;
  private readonly stations: KnownStations;

  /** @throws UnknownNameError */
  constructor(resolved: ResolvedPlan, name: string, stations: KnownStations) {
    const port = resolved.plan.ports.find((each) => each.name === name);
    if (port === undefined) {
      const names = resolved.plan.ports.map((each) => each.name).join(", ");
      throw new UnknownNameError(`no port is called "${name}"; there are ${names}`);
    }
    this.port = port;
    this.resolved = resolved;
    this.own = resolved.plan.interfaces.find(({ index }) => index === port.interface) as InterfacePlan;
    this.device = resolved.devices.find((each) => each.port === port.index);
    this.stations = stations;
  }

  /** Fills in addresses. @throws TapirError where nothing sensible can stand. */
  settle(wish: PacketWish): Settled {
    const source = wish.source ?? this.defaultSource(wish);
    const destination = this.destinationOf(wish);
    const settled = { ...wish, ...(source === undefined ? {} : { source }) };
    if (destination !== undefined) settled.destination = destination;
    return {
      ...settled,
      sourceMac: wish.sourceMac ?? this.macOfSource(source?.address),
      destinationMac: wish.destinationMac ?? this.macOfDestination(settled),
    };
  }

  /** Hardware addresses for an IPv4 packet that was given as bytes. */
  macsFor(source: number, destination: number): { sourceMac: string; destinationMac: string } {
    const sourceMac = this.macOfSource(source);
    return { sourceMac, destinationMac: this.nextMac(destination) };
  }

  private get isNetwork(): boolean {
    return this.own.kind === "network";
  }

  private defaultSource(wish: PacketWish): PacketWish["source"] {
    if (wish.kind === "ether") return undefined;
    const address = this.isNetwork ? this.device?.address?.address : this.gateway();
    if (address !== undefined) return { address };
    throw refusePacket(`where from? Nothing is known of an address behind ${this.port.name}`);
  }

  /** The next hop of the default route over an uplink. */
  private gateway(): number | undefined {
    const { routes } = this.resolved.plan;
    const hops = routes.filter(({ to }) => to.length === 0).flatMap(({ nextHops }) => nextHops);
    return hops.find((hop) => hop.interface === this.own.index)?.via;
  }

  /** What answers ARP without saying whom, answers the router. */
  private destinationOf({ kind, operation, destination, source }: PacketWish): PacketWish["destination"] {
    const isSelf = destination !== undefined && destination.address === source?.address;
    return kind === "arp" && operation === 2 && isSelf ? { address: this.own.address } : destination;
  }

  private macOfSource(address: number | undefined): string {
    const { device } = this;
    if (this.isNetwork && device !== undefined && (address === undefined || device.address?.address === address)) {
      return device.mac;
    }
    const known = address === undefined ? undefined : this.neighbour(address);
    if (known !== undefined) return known;
    const behind = this.stations.fdb.find((row) => row.port === this.port.index);
    if (this.isNetwork) return behind?.mac ?? device?.mac ?? SOME_STATION;
    const gateway = this.gateway();
    return (gateway === undefined ? undefined : this.neighbour(gateway)) ?? SOME_STATION;
  }

  private macOfDestination({ kind, operation, destination }: PacketWish): string {
    if (kind === "ether") return this.own.mac;
    if (kind === "arp") return operation === 1 ? BROADCAST : this.own.mac;
    return this.nextMac(destination?.address ?? 0);
  }

  private nextMac(destination: number): string {
    const { address, prefixLength, mac } = this.own;
    const broadcast = address | ~prefixMask(prefixLength);
    if (destination === LIMITED_BROADCAST || (this.isNetwork && destination === broadcast)) return BROADCAST;
    if (isMulticast(destination)) return multicastMac(destination);
    const isPeer =
      this.isNetwork && destination !== address && contains({ address, length: prefixLength }, destination);
    if (!isPeer) return mac;
    const peer = this.neighbour(destination) ?? this.planned(destination);
    if (peer !== undefined) return peer;
    const to = formatAddress(destination);
    throw refusePacket(
      `${to} is in the same network, and its hardware address is not known: give it ('mac > aa:bb:…'), or explain 'arp who-has ${to}'`,
    );
  }

  private neighbour(address: number): string | undefined {
    const text = formatAddress(address);
    const row = this.stations.neighbours.find((each) => each.interface === this.own.index && each.address === text);
    return row?.mac ?? undefined;
  }

  /** The hardware address that the configuration gives the container with this address. */
  private planned(address: number): string | undefined {
    const { devices, plan } = this.resolved;
    const isHere = (port: number): boolean =>
      plan.ports.some((each) => each.index === port && each.interface === this.own.index);
    return devices.find((each) => each.address?.address === address && isHere(each.port))?.mac;
  }
}

/** RFC 1112 6.4. */
function multicastMac(group: number): string {
  const octets = [0x01, 0x00, 0x5e, (group >>> 16) & 0x7f, (group >>> 8) & 0xff, group & 0xff];
  return octets.map((octet) => octet.toString(16).padStart(2, "0")).join(":");
}
