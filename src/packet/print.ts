/**
 * Packets as text, one line each, in the words of tcpdump: what is in parentheses as with `-v`, the rest as without,
 * addresses as numbers (`-n`), TCP sequence numbers as they are in the header (`-S`).
 *
 *     IP (tos 0x0, ttl 63, id 7, offset 0, flags [DF], proto ICMP (1), length 84) 10.55.66.2 > 203.0.113.2: ICMP echo …
 *
 * Application protocols, IPv6 and IP options are named, not decoded. A VLAN tag is always shown. For people, never
 * per packet on a hot path: it allocates. Any bytes will do; what is cut off is shown as tcpdump shows it (`[|tcp]`).
 */
import * as arp from "./arp.ts";
import { sumBytes } from "./checksum.ts";
import { ETHERNET_HEADER_BYTES, EtherType } from "./ethernet.ts";
import * as icmp from "./icmp.ts";
import * as ipv4 from "./ipv4.ts";
import { formatAddress } from "./ipv4_address.ts";
import { formatMac } from "./mac_address.ts";
import { printTcp } from "./print_tcp.ts";
import { UDP_HEADER_BYTES } from "./udp.ts";

const VLAN_TAG_BYTES = 4;

/** An Ethernet frame of `lengthBytes` at `at` as one line. */
export function printFrame(memory: DataView, at: number, lengthBytes: number): string {
  if (lengthBytes < ETHERNET_HEADER_BYTES) return "[|ether]";
  const end = at + lengthBytes;
  let type = memory.getUint16(at + 12);
  let next = at + ETHERNET_HEADER_BYTES;
  let tags = "";
  while ((type === EtherType.VLAN || type === EtherType.QINQ) && end - next >= VLAN_TAG_BYTES) {
    const tag = memory.getUint16(next);
    tags += `vlan ${tag & 0xfff}, p ${tag >>> 13}, `;
    type = memory.getUint16(next + 2);
    next += VLAN_TAG_BYTES;
  }
  return tags + printPayload(memory, next, end, type);
}

function printPayload(memory: DataView, at: number, end: number, type: number): string {
  switch (type) {
    case EtherType.IPV4:
      return `IP ${printIpv4(memory, at, end)}`;
    case EtherType.ARP:
      return `ARP, ${printArp(memory, at, end)}`;
    case EtherType.IPV6:
      return `IP6, length ${end - at}`;
    default:
      return `ethertype 0x${type.toString(16).padStart(4, "0")}, length ${end - at}`;
  }
}

function printArp(memory: DataView, at: number, end: number): string {
  const length = end - at;
  if (!arp.isWellFormed(memory, at, length)) return `[|arp], length ${length}`;
  const sender = formatAddress(arp.senderAddress(memory, at));
  const target = formatAddress(arp.targetAddress(memory, at));
  switch (arp.operation(memory, at)) {
    case arp.ArpOperation.REQUEST: {
      const [high, low] = [arp.targetMacHigh(memory, at), arp.targetMacLow(memory, at)];
      const asked = high === 0 && low === 0 ? target : `${target} (${formatMac(high, low)})`;
      return `Request who-has ${asked} tell ${sender}, length ${length}`;
    }
    case arp.ArpOperation.REPLY: {
      const mac = formatMac(arp.senderMacHigh(memory, at), arp.senderMacLow(memory, at));
      return `Reply ${sender} is-at ${mac}, length ${length}`;
    }
    default:
      return `Unknown (${arp.operation(memory, at)}), length ${length}`;
  }
}

const PROTOCOL_NAMES: Record<number, string> = {
  1: "ICMP",
  2: "IGMP",
  4: "IPIP",
  6: "TCP",
  17: "UDP",
  41: "IPv6",
  47: "GRE",
  50: "ESP",
  51: "AH",
  58: "ICMPv6",
  89: "OSPF",
  103: "PIM",
  112: "VRRP",
  132: "SCTP",
};

