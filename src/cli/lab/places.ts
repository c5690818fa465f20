/**
 * The world of the lab: four namespaces of its own, so that nothing of the host is touched.
 *
 *     tapir-c1  eth0 10.55.66.2 ──┐  TAP                                veth
 *                                 ├─────── tapir-router ── up0 ═══════════════ eth0 ── tapir-wan
 *     tapir-c2  eth0 10.55.66.3 ──┘        10.55.66.1      203.0.113.1         203.0.113.2 the outside host
 *                                                                              203.0.113.9 a second router, before
 *                                                                              198.51.100.7
 */
export const Netns = {
  C1: "tapir-c1",
  C2: "tapir-c2",
  WAN: "tapir-wan",
  ROUTER: "tapir-router",
} as const;

export const Address = {
  C1: "10.55.66.2",
  C2: "10.55.66.3",
  GATEWAY: "10.55.66.1",
  UPLINK: "203.0.113.1",
  OUTSIDE: "203.0.113.2",
  SECOND_ROUTER: "203.0.113.9",
  FURTHER: "198.51.100.7",
} as const;

export const INSIDE_PREFIX = "10.55.66.";

/** A device to capture on, and how to call it in front of people. */
export interface Place {
  netns: string;
  device: string;
  label: string;
}

export const BRIDGE_SIDE: Place = { netns: Netns.C1, device: "eth0", label: "on the bridge side (eth0 of c1)" };
export const SECOND_CONTAINER: Place = {
  netns: Netns.C2,
  device: "eth0",
  label: "at the other container (eth0 of c2)",
};
export const UPLINK: Place = { netns: Netns.WAN, device: "eth0", label: "on the uplink (eth0 of the outside host)" };
export const ROUTER_UPLINK: Place = { netns: Netns.ROUTER, device: "up0", label: "on the uplink (up0 of the router)" };

/** Where the kernel keeps a namespace made by `ip netns add`. */
export function netnsPath(name: string): string {
  return `/run/netns/${name}`;
}
