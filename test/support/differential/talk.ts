/** What hosts say in a scenario: steps made of frames, and conversations that keep their numbers. */
import { concat, echoReply, echoRequest, type Ipv4Fields, icmp, type TcpFields, tcp, udp } from "../frames.ts";
import { type HostName, type Hosts, UPLINK } from "./hosts.ts";

/** What the hosts have seen so far in one world. */
export interface Seen {
  /** Bytes of the last packet that a host received, from its IPv4 header on. */
  packet(host: HostName): Uint8Array;
  /**
   * Source port (TCP, UDP) or identifier (ICMP) of the last packet that a host received, ICMP errors apart; with `to`,
   * of the last one for this port of the host's.
   */
  port(host: HostName, to?: number): number;
}

export type Packet = Uint8Array | ((seen: Seen) => Uint8Array);

export interface Step {
  from: HostName;
  /** From the IPv4 header on. */
  packet: Packet;
  /** Instead of the router's. */
  destinationMac?: string;
  sourceMac?: string;
  etherType?: number;
  /** Which hosts receive something, by name in order, blanks between: "server", "c1 server", "" for none. */
  reaches?: string;
}

let nextId = 1;
/** An IP identifier that no other packet of the scenario has. */
export function uniqueId(): number {
  return nextId++;
}

/** Begins the identifiers anew, so that both worlds get the same ones. */
export function restartIds(first: number): void {
  nextId = first;
}

export function step(from: HostName, packet: Packet, reaches?: string, more: Partial<Step> = {}): Step {
  return { from, packet, ...(reaches === undefined ? {} : { reaches }), ...more };
}

/** The same step, with the kernel left to decide whom it reaches. */
export function free({ reaches: _, ...one }: Step): Step {
  return one;
}

export interface Segment extends TcpFields {
  ip?: Partial<Ipv4Fields>;
  reaches?: string;
  /** The bytes of the packet, changed before it goes. */
  change?: (packet: Uint8Array) => Uint8Array;
}

/** A TCP connection from c1 to the server; each call is one segment, with the next numbers unless others are given. */
export class TcpTalk {
  readonly hosts: Hosts;
  readonly clientPort: number;
  readonly serverPort: number;
  clientNext = 1000;
  serverNext = 5000;

  constructor(hosts: Hosts, clientPort = 40000, serverPort = 80) {
    this.hosts = hosts;
    this.clientPort = clientPort;
    this.serverPort = serverPort;
  }

  client(flags: string, segment: Segment = {}): Step {
    const fields = this.fill(flags, segment, this.clientNext, this.serverNext);
    if (segment.sequence === undefined) this.clientNext += lengthOf(flags, segment);
    const addresses = { source: this.hosts.c1, destination: this.hosts.server, id: uniqueId(), ...segment.ip };
    const packet = tcp(addresses, this.clientPort, this.serverPort, fields);
    return step("c1", segment.change?.(packet) ?? packet, segment.reaches ?? "server");
  }

  server(flags: string, segment: Segment = {}): Step {
    const fields = this.fill(flags, segment, this.serverNext, this.clientNext);
    if (segment.sequence === undefined) this.serverNext += lengthOf(flags, segment);
    const addresses = { source: this.hosts.server, destination: UPLINK, id: uniqueId(), ...segment.ip };
    return step(
      "server",
      (seen) => {
        const packet = tcp(addresses, this.serverPort, seen.port("server"), fields);
        return segment.change?.(packet) ?? packet;
      },
      segment.reaches ?? "c1",
    );
  }

  /** The three segments of an opening, without options unless some are given. */
  handshake(clientOptions?: Uint8Array, serverOptions?: Uint8Array): Step[] {
    return [
      this.client("S", clientOptions === undefined ? {} : { options: clientOptions }),
      this.server("SA", serverOptions === undefined ? {} : { options: serverOptions }),
      this.client("A"),
    ];
  }

  private fill(flags: string, segment: Segment, sequence: number, acknowledgement: number): TcpFields {
    const { ip: _, reaches: __, change: ___, ...fields } = segment;
    return { sequence, acknowledgement: flags.includes("A") ? acknowledgement : 0, ...fields, flags };
  }
}

function lengthOf(flags: string, segment: Segment): number {
  return (segment.payload?.length ?? 0) + (flags.includes("S") ? 1 : 0) + (flags.includes("F") ? 1 : 0);
}

export const text = (words: string): Uint8Array => new TextEncoder().encode(words);

