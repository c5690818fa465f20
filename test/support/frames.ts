/**
 * Frames for tests, written and read with code that shares nothing with the router's: checksums are computed from
 * scratch, one 16-bit word after the other.
 */

export interface Ipv4Fields {
  source: string;
  destination: string;
  ttl?: number;
  tos?: number;
  id?: number;
  /** Flags and fragment offset field. */
  fragment?: number;
  options?: Uint8Array;
}

export function address(text: string): Uint8Array {
  return Uint8Array.from(text.split("."), Number);
}

export function word(text: string): number {
  const [a, b, c, d] = text.split(".").map(Number);
  return (a << 24) | (b << 16) | (c << 8) | d;
}

export function mac(text: string): Uint8Array {
  return Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16));
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function u16(value: number): Uint8Array {
  return Uint8Array.of((value >>> 8) & 0xff, value & 0xff);
}

export function u32(value: number): Uint8Array {
  return concat(u16(value >>> 16), u16(value));
}

/** RFC 1071, the slow and obvious way. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) + (i + 1 < bytes.length ? bytes[i + 1] : 0);
  while (sum > 0xffff) sum = Math.floor(sum / 0x10000) + (sum % 0x10000);
  return 0xffff - sum;
}

function withChecksum(bytes: Uint8Array, at: number, covered: Uint8Array = bytes): Uint8Array {
  const result = Uint8Array.from(bytes);
  result.set(u16(checksum(covered)), at);
  return result;
}

export function ethernet(destination: string, source: string, etherType: number, payload: Uint8Array): Uint8Array {
  return concat(mac(destination), mac(source), u16(etherType), payload);
}

export function ipv4(fields: Ipv4Fields, protocol: number, payload: Uint8Array): Uint8Array {
  const options = fields.options ?? new Uint8Array(0);
  const header = concat(
    Uint8Array.of(0x40 | (5 + options.length / 4), fields.tos ?? 0),
    u16(20 + options.length + payload.length),
    u16(fields.id ?? 0),
    u16(fields.fragment ?? 0x4000),
    Uint8Array.of(fields.ttl ?? 64, protocol),
    u16(0),
    address(fields.source),
    address(fields.destination),
    options,
  );
  return concat(withChecksum(header, 10), payload);
}

export function pseudo(source: string, destination: string, protocol: number, length: number): Uint8Array {
  return concat(address(source), address(destination), Uint8Array.of(0, protocol), u16(length));
}

export function udp(
  fields: Ipv4Fields,
  sourcePort: number,
  destinationPort: number,
  payload: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const datagram = concat(u16(sourcePort), u16(destinationPort), u16(8 + payload.length), u16(0), payload);
  const covered = concat(pseudo(fields.source, fields.destination, 17, datagram.length), datagram);
  const sum = checksum(covered);
  datagram.set(u16(sum === 0 ? 0xffff : sum), 6);
  return ipv4(fields, 17, datagram);
}

export interface TcpFields {
  flags?: string;
  sequence?: number;
  acknowledgement?: number;
  window?: number;
  options?: Uint8Array;
  payload?: Uint8Array;
}

const FLAG_BITS: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32, E: 64, C: 128 };

export function tcp(fields: Ipv4Fields, sourcePort: number, destinationPort: number, segment: TcpFields): Uint8Array {
  const options = segment.options ?? new Uint8Array(0);
  const flags = [...(segment.flags ?? "A")].reduce((bits, letter) => bits | FLAG_BITS[letter], 0);
  const bytes = concat(
    u16(sourcePort),
    u16(destinationPort),
    u32(segment.sequence ?? 0),
    u32(segment.acknowledgement ?? 0),
    Uint8Array.of((5 + options.length / 4) << 4, flags),
    u16(segment.window ?? 65535),
    u16(0),
    u16(0),
    options,
    segment.payload ?? new Uint8Array(0),
  );
  const covered = concat(pseudo(fields.source, fields.destination, 6, bytes.length), bytes);
  return ipv4(fields, 6, withChecksum(bytes, 16, covered));
}

export function icmp(fields: Ipv4Fields, type: number, code: number, rest: number, payload: Uint8Array): Uint8Array {
  const message = concat(Uint8Array.of(type, code), u16(0), u32(rest), payload);
  return ipv4(fields, 1, withChecksum(message, 2));
}

export function echoRequest(
  fields: Ipv4Fields,
  id: number,
  sequence = 1,
  payload: Uint8Array = new Uint8Array(8),
): Uint8Array {
  return icmp(fields, 8, 0, (id << 16) | sequence, payload);
}

export function echoReply(
  fields: Ipv4Fields,
  id: number,
  sequence = 1,
  payload: Uint8Array = new Uint8Array(8),
): Uint8Array {
  return icmp(fields, 0, 0, (id << 16) | sequence, payload);
}

export interface ArpFields {
  operation: 1 | 2;
  senderMac: string;
  sender: string;
  targetMac: string;
  target: string;
}

export function arp(fields: ArpFields): Uint8Array {
  return concat(
    u16(1),
    u16(0x0800),
    Uint8Array.of(6, 4),
    u16(fields.operation),
    mac(fields.senderMac),
    address(fields.sender),
    mac(fields.targetMac),
    address(fields.target),
  );
}

/** What a test wants to know of a frame that came out. `bad` names every checksum that is wrong. */
export interface Decoded {
  destinationMac: string;
  sourceMac: string;
  etherType: number;
  arp?: ArpFields;
  source?: string;
  destination?: string;
  protocol?: number;
  ttl?: number;
  id?: number;
  fragment?: number;
  totalLength?: number;
  sourcePort?: number;
  destinationPort?: number;
  tcpFlags?: string;
  sequence?: number;
  acknowledgement?: number;
  icmpType?: number;
  icmpCode?: number;
  icmpRest?: number;
  /** Bytes behind the L4 header. */
  payload?: Uint8Array;
  bad: string[];
}

