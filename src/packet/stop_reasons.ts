/**
 * Why a frame stops where it stops: the one list that gives each reason its code, name, text and ICMP answer. A stage
 * returns `CONTINUE` or one of these codes; the loop counts it. Nothing ends without a reason.
 */
import { IcmpType, UnreachableCode } from "./icmp.ts";

/** What a reason means for the frame. */
export type Outcome = "done" | "dropped";

interface Reason {
  name: string;
  text: string;
  outcome: Outcome;
  /** The ICMP error that tells the sender, if there is one (RFC 1812 4.3.3, 5.2.7). */
  icmp?: { type: number; code: number };
}

const unreachable = (code: number) => ({ type: IcmpType.DESTINATION_UNREACHABLE, code });
const done = (name: string, text: string): Reason => ({ name, text, outcome: "done" });
const dropped = (name: string, text: string, icmp?: Reason["icmp"]): Reason => ({
  name,
  text,
  outcome: "dropped",
  ...(icmp === undefined ? {} : { icmp }),
});

export const STOP_REASONS: readonly Reason[] = [
  done("continue", "goes on"),
  done("switched", "forwarded inside its network to one port"),
  done("flooded", "forwarded inside its network to every other port"),
  done("routed", "forwarded to another interface"),
  done("local", "taken by the router itself"),
  done("parked", "waits until its next hop's hardware address is known"),
  done("fragment-held", "copied into the datagram that it is a fragment of"),

  dropped("frame-truncated", "shorter than an Ethernet header"),
  dropped("offload-malformed", "the offload header does not fit the packet"),
  dropped("source-mac-invalid", "group, zero or the router's own address as source"),
  dropped("reserved-multicast", "link-local group of IEEE 802.1D, not forwarded"),
  dropped("packet-rate", "more packets or bytes in a second than its port may send"),
  dropped("mac-spoofed", "the source is not the hardware address of the container behind the port"),
  dropped("address-spoofed", "the source is not the address of the container behind the port"),
  dropped("vlan-unjudged", "tagged frame where a bridge policy or the port's guard would have to look inside"),
  dropped("port-isolated", "from one isolated port of a network to another"),
  dropped("network-isolated", "between networks of which one is isolated, or an internal one and an uplink"),
  dropped("bridge-drop", "dropped by the bridge chain"),
  dropped("bridge-reject", "rejected by the bridge chain"),
  dropped("same-port", "the destination is behind the port it came from"),
  dropped("not-for-router", "addressed to another station on the uplink"),
  dropped("vlan-tagged", "tagged frame for the router, which routes untagged frames only"),
  dropped("ethertype-unknown", "for the router, but neither IPv4 nor ARP"),
  dropped("port-unusable", "the egress port is gone or was never there"),

  dropped("arp-malformed", "not a well-formed ARP packet for IPv4 over Ethernet"),
  dropped("arp-not-for-router", "asks for or answers somebody else"),
  dropped("arp-spoofed", "claims an address of the router's own, or one that is not the sender's"),

  dropped("ipv4-malformed", "version, header length or total length is impossible"),
  dropped("ipv4-checksum", "the header checksum is wrong"),
  dropped("ipv4-options", "an IPv4 option cannot be read", { type: IcmpType.PARAMETER_PROBLEM, code: 0 }),
  dropped("source-routed", "carries a source route"),
  dropped("l4-malformed", "the TCP, UDP or ICMP header does not fit the packet"),
  dropped("l4-checksum", "the TCP, UDP or ICMP checksum is wrong"),
  dropped("martian-source", "the source is no address that a host may send from"),
  dropped("martian-destination", "the destination is never forwarded to"),
  dropped("l2-broadcast", "unicast packet in a broadcast or multicast frame"),
  dropped("multicast", "multicast is not routed"),
  dropped("directed-broadcast", "broadcast of a connected subnet, not forwarded"),
  dropped("fragment", "a fragment that is malformed, a duplicate, overlaps another, or is too much to hold"),

  dropped("invalid-state", "conntrack has no flow that this packet could belong to, or open"),
  dropped("icmp-error-unrelated", "the ICMP error quotes no packet of a known flow"),
  dropped("icmp-error-forged", "the ICMP error comes from where what it quotes never went, or its MTU is none"),
  dropped("flow-table-full", "no room for another flow"),
  dropped("flow-share", "its port holds its share of the flow table already"),
  dropped("nat-ports-exhausted", "no free port for another flow to that destination"),
  dropped("flow-rate", "more new flows in a second than its port may open"),
  dropped("host-limit", "its sender has as many translated flows as one host may have"),

  dropped(
    "service-limit",
    "for the DHCP server or DNS forwarder, which take no more from its port now, or none so long",
  ),
  done("dhcp-client", "an answer to the DHCP client, which hears it by a socket of its own"),

  dropped("no-route", "no route to the destination", unreachable(UnreachableCode.NET)),
  dropped("route-blackhole", "the route is a black hole"),
  dropped("route-unreachable", "the route says that the destination is unreachable", unreachable(UnreachableCode.HOST)),
  dropped("route-prohibited", "the route or a policy rule prohibits it", unreachable(13)),
  dropped("ttl-exceeded", "time to live exceeded", { type: IcmpType.TIME_EXCEEDED, code: 0 }),
  dropped("mtu-exceeded", "too large for the egress and must not be fragmented", unreachable(4)),
  dropped("forward-drop", "dropped by the forward chain"),
  dropped("forward-reject", "rejected by the forward chain"),
  dropped("input-drop", "dropped by the input chain"),
  dropped("input-reject", "rejected by the input chain"),
  dropped("output-drop", "of the router's own, dropped by the output chain"),
  dropped("neighbour-unreachable", "the next hop does not answer ARP", unreachable(UnreachableCode.HOST)),
  dropped("neighbour-table-full", "no room for another neighbour, or none left of its port's share"),
  dropped("neighbour-queue-full", "too many packets wait for the next hop already, or too many of its port's"),

  dropped("impairment-loss", "lost on purpose by the port's impairment"),
  dropped("impairment-full", "too many frames wait in the port's impairment already"),
  dropped("custom-stage", "refused by a stage that was added to the router"),
];

