/** A network of three containers, c1 to c3, whose frames for each other are switched. */

import { ethernet } from "./frames.ts";
import { BROADCAST, C1_MAC, C2_MAC, defaultPlan, type Out, TestRouter } from "./router.ts";
import type { ShortPlan } from "./rules.ts";

export const C3_MAC = "02:00:00:00:00:04";

/** Ports 0, 1 and 3: port 2 is the uplink of the default plan. */
export const PORTS = { c1: 0, c2: 1, c3: 3 } as const;
export type Container = keyof typeof PORTS;
export const MACS: Record<Container, string> = { c1: C1_MAC, c2: C2_MAC, c3: C3_MAC };
export const ADDRESSES: Record<Container, string> = { c1: "10.55.66.2", c2: "10.55.66.3", c3: "10.55.66.4" };

export function planOfThree(changes: Partial<ShortPlan> = {}): ShortPlan {
  const plan = defaultPlan();
  plan.ports.push({ index: PORTS.c3, name: "c3", interface: 0 });
  return { ...plan, ...changes };
}

/** Addresses of a packet from one container to another. */
export const between = (from: Container, to: Container) => ({ source: ADDRESSES[from], destination: ADDRESSES[to] });

export class Lan extends TestRouter {
  /** Makes all stations known, as what each of them broadcasts does. */
  meet(): this {
    for (const name of Object.keys(PORTS) as Container[]) this.announce(name);
    return this;
  }

  /** A gratuitous ARP of a container's. */
  announce(name: Container): Out[] {
    const own = ADDRESSES[name];
    return this.arp(PORTS[name], { operation: 1, senderMac: MACS[name], sender: own, target: own });
  }

  /** Sends an IPv4 packet from one container to another's hardware address. */
  pass(from: Container, to: Container, ...packets: Uint8Array[]): Out[] {
    return packets.flatMap((packet) => this.send(PORTS[from], ethernet(MACS[to], MACS[from], 0x0800, packet)));
  }

  /** Sends a frame to everybody. */
  cry(from: Container, etherType: number, payload: Uint8Array, destination = BROADCAST): Out[] {
    return this.send(PORTS[from], ethernet(destination, MACS[from], etherType, payload));
  }
}

/** The ports that frames came out of. */
export const portsOf = (out: Out[]): number[] => out.map(({ port }) => port).sort();
