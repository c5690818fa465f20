/**
 * Whether a conversation comes about: the first packet that its source would send (a SYN, a datagram, an echo request)
 * goes through a router in memory, and where it arrives its host answers; the answer has to arrive at the source as
 * from where the packet was sent to. Impairments have no part in it.
 */
import { composeFrame, PACKET_DEFAULTS, type PacketFields } from "../../packet/compose.ts";
import { IcmpType, isError } from "../../packet/icmp.ts";
import { Protocol } from "../../packet/ipv4.ts";
import { contains, formatAddress } from "../../packet/ipv4_address.ts";
import type { MacAddress } from "../../packet/mac_address.ts";
import { STOP_REASONS } from "../../packet/stop_reasons.ts";
import { TcpFlag } from "../../packet/tcp.ts";
import type { ResolvedPlan } from "../configuration/configuration.ts";
import { hasPorts } from "../packet_text.ts";
import { type Decoded, decodeFrame } from "./decode.ts";
import { formatEnd, type Question } from "./question.ts";
import { VirtualHosts, type VirtualPort } from "./virtual_hosts.ts";
import { type Came, type Happening, VirtualRouter } from "./virtual_router.ts";

const SOURCE_PORT = 40_000;
/** Longer than a neighbour is asked for before it counts as unreachable. */
const PATIENCE_MICROSECONDS = 10e6;

/** What became of a question's first packet. */
export interface Reached {
  isAllowed: boolean;
  /** Of what is not allowed: whether its sender was told. */
  isRejected: boolean;
  /** Names of the port and of the network or uplink that it arrived by; neither for the router itself. */
  via: string[];
  /** As it arrived. */
  source?: string;
  to?: string;
  /** Why it stopped, or its answer. */
  reason?: string;
  /** One line: what happened. */
  text: string;
}

export function reach(resolved: ResolvedPlan, question: Question): Reached {
  if (isNobody(resolved, question)) {
    return { isAllowed: false, isRejected: false, via: [], text: "no host of its own network has that address" };
  }
  const virtual = new VirtualRouter(withoutImpairments(resolved), { seed: 1, hosts: true });
  virtual.announceHosts();
  const happened = sendAndWait(virtual, question.port.name, firstPacket(virtual, question));
  const arrived = happened.came.map(decodeCame).find(({ packet }) => isTheSame(packet, question));
  if (arrived !== undefined) return answered(virtual, question, arrived);
  if (isForRouter(happened)) return taken(question);
  return stopped(question, happened);
}

/** In its own network a source asks for its destination itself: where nobody answers, nothing is sent. */
function isNobody(resolved: ResolvedPlan, { port, destination }: Question): boolean {
  const { index, kind, address, prefixLength } = port.interface;
  if (kind !== "network" || destination === address || !contains({ address, length: prefixLength }, destination))
    return false;
  return !new VirtualHosts(resolved).ports.some(
    (each) => each.interface.index === index && each.address === destination,
  );
}

function withoutImpairments(resolved: ResolvedPlan): ResolvedPlan {
  const ports = resolved.plan.ports.map(({ impairIn: _in, impairOut: _out, ...port }) => port);
  return { ...resolved, plan: { ...resolved.plan, ports } };
}

/** The packet as its source sends it: to the host itself in its own network, else to the router. */
function firstPacket(virtual: VirtualRouter, question: Question): Uint8Array {
  const { hostMac, nextHopMac } = virtual.addressing(question.port, question.source, question.destination);
  return composeFrame(questionFields(question), hostMac, nextHopMac);
}

/** What the first packet of a question's conversation says. */
export function questionFields({ source, destination, protocol, destinationPort }: Question): PacketFields {
  return {
    ...PACKET_DEFAULTS,
    protocol,
    source,
    destination,
    sourcePort: SOURCE_PORT,
    destinationPort,
    flags: TcpFlag.SYN,
    payloadBytes: protocol === Protocol.TCP ? 0 : 8,
  };
}

function sendAndWait(virtual: VirtualRouter, port: string, frame: Uint8Array): Happening {
  const happened = virtual.send(port, frame);
  if (isDecided(happened)) return happened;
  for (const later of virtual.advance(virtual.now + PATIENCE_MICROSECONDS)) {
    happened.came.push(...later.came);
    happened.stops.push(...later.stops);
    if (isDecided(happened)) break;
  }
  return happened;
}

/** Whether it is known what has become of a packet: a wait for a neighbour is no end. */
function isDecided({ came, stops }: Happening): boolean {
  return (
    dropOf(stops) !== undefined || came.some(({ bytes }) => decodeFrame(bytes) !== undefined) || stops.includes("local")
  );
}

function dropOf(stops: readonly string[]): string | undefined {
  return stops.find((name) => STOP_REASONS.some((reason) => reason.name === name && reason.outcome === "dropped"));
}

