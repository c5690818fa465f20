/**
 * The router's L3 interfaces and its ports, as the dataplane holds them: made from the plan, read per packet. One
 * object of one shape for each; a plan that changes makes new ones between two bursts.
 */

import { prefixMask } from "../packet/ipv4_address.ts";
import { parseMac } from "../packet/mac_address.ts";
import type { InterfacePlan, PortPlan } from "./plan.ts";

export class Interface {
  readonly index: number;
  readonly name: string;
  /** A network: its ports are bridged. Otherwise an uplink with one port. */
  readonly isNetwork: boolean;
  readonly address: number;
  readonly prefixLength: number;
  readonly broadcast: number;
  readonly macHigh: number;
  readonly macLow: number;
  readonly mtu: number;
  /** Ports that work, in no particular order. */
  ports: Int32Array = new Int32Array(0);

  constructor(plan: InterfacePlan) {
    const mac = parseMac(plan.mac);
    this.index = plan.index;
    this.name = plan.name;
    this.isNetwork = plan.kind === "network";
    this.address = plan.address;
    this.prefixLength = plan.prefixLength;
    this.broadcast = plan.address | ~prefixMask(plan.prefixLength);
    this.macHigh = mac.high;
    this.macLow = mac.low;
    this.mtu = plan.mtu;
  }

  addPort(port: number): void {
    if (!this.ports.includes(port)) this.ports = Int32Array.of(...this.ports, port);
  }

  removePort(port: number): void {
    this.ports = this.ports.filter((other) => other !== port);
  }

  /** Whether `address` is of this interface's subnet. */
  holds(address: number): boolean {
    return ((address ^ this.address) & prefixMask(this.prefixLength)) === 0;
  }
}

/** The L3 interface of each port that works; -1 for the others. */
export class PortTable {
  readonly interfaceOf: Int32Array;
  readonly plans: (PortPlan | undefined)[] = [];

  constructor(limit: number) {
    this.interfaceOf = new Int32Array(limit).fill(-1);
  }

  add(plan: PortPlan): void {
    if (plan.index < 0 || plan.index >= this.interfaceOf.length) throw new RangeError(`no port ${plan.index}`);
    this.interfaceOf[plan.index] = plan.interface;
    this.plans[plan.index] = plan;
  }

  remove(port: number): void {
    this.interfaceOf[port] = -1;
    this.plans[port] = undefined;
  }
}
