/** Frames in the slots of an arena, parsed: what a stage of the pipeline gets to see. */
import type { Arena } from "../../src/packet/arena.ts";
import type { Frame } from "../../src/packet/frame.ts";
import { parse, parseIpv4 } from "../../src/packet/parse.ts";
import { Stop } from "../../src/packet/stop_reasons.ts";
import { clearVnetHeader } from "../../src/packet/vnet_header.ts";
import { type ArpFields, arp, ethernet, type Ipv4Fields, icmp, type TcpFields, tcp, udp } from "./frames.ts";

export interface LinkFields {
  sourceMac?: string;
  destinationMac?: string;
}

export interface PortFields {
  sourcePort?: number;
  destinationPort?: number;
}

export interface IcmpFields {
  type?: number;
  code?: number;
  /** Identifier and sequence number of a query. */
  id?: number;
  sequence?: number;
  payload?: Uint8Array;
}

const CLIENT_MAC = "02:00:00:00:00:02";
const ROUTER_MAC = "02:00:00:00:01:01";

/** Writes the bytes of an Ethernet frame into a slot, with an empty vnet header. */
export function placeFrame(arena: Arena, slot: number, bytes: Uint8Array): Frame {
  const frame = arena.frames[slot];
  clearVnetHeader(arena.memory, frame.at);
  arena.bytes.set(bytes, frame.at);
  arena.slotLength[slot] = bytes.length;
  frame.length = bytes.length;
  return frame;
}

/** Parses the frame in a slot as the pipeline does; throws when it is not acceptable. */
export function parsePlaced(arena: Arena, frame: Frame): Frame {
  const stop = parse(arena.memory, frame) || parseIpv4(arena.memory, frame);
  if (stop !== Stop.CONTINUE) throw new Error(`the frame does not parse: stop reason ${stop}`);
  return frame;
}

function placeIpv4(arena: Arena, slot: number, link: LinkFields, packet: Uint8Array): Frame {
  const bytes = ethernet(link.destinationMac ?? ROUTER_MAC, link.sourceMac ?? CLIENT_MAC, 0x0800, packet);
  return parsePlaced(arena, placeFrame(arena, slot, bytes));
}

/** A TCP segment; ports 40000 and 80, ACK alone, if nothing is said. */
export function buildTcp(arena: Arena, slot: number, fields: Ipv4Fields & PortFields & TcpFields & LinkFields): Frame {
  // `options` are those of TCP.
  const { options: _, ...header } = fields;
  return placeIpv4(arena, slot, fields, tcp(header, fields.sourcePort ?? 40000, fields.destinationPort ?? 80, fields));
}

/** A UDP datagram; ports 40000 and 53 if nothing is said. */
export function buildUdp(
  arena: Arena,
  slot: number,
  fields: Ipv4Fields & PortFields & LinkFields & { payload?: Uint8Array<ArrayBuffer> },
): Frame {
  const packet = udp(fields, fields.sourcePort ?? 40000, fields.destinationPort ?? 53, fields.payload);
  return placeIpv4(arena, slot, fields, packet);
}

/** An ICMP message; an echo request if nothing is said. */
export function buildIcmp(arena: Arena, slot: number, fields: Ipv4Fields & IcmpFields & LinkFields): Frame {
  const rest = ((fields.id ?? 7) << 16) | (fields.sequence ?? 1);
  const payload = fields.payload ?? new Uint8Array(8);
  return placeIpv4(arena, slot, fields, icmp(fields, fields.type ?? 8, fields.code ?? 0, rest, payload));
}

/** An ARP packet from its sender; only the Ethernet header is parsed. */
export function buildArp(arena: Arena, slot: number, fields: ArpFields & LinkFields): Frame {
  const destination = fields.destinationMac ?? (fields.operation === 1 ? "ff:ff:ff:ff:ff:ff" : fields.targetMac);
  const bytes = ethernet(destination, fields.sourceMac ?? fields.senderMac, 0x0806, arp(fields));
  const frame = placeFrame(arena, slot, bytes);
  parse(arena.memory, frame);
  return frame;
}