interface Arrived {
  came: Came;
  packet: Decoded | undefined;
}

function decodeCame(came: Came): Arrived {
  return { came, packet: decodeFrame(came.bytes) };
}

/** Whether a packet that came out is the first one, and neither its answer nor an error about it. */
function isTheSame(packet: Decoded | undefined, { protocol }: Question): boolean {
  if (packet?.protocol !== protocol) return false;
  if (protocol === Protocol.TCP) return packet.flags === TcpFlag.SYN;
  return protocol !== Protocol.ICMP || packet.icmpType === IcmpType.ECHO_REQUEST;
}

/** Local delivery of the packet itself, and not of an answer to ARP that it has waited for. */
function isForRouter({ stops }: Happening): boolean {
  return dropOf(stops) === undefined && stops.includes("local") && !stops.includes("parked");
}

function taken({ destination, protocol, destinationPort }: Question): Reached {
  const to = formatEnd(destination, protocol, destinationPort);
  return { isAllowed: true, isRejected: false, via: [], to, text: "the router itself takes it" };
}

function stopped(question: Question, { came, stops }: Happening): Reached {
  const reason = dropOf(stops);
  const isRejected = came.some(({ bytes }) => isRefusal(decodeFrame(bytes), question));
  const why = reason === undefined ? "nobody answers for its destination" : describeReason(reason);
  const text = `${why}${isRejected ? ", and its sender is told" : ""}`;
  return { isAllowed: false, isRejected, via: [], ...(reason === undefined ? {} : { reason }), text };
}

/** Whether a packet tells the sender that its packet was refused. */
export function isRefusal(packet: Decoded | undefined, { source }: Question): boolean {
  if (packet?.destination !== source) return false;
  if (packet.protocol === Protocol.TCP) return (packet.flags & TcpFlag.RST) !== 0;
  return packet.protocol === Protocol.ICMP && isError(packet.icmpType);
}

export function describeReason(name: string): string {
  return `${name} (${STOP_REASONS.find((reason) => reason.name === name)?.text ?? ""})`;
}

/** It has arrived: its host answers. */
function answered(virtual: VirtualRouter, question: Question, { came, packet }: Arrived): Reached {
  const { source, destination, protocol, sourcePort, destinationPort } = packet as Decoded;
  const port = virtual.hosts.port(came.port) as VirtualPort;
  const arrival = {
    via: [port.name, port.interface.name],
    source: formatAddress(source),
    to: formatEnd(destination, protocol, destinationPort),
  };
  const text = `arrives by ${came.port} as ${formatEnd(source, protocol, sourcePort)} > ${arrival.to}`;
  const happened = sendAndWait(virtual, came.port, answerTo(came.bytes, packet as Decoded));
  const isBack = happened.came.some(
    ({ port: name, bytes }) => name === question.port.name && isAnswer(decodeFrame(bytes), question),
  );
  if (isBack) return { isAllowed: true, isRejected: false, ...arrival, text };
  const reason = dropOf(happened.stops);
  const why = reason === undefined ? "its answer does not come back" : `its answer stops: ${describeReason(reason)}`;
  return {
    isAllowed: false,
    isRejected: false,
    ...arrival,
    ...(reason === undefined ? {} : { reason }),
    text: `${text}, but ${why}`,
  };
}

function answerTo(frame: Uint8Array, packet: Decoded): Uint8Array {
  const memory = new DataView(frame.buffer, frame.byteOffset);
  const macAt = (at: number): MacAddress => ({ high: memory.getUint16(at), low: memory.getInt32(at + 2) });
  const fields: PacketFields = {
    ...PACKET_DEFAULTS,
    protocol: packet.protocol,
    source: packet.destination,
    destination: packet.source,
    sourcePort: packet.destinationPort,
    destinationPort: packet.sourcePort,
    flags: TcpFlag.SYN | TcpFlag.ACK,
    acknowledgement: (packet.sequence + 1) | 0,
    icmpType: IcmpType.ECHO_REPLY,
    icmpId: packet.icmpId,
    icmpSequence: packet.icmpSequence,
    payloadBytes: packet.protocol === Protocol.TCP ? 0 : 8,
  };
  return composeFrame(fields, macAt(0), macAt(6));
}

function isAnswer(packet: Decoded | undefined, { source, destination, protocol, destinationPort }: Question): boolean {
  if (packet?.protocol !== protocol || packet.source !== destination || packet.destination !== source) return false;
  if (protocol === Protocol.ICMP) return packet.icmpType === IcmpType.ECHO_REPLY;
  return !hasPorts(protocol) || (packet.sourcePort === destinationPort && packet.destinationPort === SOURCE_PORT);
}