const get16 = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];
const get32 = (bytes: Uint8Array, at: number): number => get16(bytes, at) * 0x10000 + get16(bytes, at + 2);
const dotted = (bytes: Uint8Array): string => [...bytes].join(".");
const coloned = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");

/** Reads an Ethernet frame. With `partial`, the L4 checksum is expected to be the pseudo-header's sum. */
export function decode(frame: Uint8Array, options: { partial?: boolean } = {}): Decoded {
  const decoded: Decoded = {
    destinationMac: coloned(frame.subarray(0, 6)),
    sourceMac: coloned(frame.subarray(6, 12)),
    etherType: get16(frame, 12),
    bad: [],
  };
  const packet = frame.subarray(14);
  if (decoded.etherType === 0x0806) decoded.arp = decodeArp(packet);
  if (decoded.etherType === 0x0800) decodeIpv4(packet, decoded, options.partial ?? false);
  return decoded;
}

function decodeArp(packet: Uint8Array): ArpFields {
  return {
    operation: get16(packet, 6) as 1 | 2,
    senderMac: coloned(packet.subarray(8, 14)),
    sender: dotted(packet.subarray(14, 18)),
    targetMac: coloned(packet.subarray(18, 24)),
    target: dotted(packet.subarray(24, 28)),
  };
}

/** Reads a bare IPv4 packet, such as the one that an ICMP error quotes. A quote may be cut short: then only its IPv4 checksum is judged. */
export function decodeIpv4(packet: Uint8Array, decoded: Decoded = emptyDecoded(), partial = false): Decoded {
  const headerLength = (packet[0] & 0xf) * 4;
  decoded.totalLength = get16(packet, 2);
  decoded.id = get16(packet, 4);
  decoded.fragment = get16(packet, 6);
  decoded.ttl = packet[8];
  decoded.protocol = packet[9];
  decoded.source = dotted(packet.subarray(12, 16));
  decoded.destination = dotted(packet.subarray(16, 20));
  if (checksum(packet.subarray(0, headerLength)) !== 0) decoded.bad.push("ipv4");
  const isWhole = packet.length >= decoded.totalLength;
  const l4 = packet.subarray(headerLength, isWhole ? decoded.totalLength : packet.length);
  if ((decoded.fragment & 0x1fff) !== 0) {
    decoded.payload = l4;
    return decoded;
  }
  decodeL4(l4, decoded, isWhole && (decoded.fragment & 0x2000) === 0, partial);
  return decoded;
}

function emptyDecoded(): Decoded {
  return { destinationMac: "", sourceMac: "", etherType: 0x0800, bad: [] };
}

function decodeL4(l4: Uint8Array, decoded: Decoded, isWhole: boolean, partial: boolean): void {
  const { source = "", destination = "", protocol = 0 } = decoded;
  const header = pseudo(source, destination, protocol, l4.length);
  const check = (name: string, at: number): void => {
    if (!isWhole) return;
    const wrong = partial ? get16(l4, at) !== 0xffff - checksum(header) : checksum(concat(header, l4)) !== 0;
    if (wrong) decoded.bad.push(name);
  };
  if (protocol === 6) {
    decoded.sourcePort = get16(l4, 0);
    decoded.destinationPort = get16(l4, 2);
    decoded.sequence = get32(l4, 4);
    if (l4.length < 20) return;
    decoded.acknowledgement = get32(l4, 8);
    decoded.tcpFlags = Object.keys(FLAG_BITS)
      .filter((letter) => (l4[13] & FLAG_BITS[letter]) !== 0)
      .join("");
    decoded.payload = l4.subarray((l4[12] >> 4) * 4);
    check("tcp", 16);
  } else if (protocol === 17) {
    decoded.sourcePort = get16(l4, 0);
    decoded.destinationPort = get16(l4, 2);
    decoded.payload = l4.subarray(8);
    if (get16(l4, 6) !== 0 || partial) check("udp", 6);
  } else if (protocol === 1) {
    decoded.icmpType = l4[0];
    decoded.icmpCode = l4[1];
    decoded.icmpRest = get32(l4, 4);
    decoded.payload = l4.subarray(8);
    if (isWhole && checksum(l4) !== 0) decoded.bad.push("icmp");
  } else {
    decoded.payload = l4;
  }
}