/** `length` bytes that all differ from their neighbours. */
export function pattern(length: number, start = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (start + index * 7) & 0xff);
}

/** UDP from c1 (or another) to the server. */
export function udpOut(
  hosts: Hosts,
  port = 4000,
  to = 53,
  more: Partial<Ipv4Fields> = {},
  payload = text("ask"),
): Step {
  return step(
    "c1",
    udp({ source: hosts.c1, destination: hosts.server, id: uniqueId(), ...more }, port, to, payload),
    "server",
  );
}

/** UDP from the server to the port that it last saw. */
export function udpBack(hosts: Hosts, from = 53, more: Partial<Ipv4Fields> = {}, reaches = "c1"): Step {
  const fields = { source: hosts.server, destination: UPLINK, id: uniqueId(), ...more };
  return step("server", (seen) => udp(fields, from, seen.port("server"), text("answer")), reaches);
}

export function pingOut(hosts: Hosts, id = 77, sequence = 1, more: Partial<Ipv4Fields> = {}): Step {
  return step(
    "c1",
    echoRequest({ source: hosts.c1, destination: hosts.server, id: uniqueId(), ...more }, id, sequence),
    "server",
  );
}

export function pingBack(hosts: Hosts, sequence = 1, more: Partial<Ipv4Fields> = {}): Step {
  const fields = { source: hosts.server, destination: UPLINK, id: uniqueId(), ...more };
  return step("server", (seen) => echoReply(fields, seen.port("server"), sequence), "c1");
}

export interface ErrorFields {
  type?: number;
  code?: number;
  rest?: number;
  source?: string;
  destination?: string;
  /** How many bytes of the packet are quoted. */
  quoted?: number;
  /** Changes what is quoted. */
  change?: (quote: Uint8Array) => Uint8Array;
}

/** An ICMP error (3/3 unless another is given) from the server or another router about what the server last received. */
export function errorAboutSeen(
  hosts: Hosts,
  fields: ErrorFields = {},
  from: HostName = "server",
  reaches = "c1",
): Step {
  const addresses = { source: fields.source ?? hosts[from], destination: fields.destination ?? UPLINK, id: uniqueId() };
  return step(
    from,
    (seen) => {
      const whole = seen.packet("server").slice(0, fields.quoted ?? 28);
      const quote = fields.change?.(whole) ?? whole;
      return icmp(addresses, fields.type ?? 3, fields.code ?? 3, fields.rest ?? 0, quote);
    },
    reaches,
  );
}

/** A copy with some bytes replaced. */
export function withBytes(packet: Uint8Array, at: number, ...bytes: number[]): Uint8Array {
  const changed = packet.slice();
  changed.set(bytes, at);
  return changed;
}

/** Computes the IPv4 header's checksum again. */
export function withHeaderChecksum(packet: Uint8Array): Uint8Array {
  const changed = withBytes(packet, 10, 0, 0);
  let sum = 0;
  for (let at = 0; at < (changed[0] & 0xf) * 4; at += 2) sum += (changed[at] << 8) | changed[at + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return withBytes(changed, 10, (~sum >>> 8) & 0xff, ~sum & 0xff);
}

/** The packet with its last bytes missing; its header says the old length. */
export function truncated(packet: Uint8Array, length: number): Uint8Array {
  return concat(packet.subarray(0, length));
}

/**
 * The fragments of a packet without options: its payload cut at these offsets (multiples of 8). Each carries the
 * packet's identifier, TTL and TOS; `flags` is added to the flags of each (0x4000: DF).
 */
export function fragmentsOf(packet: Uint8Array, cuts: readonly number[], flags = 0): Uint8Array[] {
  const payload = packet.subarray(20);
  const starts = [0, ...cuts];
  return starts.map((start, index) => {
    const end = starts[index + 1] ?? payload.length;
    return fragment(packet, start, payload.subarray(start, end), index < starts.length - 1, flags);
  });
}

/** One fragment with the header of `packet`: `data` at byte `start`. */
export function fragment(packet: Uint8Array, start: number, data: Uint8Array, more: boolean, flags = 0): Uint8Array {
  const length = 20 + data.length;
  const field = flags | (more ? 0x2000 : 0) | (start >>> 3);
  const changed = withBytes(
    withBytes(packet.slice(0, 20), 2, length >>> 8, length & 0xff),
    6,
    field >>> 8,
    field & 0xff,
  );
  return concat(withHeaderChecksum(changed), data);
}
