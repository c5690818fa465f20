/**
 * What the dataplane is told to be: the configuration resolved to numbers, as plain data. The control process makes
 * it and sends it as JSON; the dataplane never sees a name resolved twice. Addresses are host-order signed words,
 * MACs are `aa:bb:cc:dd:ee:ff`. Indexes are chosen by the control process and stay the same for the life of the
 * thing they name.
 */
import type { Chain, Prefix } from "../filter/rule.ts";

/** An L3 interface of the router: a network (a bridge with a gateway address) or an uplink (one port, no bridge). */
export interface InterfacePlan {
  index: number;
  name: string;
  kind: "network" | "uplink";
  /** The router's own address on it. */
  address: number;
  prefixLength: number;
  /** The router's own hardware address on it, stable over restarts. */
  mac: string;
  /** Largest IPv4 packet in bytes. */
  mtu: number;
}

/** A device the router holds. Frames of a network's ports are bridged; an uplink has exactly one port. */
export interface PortPlan {
  index: number;
  name: string;
  interface: number;
}

export interface RoutePlan {
  to: Prefix;
  interface: number;
  /** Next hop; absent for a connected route (the destination itself is the neighbour). */
  via?: number;
}

/** MASQUERADE: new flows from `from` that leave through `out` take the address of `out`. */
export interface MasqueradePlan {
  from: Prefix;
  out: number;
}

export interface LimitsPlan {
  /** Connections (both directions are one). */
  flows: number;
  macs: number;
  neighbours: number;
}

export interface RouterPlan {
  interfaces: InterfacePlan[];
  ports: PortPlan[];
  /** Configured routes, the uplinks' default routes included; connected routes follow from the interfaces. */
  routes: RoutePlan[];
  masquerade: MasqueradePlan[];
  forward: Chain;
  input: Chain;
  /** Seconds after which a silent station's MAC is forgotten. */
  macAgeingSeconds: number;
}
