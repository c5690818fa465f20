/**
 * Who takes part in a differential scenario. Each scenario has addresses of its own, so that no flow, port or rate limit
 * of one is met by another:
 *
 *     c1 10.55.66.x ──┐                                          ┌── server 198.51.100.x (behind 203.0.113.2)
 *                     ├── 10.55.66.1 router 203.0.113.1 ─────────┤
 *     c2 10.55.66.x+1 ┘                                          └── third 203.0.113.x (another host on the uplink)
 */

export const GATEWAY = "10.55.66.1";
export const UPLINK = "203.0.113.1";
/** The next hop of the default route: everything that the server sends comes from here. */
export const NEXT_HOP = "203.0.113.2";

export type HostName = "c1" | "c2" | "server" | "third";

/** Devices that the harness sits on; server and third router share one. */
export const SIDES = ["c1", "c2", "wan"] as const;
export type Side = (typeof SIDES)[number];

export const Mac: Record<HostName | "broadcast", string> = {
  c1: "02:00:00:00:00:02",
  c2: "02:00:00:00:00:03",
  server: "02:00:00:00:00:99",
  third: "02:00:00:00:00:77",
  broadcast: "ff:ff:ff:ff:ff:ff",
};

export interface Hosts {
  c1: string;
  c2: string;
  server: string;
  third: string;
}

/** Addresses of the scenario with this number, 0 to 99. */
export function hostsOf(number: number): Hosts {
  return {
    c1: `10.55.66.${10 + 2 * number}`,
    c2: `10.55.66.${11 + 2 * number}`,
    server: `198.51.100.${10 + number}`,
    third: `203.0.113.${10 + number}`,
  };
}

/** Whether a host of any scenario may have this address. */
export function isHostAddress(address: string): boolean {
  const last = /^(?:10\.55\.66|198\.51\.100|203\.0\.113)\.(\d+)$/.exec(address)?.[1];
  return last !== undefined && Number(last) >= 10 && Number(last) <= 253;
}

export function sideOf(host: HostName): Side {
  return host === "c1" || host === "c2" ? host : "wan";
}
