/** What iproute2 calls the numbers of routing: types of routes, and who made them (/etc/iproute2/rt_protos). */
import { RouteKind } from "../../routing/route_set.ts";

const KIND_NAMES = new Map<number, string>([
  [RouteKind.UNICAST, "unicast"],
  [RouteKind.LOCAL, "local"],
  [RouteKind.BROADCAST, "broadcast"],
  [RouteKind.BLACKHOLE, "blackhole"],
  [RouteKind.UNREACHABLE, "unreachable"],
  [RouteKind.PROHIBIT, "prohibit"],
  [RouteKind.THROW, "throw"],
]);

export function kindName(kind: number): string {
  return KIND_NAMES.get(kind) ?? String(kind);
}
export const RouteProtocol = { KERNEL: 2, BOOT: 3, STATIC: 4 } as const;

const NAMES = new Map<number, string>([
  [0, "unspec"],
  [1, "redirect"],
  [2, "kernel"],
  [3, "boot"],
  [4, "static"],
  [8, "gated"],
  [9, "ra"],
  [10, "mrt"],
  [11, "zebra"],
  [12, "bird"],
  [13, "dnrouted"],
  [14, "xorp"],
  [15, "ntk"],
  [16, "dhcp"],
  [18, "keepalived"],
  [42, "babel"],
  [186, "bgp"],
  [187, "isis"],
  [188, "ospf"],
  [189, "rip"],
  [192, "eigrp"],
]);

export function protocolName(number: number): string {
  return NAMES.get(number) ?? String(number);
}

/** The number of a protocol by name or number; undefined where there is none. */
export function protocolNumber(text: string): number | undefined {
  if (/^\d{1,3}$/.test(text)) return Number(text) <= 255 ? Number(text) : undefined;
  for (const [number, name] of NAMES) if (name === text) return number;
  return undefined;
}