const code = (name: string): number => {
  const index = STOP_REASONS.findIndex((reason) => reason.name === name);
  if (index < 0) throw new Error(`no stop reason is called ${name}`);
  return index;
};

export const Stop = {
  CONTINUE: code("continue"),
  SWITCHED: code("switched"),
  FLOODED: code("flooded"),
  ROUTED: code("routed"),
  LOCAL: code("local"),
  PARKED: code("parked"),
  FRAGMENT_HELD: code("fragment-held"),
  FRAME_TRUNCATED: code("frame-truncated"),
  OFFLOAD_MALFORMED: code("offload-malformed"),
  SOURCE_MAC_INVALID: code("source-mac-invalid"),
  RESERVED_MULTICAST: code("reserved-multicast"),
  PACKET_RATE: code("packet-rate"),
  MAC_SPOOFED: code("mac-spoofed"),
  ADDRESS_SPOOFED: code("address-spoofed"),
  VLAN_UNJUDGED: code("vlan-unjudged"),
  PORT_ISOLATED: code("port-isolated"),
  NETWORK_ISOLATED: code("network-isolated"),
  BRIDGE_DROP: code("bridge-drop"),
  BRIDGE_REJECT: code("bridge-reject"),
  SAME_PORT: code("same-port"),
  NOT_FOR_ROUTER: code("not-for-router"),
  VLAN_TAGGED: code("vlan-tagged"),
  ETHERTYPE_UNKNOWN: code("ethertype-unknown"),
  PORT_UNUSABLE: code("port-unusable"),
  ARP_MALFORMED: code("arp-malformed"),
  ARP_NOT_FOR_ROUTER: code("arp-not-for-router"),
  ARP_SPOOFED: code("arp-spoofed"),
  IPV4_MALFORMED: code("ipv4-malformed"),
  IPV4_CHECKSUM: code("ipv4-checksum"),
  IPV4_OPTIONS: code("ipv4-options"),
  SOURCE_ROUTED: code("source-routed"),
  L4_MALFORMED: code("l4-malformed"),
  L4_CHECKSUM: code("l4-checksum"),
  MARTIAN_SOURCE: code("martian-source"),
  MARTIAN_DESTINATION: code("martian-destination"),
  L2_BROADCAST: code("l2-broadcast"),
  MULTICAST: code("multicast"),
  DIRECTED_BROADCAST: code("directed-broadcast"),
  FRAGMENT: code("fragment"),
  INVALID_STATE: code("invalid-state"),
  ICMP_ERROR_UNRELATED: code("icmp-error-unrelated"),
  ICMP_ERROR_FORGED: code("icmp-error-forged"),
  FLOW_TABLE_FULL: code("flow-table-full"),
  FLOW_SHARE: code("flow-share"),
  NAT_PORTS_EXHAUSTED: code("nat-ports-exhausted"),
  FLOW_RATE: code("flow-rate"),
  HOST_LIMIT: code("host-limit"),
  SERVICE_LIMIT: code("service-limit"),
  DHCP_CLIENT: code("dhcp-client"),
  NO_ROUTE: code("no-route"),
  ROUTE_BLACKHOLE: code("route-blackhole"),
  ROUTE_UNREACHABLE: code("route-unreachable"),
  ROUTE_PROHIBITED: code("route-prohibited"),
  TTL_EXCEEDED: code("ttl-exceeded"),
  MTU_EXCEEDED: code("mtu-exceeded"),
  FORWARD_DROP: code("forward-drop"),
  FORWARD_REJECT: code("forward-reject"),
  INPUT_DROP: code("input-drop"),
  INPUT_REJECT: code("input-reject"),
  OUTPUT_DROP: code("output-drop"),
  NEIGHBOUR_UNREACHABLE: code("neighbour-unreachable"),
  NEIGHBOUR_TABLE_FULL: code("neighbour-table-full"),
  NEIGHBOUR_QUEUE_FULL: code("neighbour-queue-full"),
  IMPAIRMENT_LOSS: code("impairment-loss"),
  IMPAIRMENT_FULL: code("impairment-full"),
  CUSTOM_STAGE: code("custom-stage"),
} as const;
