/**
 * A frame as one line of text, everything in it that both worlds must have in common. What a router may choose freely
 * becomes a symbol: ports and ICMP identifiers that no host of the scenario used are `port1`, `port2` …, IP identifiers
 * of the router's own packets are `*`, those of fragments that arrive `d1`, `d2` … in order of their datagrams. Checksums are computed from scratch; a wrong one is named.
 */
import { checksum, type Decoded, decodeIpv4 } from "../frames.ts";
import { GATEWAY, Mac, UPLINK } from "./hosts.ts";

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const LONGEST_HEX = 12;
/** ICMP errors, which quote a packet (RFC 792). */
const QUOTING = new Set([3, 4, 5, 11, 12]);
/** ICMP messages whose header has an identifier. */
const WITH_ID = new Set([0, 8, 13, 14, 15, 16, 17, 18]);

const get16 = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];

function hex(bytes: Uint8Array): string {
  if (bytes.length > LONGEST_HEX) return `${bytes.length}bytes#${checksum(bytes).toString(16)}`;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What was chosen by a router, and what by the scenario; one for each world and scenario. */
export class Symbols {
  /** From the start on: the inside port of all that is published, and the port that configurations let flows have. */
  private readonly used = new Set<string>(["tcp 80", "udp 80", "tcp 2000", "udp 2000"]);
  private readonly chosen = new Map<string, string>();
  private readonly datagrams = new Map<number, string>();
  private readonly macs = new Map<string, string>(Object.entries(Mac).map(([name, mac]) => [mac, name]));

  nameMac(mac: string, name: string): void {
    this.macs.set(mac, name);
  }

  mac(mac: string): string {
    return this.macs.get(mac) ?? mac;
  }

  /** A port or identifier in a packet that a host sends: it is the scenario's, unless a router chose it before. */
  use(kind: string, value: number): string {
    const key = `${kind} ${value}`;
    if (!this.chosen.has(key)) this.used.add(key);
    return this.read(kind, value);
  }

  /** The datagram that an arriving fragment belongs to. */
  datagram(id: number): string {
    if (!this.datagrams.has(id)) this.datagrams.set(id, `d${this.datagrams.size + 1}`);
    return this.datagrams.get(id) as string;
  }

  read(kind: string, value: number): string {
    if (kind === "datagram") return this.datagram(value);
    const key = `${kind} ${value}`;
    if (this.used.has(key)) return String(value);
    if (kind === "ip") return "*";
    if (!this.chosen.has(key)) this.chosen.set(key, `port${this.chosen.size + 1}`);
    return this.chosen.get(key) as string;
  }
}

type Read = (kind: string, value: number) => string;

/** A frame that a host sends. */
export function describeSent(frame: Uint8Array, symbols: Symbols): string {
  return describeFrame(frame, symbols, (kind, value) => symbols.use(kind === "datagram" ? "ip" : kind, value));
}

/** A frame that a host receives. */
export function describeReceived(frame: Uint8Array, symbols: Symbols): string {
  return describeFrame(frame, symbols, (kind, value) => symbols.read(kind, value));
}

function macText(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

function describeFrame(frame: Uint8Array, symbols: Symbols, read: Read): string {
  const link = `${symbols.mac(macText(frame.subarray(6, 12)))}>${symbols.mac(macText(frame.subarray(0, 6)))}`;
  const type = get16(frame, 12);
  const packet = frame.subarray(14);
  return type === 0x0800
    ? `${link} ${describePacket(packet, read)}`
    : `${link} type=${type.toString(16)} ${hex(packet)}`;
}

function describePacket(packet: Uint8Array, read: Read): string {
  const headerBytes = (packet[0] & 0xf) * 4;
  const isReadable = packet[0] >> 4 === 4 && headerBytes >= 20 && packet.length >= headerBytes;
  if (!isReadable) return `unreadable ${hex(packet)}`;
  const decoded = decodeIpv4(packet);
  const { totalLength = 0, fragment = 0 } = decoded;
  const words = [
    `${decoded.source}>${decoded.destination}`,
    `ttl=${decoded.ttl} len=${totalLength} id=${identifier(decoded, read)}`,
  ];
  if (packet[1] !== 0) words.push(`tos=${packet[1].toString(16)}`);
  if ((fragment & 0x4000) !== 0) words.push("DF");
  if ((fragment & 0x3fff) !== 0) words.push(`frag=${(fragment & 0x1fff) * 8}${(fragment & 0x2000) !== 0 ? "+" : ""}`);
  if (headerBytes > 20) words.push(`ipopts=${hex(packet.subarray(20, headerBytes))}`);
  const l4 = packet.subarray(headerBytes, totalLength);
  words.push((fragment & 0x1fff) === 0 ? describeL4(decoded, l4, read) : `data=${hex(l4)}`);
  if (packet.length !== totalLength) words.push(`captured=${packet.length}`);
  if (decoded.bad.length > 0) words.push(`BAD:${decoded.bad.join(",")}`);
  return words.join(" ");
}

function identifier(decoded: Decoded, read: Read): string {
  const { id = 0, fragment = 0 } = decoded;
  if ((fragment & 0x3fff) !== 0) return read("datagram", id);
  return id === 0 || isRoutersOwn(decoded) ? "*" : read("ip", id);
}

/** What the router forwards has lost one of the hosts' 64 hops. */
function isRoutersOwn({ source, ttl }: Decoded): boolean {
  return ttl === 64 && (source === GATEWAY || source === UPLINK);
}

function describeL4(decoded: Decoded, l4: Uint8Array, read: Read): string {
  switch (decoded.protocol) {
    case TCP:
      return describeTcp(decoded, l4, read);
    case UDP:
      return describeUdp(l4, read);
    case ICMP:
      return describeIcmp(decoded, l4, read);
    default:
      return `proto=${decoded.protocol} data=${hex(l4)}`;
  }
}

function describePorts(kind: string, l4: Uint8Array, read: Read): string {
  return `${kind} ${read(kind, get16(l4, 0))}>${read(kind, get16(l4, 2))}`;
}

function describeTcp(decoded: Decoded, l4: Uint8Array, read: Read): string {
  if (l4.length < 4) return `tcp cut=${hex(l4)}`;
  const ports = describePorts("tcp", l4, read);
  if (l4.length < 20) return `${ports} cut=${hex(l4.subarray(4))}`;
  const offset = (l4[12] >> 4) * 4;
  const words = [ports, decoded.tcpFlags || "none", `seq=${decoded.sequence} ack=${decoded.acknowledgement}`];
  words.push(`win=${get16(l4, 14)}`);
  if (get16(l4, 18) !== 0) words.push(`urg=${get16(l4, 18)}`);
  if (offset > 20) words.push(`opts=${hex(l4.subarray(20, offset))}`);
  if (l4.length > offset) words.push(`data=${hex(l4.subarray(offset))}`);
  return words.join(" ");
}

function describeUdp(l4: Uint8Array, read: Read): string {
  if (l4.length < 8) return l4.length < 4 ? `udp cut=${hex(l4)}` : `${describePorts("udp", l4, read)} cut`;
  const noSum = get16(l4, 6) === 0 ? " nosum" : "";
  return `${describePorts("udp", l4, read)} udplen=${get16(l4, 4)}${noSum} data=${hex(l4.subarray(8))}`;
}

function describeIcmp(decoded: Decoded, l4: Uint8Array, read: Read): string {
  if (l4.length < 8) return `icmp cut=${hex(l4)}`;
  const { icmpType = 0, icmpCode = 0 } = decoded;
  const head = `icmp ${icmpType}/${icmpCode}`;
  const data = l4.subarray(8);
  if (WITH_ID.has(icmpType)) return `${head} id=${read("icmp", get16(l4, 4))} seq=${get16(l4, 6)} data=${hex(data)}`;
  const rest = `rest=${hex(l4.subarray(4, 8))}`;
  return QUOTING.has(icmpType) && data.length >= 20
    ? `${head} ${rest} quotes ${data.length} [${describePacket(data, read)}]`
    : `${head} ${rest} data=${hex(data)}`;
}

const SECONDS_STEP = 5;

/** The same line without packets and bytes. */
export function withoutCounts(flow: string): string {
  return flow.replace(/ packets=\d+ bytes=\d+/g, "");
}

/** A line of conntrack(8): the seconds left rounded up to five, ports and identifiers as symbols. */
export function describeFlow(line: string, symbols: Symbols): string {
  const kind = line.split(" ", 1)[0];
  return line
    .replace(/^(\S+ +\d+) (\d+)/, (_, head: string, seconds: string) => {
      return `${head.replace(/ +/, " ")} ${Math.ceil(Number(seconds) / SECONDS_STEP) * SECONDS_STEP}s`;
    })
    .replace(/(sport|dport|id)=(\d+)/g, (_, name: string, value: string) => {
      return `${name}=${symbols.read(kind, Number(value))}`;
    })
    .replace(/ mark=0 use=\d+/, "")
    .replace(/ +/g, " ");
}
