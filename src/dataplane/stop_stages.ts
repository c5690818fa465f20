/** At which stage of the walk (`docs/walk.md`) each stop reason comes about. */
import { STOP_REASONS, Stop } from "../packet/stop_reasons.ts";

/** The reasons that come about before the packet is one of a flow, by the stage that finds them. */
const STAGES: Record<string, readonly number[]> = {
  police: [Stop.PACKET_RATE],
  parse: [
    Stop.FRAME_TRUNCATED,
    Stop.OFFLOAD_MALFORMED,
    Stop.IPV4_MALFORMED,
    Stop.IPV4_CHECKSUM,
    Stop.IPV4_OPTIONS,
    Stop.SOURCE_ROUTED,
    Stop.L4_MALFORMED,
  ],
  learn: [Stop.SOURCE_MAC_INVALID, Stop.PORT_UNUSABLE],
  guard: [Stop.MAC_SPOOFED, Stop.ADDRESS_SPOOFED],
  switch: [
    Stop.SWITCHED,
    Stop.FLOODED,
    Stop.RESERVED_MULTICAST,
    Stop.VLAN_UNJUDGED,
    Stop.VLAN_TAGGED,
    Stop.PORT_ISOLATED,
    Stop.SAME_PORT,
    Stop.NOT_FOR_ROUTER,
    Stop.ETHERTYPE_UNKNOWN,
  ],
  arp: [Stop.ARP_MALFORMED, Stop.ARP_NOT_FOR_ROUTER, Stop.ARP_SPOOFED],
  "bridge filter": [Stop.BRIDGE_DROP, Stop.BRIDGE_REJECT],
  screen: [Stop.MARTIAN_SOURCE, Stop.MARTIAN_DESTINATION, Stop.L2_BROADCAST, Stop.MULTICAST],
  fragments: [Stop.FRAGMENT_HELD, Stop.FRAGMENT],
  track: [Stop.L4_CHECKSUM, Stop.INVALID_STATE, Stop.ICMP_ERROR_UNRELATED, Stop.ICMP_ERROR_FORGED],
  route: [
    Stop.NO_ROUTE,
    Stop.DIRECTED_BROADCAST,
    Stop.NETWORK_ISOLATED,
    Stop.ROUTE_BLACKHOLE,
    Stop.ROUTE_UNREACHABLE,
    Stop.ROUTE_PROHIBITED,
  ],
  limits: [Stop.TTL_EXCEEDED, Stop.MTU_EXCEEDED],
  forward: [Stop.FORWARD_DROP, Stop.FORWARD_REJECT],
  input: [Stop.INPUT_DROP, Stop.INPUT_REJECT, Stop.LOCAL, Stop.SERVICE_LIMIT, Stop.DHCP_CLIENT],
  output: [Stop.OUTPUT_DROP],
  nat: [Stop.NAT_PORTS_EXHAUSTED, Stop.HOST_LIMIT],
  flow: [Stop.FLOW_TABLE_FULL, Stop.FLOW_SHARE, Stop.FLOW_RATE],
  neighbour: [Stop.PARKED, Stop.NEIGHBOUR_UNREACHABLE, Stop.NEIGHBOUR_TABLE_FULL, Stop.NEIGHBOUR_QUEUE_FULL],
  egress: [Stop.ROUTED],
  custom: [Stop.CUSTOM_STAGE],
  impairment: [Stop.IMPAIRMENT_LOSS, Stop.IMPAIRMENT_FULL],
};

const STAGE_OF: readonly string[] = STOP_REASONS.map(
  (_, stop) => Object.entries(STAGES).find(([, stops]) => stops.includes(stop))?.[0] ?? "",
);

/** Name of the stage; empty for a reason that nobody has put to one (a test finds it). */
export function stageOf(stop: number): string {
  return STAGE_OF[stop];
}
