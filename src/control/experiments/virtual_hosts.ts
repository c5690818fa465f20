/**
 * The hosts around a virtual router. Each port of a network has the host that the configuration says: its address and
 * its hardware address. Behind an uplink there is any host that is asked for, with a hardware address that follows from
 * its IPv4 address. They answer ARP.
 */

import type { InterfacePlan } from "../../dataplane/plan.ts";
import * as arp from "../../packet/arp.ts";
import { ETHERNET_HEADER_BYTES, EtherType, etherType, setEtherType, setMacs } from "../../packet/ethernet.ts";
import { formatAddress } from "../../packet/ipv4_address.ts";
import { type MacAddress, parseMac } from "../../packet/mac_address.ts";
import type { ResolvedPlan } from "../configuration/configuration.ts";
import { derivedMac } from "../configuration/devices.ts";

export interface VirtualPort {
  name: string;
  interface: InterfacePlan;
  /** A network's port: its host's, where the configuration says one; an uplink's: its gateway's. */
  address?: number;
  /** A network's port: its host's. */
  mac?: MacAddress;
}

export class VirtualHosts {
  readonly ports: readonly VirtualPort[];

  constructor({ plan, devices }: ResolvedPlan) {
    this.ports = plan.ports.map((port, index): VirtualPort => {
      const owner = plan.interfaces.find((each) => each.index === port.interface) as InterfacePlan;
      const { mac, address } = devices[index];
      if (owner.kind === "uplink") return { name: port.name, interface: owner, ...gatewayOf(plan, owner) };
      return {
        name: port.name,
        interface: owner,
        mac: parseMac(mac),
        ...(address === undefined ? {} : { address: address.address }),
      };
    });
  }

  port(name: string): VirtualPort | undefined {
    return this.ports.find((port) => port.name === name);
  }

  /** Hardware address of the host with an address behind a port; undefined where there is none. */
  macAt(port: VirtualPort, address: number): MacAddress | undefined {
    const { address: own, further = [] } = port.interface;
    if (own === address || further.some((each) => each.address === address)) return undefined;
    if (port.mac !== undefined) return port.address === address ? port.mac : undefined;
    return macBehindUplink(address);
  }
}

/** The next hop of the default route over an uplink. */
function gatewayOf({ routes }: ResolvedPlan["plan"], { index }: InterfacePlan): { address?: number } {
  const hops = routes.filter(({ to }) => to.length === 0).flatMap(({ nextHops }) => nextHops);
  const via = hops.find((hop) => hop.interface === index)?.via;
  return via === undefined ? {} : { address: via };
}

/** Hardware address of any host behind an uplink. */
export function macBehindUplink(address: number): MacAddress {
  return parseMac(derivedMac(`host ${formatAddress(address)}`));
}

/** The answer of the host that an ARP request which came out of a port asks for; undefined where there is none. */
export function answerArp(hosts: VirtualHosts, portName: string, request: Uint8Array): Uint8Array | undefined {
  const memory = new DataView(request.buffer, request.byteOffset, request.byteLength);
  const at = ETHERNET_HEADER_BYTES;
  if (request.length < at || etherType(memory, 0) !== EtherType.ARP) return undefined;
  if (!arp.isWellFormed(memory, at, request.length - at) || arp.operation(memory, at) !== arp.ArpOperation.REQUEST) {
    return undefined;
  }
  const port = hosts.port(portName);
  const asked = arp.targetAddress(memory, at);
  const mac = port === undefined ? undefined : hosts.macAt(port, asked);
  if (mac === undefined) return undefined;
  const asker = { high: arp.senderMacHigh(memory, at), low: arp.senderMacLow(memory, at) };
  return arpFrame(arp.ArpOperation.REPLY, mac, asked, asker, arp.senderAddress(memory, at));
}

/** A host's question for `target`, which tells where it is itself. */
export function askArp(mac: MacAddress, address: number, target: number): Uint8Array {
  const frame = arpFrame(arp.ArpOperation.REQUEST, mac, address, { high: 0, low: 0 }, target);
  setMacs(new DataView(frame.buffer), 0, 0xffff, -1, mac.high, mac.low);
  return frame;
}

function arpFrame(operation: number, from: MacAddress, sender: number, to: MacAddress, target: number): Uint8Array {
  const bytes = new Uint8Array(ETHERNET_HEADER_BYTES + arp.ARP_BYTES);
  const memory = new DataView(bytes.buffer);
  setMacs(memory, 0, to.high, to.low, from.high, from.low);
  setEtherType(memory, 0, EtherType.ARP);
  arp.write(memory, ETHERNET_HEADER_BYTES, operation, from.high, from.low, sender, to.high, to.low, target);
  return bytes;
}