const ECN_NAMES = ["", ",ECT(1)", ",ECT(0)", ",CE"];

/** IPv4 header and what it carries. `end` is where the frame ends; padding behind the packet is not looked at. */
function printIpv4(memory: DataView, at: number, end: number): string {
  const room = end - at;
  if (room < ipv4.IPV4_HEADER_BYTES) return "[|ip]";
  const version = memory.getUint8(at) >>> 4;
  if (version !== 4) return `version error: 4 ≠ ${version}`;
  const headerBytes = ipv4.headerBytes(memory, at);
  if (headerBytes < ipv4.IPV4_HEADER_BYTES) return `bad-hlen ${headerBytes}`;
  if (headerBytes > room) return "[|ip]";
  const total = ipv4.totalLength(memory, at);
  if (total < headerBytes) return `bad-len ${total}`;
  const cut = total > room ? `truncated-ip - ${total - room} bytes missing! ` : "";
  return `${cut}(${printHeader(memory, at, headerBytes)}) ${printL4(memory, at, headerBytes, Math.min(end, at + total))}`;
}

function printHeader(memory: DataView, at: number, headerBytes: number): string {
  const tos = ipv4.typeOfService(memory, at);
  const ttl = ipv4.timeToLive(memory, at);
  const fragment = ipv4.fragmentField(memory, at);
  const protocol = ipv4.protocol(memory, at);
  const flags = [
    (fragment & ipv4.Fragment.MORE) !== 0 ? "+" : "",
    (fragment & ipv4.Fragment.DONT) !== 0 ? "DF" : "",
    (fragment & 0x8000) !== 0 ? "rsvd" : "",
  ].filter((flag) => flag !== "");
  const words = [
    `tos 0x${tos.toString(16)}${ECN_NAMES[tos & 3]}`,
    ...(ttl === 0 ? [] : [`ttl ${ttl}`]),
    `id ${ipv4.identification(memory, at)}`,
    `offset ${(fragment & ipv4.Fragment.OFFSET) * 8}`,
    `flags [${flags.length === 0 ? "none" : flags.join(", ")}]`,
    `proto ${PROTOCOL_NAMES[protocol] ?? "unknown"} (${protocol})`,
    `length ${ipv4.totalLength(memory, at)}`,
  ];
  if (headerBytes > ipv4.IPV4_HEADER_BYTES) words.push(`options (${headerBytes - ipv4.IPV4_HEADER_BYTES} bytes)`);
  if (!ipv4.isHeaderChecksumValid(memory, at, headerBytes)) words.push(badChecksum(memory, at, headerBytes));
  return words.join(", ");
}

/** The header's checksum as it is and as it should be (RFC 1071). */
function badChecksum(memory: DataView, at: number, headerBytes: number): string {
  const found = ipv4.headerChecksum(memory, at);
  const others = sumBytes(memory, at, 10, sumBytes(memory, at + 12, headerBytes - 12, 0));
  return `bad cksum ${found.toString(16)} (->${(~others & 0xffff).toString(16)})!`;
}

function printL4(memory: DataView, at: number, headerBytes: number, end: number): string {
  const source = formatAddress(ipv4.sourceAddress(memory, at));
  const destination = formatAddress(ipv4.destinationAddress(memory, at));
  const protocol = ipv4.protocol(memory, at);
  const l4 = at + headerBytes;
  if ((ipv4.fragmentField(memory, at) & ipv4.Fragment.OFFSET) !== 0) {
    return `${source} > ${destination}: ip-proto-${protocol}`;
  }
  switch (protocol) {
    case ipv4.Protocol.TCP:
    case ipv4.Protocol.UDP: {
      if (end - l4 < 4) return `${source} > ${destination}: [|${protocol === ipv4.Protocol.TCP ? "tcp" : "udp"}]`;
      const endpoints = `${source}.${memory.getUint16(l4)} > ${destination}.${memory.getUint16(l4 + 2)}`;
      return `${endpoints}: ${protocol === ipv4.Protocol.TCP ? printTcp(memory, l4, end) : printUdp(memory, l4, end)}`;
    }
    case ipv4.Protocol.ICMP:
      return `${source} > ${destination}: ICMP ${printIcmp(memory, l4, end)}`;
    default:
      return `${source} > ${destination}: ip-proto-${protocol} ${end - l4}`;
  }
}

