/** How the control process makes or opens the device of each port, and the hardware addresses of both its ends. */
import { createHash } from "node:crypto";
import type { ContainerProcess } from "../container_process.ts";

interface PortSpan {
  first: number;
  last: number;
}

/** What a raw uplink shares with the host. */
export interface RawPlan {
  address: number;
  ports: PortSpan;
  echoIds: PortSpan;
  /** Ports that lead to containers. */
  published: (PortSpan & { protocol: number })[];
}

export interface DevicePlan {
  /** Index of the port (`PortPlan.index`). While it stays, so do `kind`, `netns` and `ifname`. */
  port: number;
  /** `tap`: made by the router. `packet`: an existing device of the router's own namespace. `raw`: one that stays the host's. */
  kind: "tap" | "packet" | "raw";
  /** Name of the port; an uplink's port is called as the uplink. */
  name: string;
  /** Path of the network namespace that the TAP belongs into; absent for the router's own. */
  netns?: string;
  /** The one whose namespace `netns` is, where it has to be the very process. */
  process?: ContainerProcess;
  ifname: string;
  /** Bytes of the largest IPv4 packet; 0: whatever the device has (then the interface's is 0 too, to be filled in). */
  mtu: number;
  /**
   * `tap`: the hardware address that the device gets, which is the container's. `packet`: the router's own address on
   * the device, for which the device has to accept frames.
   */
  mac: string;
  /** Left down in the router's own namespace for another program, which configures it. */
  isHandedOver?: true;
  /** Address that the TAP gets in its namespace. */
  address?: { address: number; prefixLength: number };
  raw?: RawPlan;
  /** An uplink whose address a DHCP server gives. */
  isLeased?: true;
  /** Next hop of the default route that is made in the TAP's namespace. */
  defaultVia?: number;
  /** Routes that are made there besides, as iproute2 writes them. */
  routes?: { to: string; via: string }[];
}

/** Path of the namespace that a configuration means by `netns` or `pid`; undefined for the router's own. */
export function netnsPath(place: { netns?: string; pid?: number }): string | undefined {
  if (place.netns !== undefined) return place.netns.startsWith("/") ? place.netns : `/run/netns/${place.netns}`;
  return place.pid === undefined ? undefined : `/proc/${place.pid}/ns/net`;
}

/** A locally administered unicast address (02:...) that follows from `seed`, so that it is the same after a restart. */
export function derivedMac(seed: string): string {
  const octets = createHash("sha256").update(`tapir:${seed}`).digest().subarray(0, 5);
  return ["02", ...[...octets].map((octet) => octet.toString(16).padStart(2, "0"))].join(":");
}
