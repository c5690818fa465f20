/**
 * The router's L3 interfaces and its ports, as the dataplane holds them: made from the plan, read per packet. One
 * object of one shape for each; a plan that changes makes new ones between two bursts.
 */

import { prefixMask } from "../packet/ipv4_address.ts";
import { parseMac } from "../packet/mac_address.ts";
import type { AddressPlan, GuardPlan, InterfacePlan, PortPlan, SharedAddress } from "./plan.ts";

export class Interface {
  readonly index: number;
  readonly name: string;
  /** A network: its ports are bridged. Otherwise an uplink with one port. */
  readonly isNetwork: boolean;
  readonly address: number;
  readonly prefixLength: number;
  readonly broadcast: number;
  /** All of its addresses: the one above, then further ones of an uplink. */
  readonly addresses: readonly AddressPlan[];
  readonly macHigh: number;
  readonly macLow: number;
  readonly mtu: number;
  /** What the router may use of an address that it shares with the host, on an uplink without ARP; else undefined. */
  readonly shared: SharedAddress | undefined;
  /** An uplink: the DHCP client of the control process lives on it. */
  readonly isLeased: boolean;
  /** A network: nothing passes between it and other networks. */
  readonly isIsolated: boolean;
  /** A network: nothing passes between it and the uplinks. */
  readonly isInternal: boolean;
  /** A network: the router is its DHCP server; the gateway answers questions of DNS. */
  readonly servesDhcp: boolean;
  readonly servesDns: boolean;
  /** A network: some of its ports have a guard; some are isolated; frames that are switched meet the bridge chain. */
  readonly isGuarded: boolean;
  readonly hasIsolatedPorts: boolean;
  readonly isFiltered: boolean;
  /** Ports that work, in no particular order. */
  ports: Int32Array = new Int32Array(0);

  /** `ports` are those of all interfaces; `isFiltered` holds if this is a network. */
  constructor(plan: InterfacePlan, ports: readonly PortPlan[], isFiltered: boolean) {
    const mac = parseMac(plan.mac);
    this.index = plan.index;
    this.name = plan.name;
    this.isNetwork = plan.kind === "network";
    this.address = plan.address;
    this.prefixLength = plan.prefixLength;
    this.broadcast = broadcastOf(plan);
    const first = { address: plan.address, prefixLength: plan.prefixLength };
    this.addresses = [...(plan.address === 0 ? [] : [first]), ...(plan.further ?? [])];
    this.macHigh = mac.high;
    this.macLow = mac.low;
    this.mtu = plan.mtu;
    this.shared = plan.shared;
    this.isLeased = plan.isLeased === true;
    const own = ports.filter((port) => this.isNetwork && port.interface === plan.index);
    this.isInternal = this.isNetwork && plan.internal === true;
    this.servesDhcp = this.isNetwork && plan.dhcp === true;
    this.servesDns = this.isNetwork && plan.dns === true;
    this.isIsolated = this.isNetwork && plan.isolated === true;
    this.isGuarded = own.some(({ guard }) => guard !== undefined);
    this.hasIsolatedPorts = own.some(({ isolated }) => isolated === true);
    this.isFiltered = this.isNetwork && isFiltered;
  }

  addPort(port: number): void {
    if (!this.ports.includes(port)) this.ports = Int32Array.of(...this.ports, port);
  }

  removePort(port: number): void {
    this.ports = this.ports.filter((other) => other !== port);
  }

  /** Whether `address` is of one of this interface's subnets. */
  holds(address: number): boolean {
    for (let i = 0; i < this.addresses.length; i++) if (isWithin(this.addresses[i], address)) return true;
    return false;
  }

  /** Whether `address` is the router's own, on this interface. */
  owns(address: number): boolean {
    for (let i = 0; i < this.addresses.length; i++) if (this.addresses[i].address === address) return true;
    return false;
  }

  /** The router's own address that a neighbour is asked in the name of: one of its subnet, else the first. */
  addressTowards(neighbour: number): number {
    for (let i = 0; i < this.addresses.length; i++) {
      if (isWithin(this.addresses[i], neighbour)) return this.addresses[i].address;
    }
    return this.address;
  }
}

function isWithin({ address, prefixLength }: AddressPlan, other: number): boolean {
  return ((address ^ other) & prefixMask(prefixLength)) === 0;
}

/** The last address of a subnet. */
export function broadcastOf({ address, prefixLength }: AddressPlan): number {
  return address | ~prefixMask(prefixLength);
}

/** Whose frames a port takes. */
export class PortGuard {
  readonly macHigh: number;
  readonly macLow: number;
  readonly hasAddress: boolean;
  readonly address: number;

  constructor({ mac, address }: GuardPlan) {
    const { high, low } = parseMac(mac);
    this.macHigh = high;
    this.macLow = low;
    this.hasAddress = address !== undefined;
    this.address = address ?? 0;
  }
}

/** What is known of each port that works. */
export class PortTable {
  /** Its L3 interface; -1 for ports that do not work. */
  readonly interfaceOf: Int32Array;
  /** 1 for the isolated ones. */
  readonly isolated: Int32Array;
  readonly guards: (PortGuard | undefined)[] = [];
  readonly plans: (PortPlan | undefined)[] = [];

  constructor(limit: number) {
    this.interfaceOf = new Int32Array(limit).fill(-1);
    this.isolated = new Int32Array(limit);
  }

  add(plan: PortPlan): void {
    if (plan.index < 0 || plan.index >= this.interfaceOf.length) throw new RangeError(`no port ${plan.index}`);
    this.interfaceOf[plan.index] = plan.interface;
    this.set(plan);
  }

  /** Takes other settings of ports that work already. */
  update(plans: readonly PortPlan[]): void {
    for (const plan of plans) if (this.interfaceOf[plan.index] === plan.interface) this.set(plan);
  }

  /** Whether two ports of a network are isolated from each other. */
  areIsolated(port: number, other: number): boolean {
    return (this.isolated[port] & this.isolated[other]) !== 0;
  }

  remove(port: number): void {
    this.interfaceOf[port] = -1;
    this.isolated[port] = 0;
    this.guards[port] = undefined;
    this.plans[port] = undefined;
  }

  private set(plan: PortPlan): void {
    this.isolated[plan.index] = plan.isolated === true ? 1 : 0;
    this.guards[plan.index] = plan.guard === undefined ? undefined : new PortGuard(plan.guard);
    this.plans[plan.index] = plan;
  }
}