function printUdp(memory: DataView, at: number, end: number): string {
  if (end - at < UDP_HEADER_BYTES) return "[|udp]";
  return `UDP, length ${memory.getUint16(at + 4) - UDP_HEADER_BYTES}`;
}

function printIcmp(memory: DataView, at: number, end: number): string {
  const length = end - at;
  if (length < icmp.ICMP_HEADER_BYTES) return "[|icmp]";
  return `${describeIcmp(memory, at, end)}, length ${length}`;
}

function describeIcmp(memory: DataView, at: number, end: number): string {
  const type = icmp.type(memory, at);
  switch (type) {
    case icmp.IcmpType.ECHO_REQUEST:
    case icmp.IcmpType.ECHO_REPLY: {
      const name = type === icmp.IcmpType.ECHO_REQUEST ? "request" : "reply";
      return `echo ${name}, id ${icmp.identifier(memory, at)}, seq ${memory.getUint16(at + 6)}`;
    }
    case icmp.IcmpType.DESTINATION_UNREACHABLE:
      return describeUnreachable(memory, at, end);
    case icmp.IcmpType.TIME_EXCEEDED:
      return icmp.code(memory, at) === 0 ? "time exceeded in-transit" : "ip reassembly time exceeded";
    default:
      return `type-#${type}`;
  }
}

/** RFC 792, RFC 1191 and RFC 1812 5.2.7.1. The quoted packet says who or what could not be reached. */
function describeUnreachable(memory: DataView, at: number, end: number): string {
  const quoted = at + icmp.ICMP_HEADER_BYTES;
  if (end - quoted < ipv4.IPV4_HEADER_BYTES) return "[|icmp]";
  const destination = formatAddress(ipv4.destinationAddress(memory, quoted));
  const code = icmp.code(memory, at);
  switch (code) {
    case icmp.UnreachableCode.NET:
      return `net ${destination} unreachable`;
    case icmp.UnreachableCode.HOST:
      return `host ${destination} unreachable`;
    case icmp.UnreachableCode.PROTOCOL:
      return `${destination} protocol ${ipv4.protocol(memory, quoted)} unreachable`;
    case icmp.UnreachableCode.PORT:
      return `${destination} ${describeQuotedPort(memory, quoted, end)} unreachable`;
    case icmp.UnreachableCode.FRAGMENTATION_NEEDED: {
      const mtu = memory.getUint16(at + 6);
      return `${destination} unreachable - need to frag${mtu === 0 ? "" : ` (mtu ${mtu})`}`;
    }
    case icmp.UnreachableCode.NET_PROHIBITED:
      return `net ${destination} unreachable - admin prohibited`;
    case icmp.UnreachableCode.HOST_PROHIBITED:
      return `host ${destination} unreachable - admin prohibited`;
    case icmp.UnreachableCode.ADMIN_PROHIBITED:
      return `host ${destination} unreachable - admin prohibited filter`;
    default:
      return `${destination} unreachable - #${code}`;
  }
}

function describeQuotedPort(memory: DataView, quoted: number, end: number): string {
  const protocol = ipv4.protocol(memory, quoted);
  const l4 = quoted + ipv4.headerBytes(memory, quoted);
  if (end - l4 < 4) return `protocol ${protocol} port`;
  const port = memory.getUint16(l4 + 2);
  if (protocol === ipv4.Protocol.UDP) return `udp port ${port}`;
  return protocol === ipv4.Protocol.TCP ? `tcp port ${port}` : `protocol ${protocol} port ${port}`;
}
