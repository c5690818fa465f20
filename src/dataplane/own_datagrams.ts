/**
 * Datagrams of the router's own: what the DHCP server and the DNS forwarder, which live in the control process, have the
 * dataplane send.
 *
 * An answer goes back to the station that asked, by the port that it is behind: a client of DHCP has no address yet that
 * could be routed to. A question to a server is routed as everything of the router's own is, meets OUTPUT, and leaves from
 * the address of its egress. It opens a flow, as in Linux: so no translated flow shares its tuple, its answer meets INPUT as
 * ESTABLISHED, and `tapir conntrack` shows it. The source port is drawn anew for each question (RFC 5452 9.2).
 */
import { FlowFlag } from "../conntrack/flow_layout.ts";
import type { FlowId } from "../conntrack/flow_table.ts";
import { ETHERNET_HEADER_BYTES, EtherType, setEtherType, setMacs } from "../packet/ethernet.ts";
import { type Frame, Own } from "../packet/frame.ts";
import { IPV4_HEADER_BYTES, Protocol, writeHeader } from "../packet/ipv4.ts";
import { formatAddress } from "../packet/ipv4_address.ts";
import { parseMac } from "../packet/mac_address.ts";
import { STOP_REASONS, Stop } from "../packet/stop_reasons.ts";
import { UDP_HEADER_BYTES, writeUdp } from "../packet/udp.ts";
import { clearVnetHeader } from "../packet/vnet_header.ts";
import { Counter } from "./counters.ts";
import { sendOwnFrames } from "./dispose.ts";
import type { Interface } from "./interfaces.ts";
import { noteOwnReply } from "./local.ts";
import type { OwnSocket, SentDatagram, ServerQuestion } from "./messages.ts";
import { openFlow } from "./open_flow.ts";
import type { Router } from "./router.ts";
import { RouteKind } from "./routes.ts";

const OWN_TTL = 64;
/** All ports but those that are well known. */
const ANY_PORT = { first: 1024, last: 65_535 };
/** Source ports that are tried before a question is given up. */
const MOST_DRAWS = 32;

/** Lost, as any frame may be, when the port is gone, the datagram is longer than the MTU, or no slot is free. */
export function sendDatagram(router: Router, datagram: SentDatagram): void {
  const { interface: index, port, source, destination } = datagram;
  const egress = router.interfaces[index];
  const payload = Buffer.from(datagram.payload, "base64");
  const isPossible =
    egress !== undefined &&
    router.ports.interfaceOf[port] === index &&
    IPV4_HEADER_BYTES + UDP_HEADER_BYTES + payload.length <= egress.mtu;
  const ports = (datagram.sourcePort << 16) | datagram.destinationPort;
  const frame = isPossible ? composeFrame(router, source, destination, ports, payload) : undefined;
  if (frame === undefined || egress === undefined) {
    router.count(Counter.ownFramesDropped);
    return;
  }
  const mac = parseMac(datagram.mac);
  setMacs(router.memory, frame.at, mac.high, mac.low, egress.macHigh, egress.macLow);
  frame.own = Own.ADDRESSED;
  frame.ingressInterface = index;
  frame.egressInterface = index;
  frame.egressPort = port;
  noteAnswer(router, frame);
  send(router, frame);
}

function noteAnswer(router: Router, frame: Frame): void {
  const asked = (frame.ports << 16) | (frame.ports >>> 16);
  const reference = findFlow(router, frame.destination, frame.source, asked);
  if (reference >= 0 && (reference & 1) === 0) noteOwnReply(router, frame, (reference >> 1) as FlowId);
}

/** The flow of UDP with this tuple in one of its directions: a reference, or -1. */
function findFlow({ flows, now }: Router, source: number, destination: number, ports: number): number {
  const hash = flows.hash(source, destination, ports, Protocol.UDP);
  return flows.lookup(hash, source, destination, ports, Protocol.UDP, now);
}

/**
 * Sends a question and opens its flow.
 * @throws Error where no route leads to the server, or nothing is left for its flow.
 */
export function askServer(router: Router, { destination, destinationPort, payload }: ServerQuestion): OwnSocket {
  const egress = egressTo(router, destination);
  const source = egress.addressTowards(destination);
  if (source === 0) throw new Error(`${egress.name} has no address yet`);
  const sourcePort = drawPort(router, egress, source, destination, destinationPort);
  const frame = composeFrame(
    router,
    source,
    destination,
    (sourcePort << 16) | destinationPort,
    Buffer.from(payload, "base64"),
  );
  if (frame === undefined) throw new Error("no slot is free");
  frame.ingressInterface = egress.index;
  const stop = openFlow(router, frame, destination, frame.ports, undefined, FlowFlag.LOCAL);
  if (stop !== Stop.CONTINUE) {
    router.arena.release(frame.slot);
    throw new Error(STOP_REASONS[stop].text);
  }
  // From here on it is a packet of the router's own, which no stage looks a flow up for.
  frame.reference = -1;
  send(router, frame);
  return { source, sourcePort, destination, destinationPort };
}

/** Ends the flow of a question. */
export function forgetServer(router: Router, socket: OwnSocket): void {
  const { source, sourcePort, destination, destinationPort } = socket;
  const reference = findFlow(router, source, destination, (sourcePort << 16) | destinationPort);
  if (reference >= 0 && (reference & 1) === 0) router.flows.remove((reference >> 1) as FlowId);
}

function egressTo({ routes, interfaces }: Router, destination: number): Interface {
  const route = routes.findOwn(0, destination);
  const egress = route?.kind === RouteKind.UNICAST ? interfaces[route.interface] : undefined;
  if (egress === undefined) throw new Error(`no route to ${formatAddress(destination)}`);
  return egress;
}

/** A source port whose tuples nobody has: of an address that is shared with the host, one that the router may use. */
function drawPort(
  router: Router,
  egress: Interface,
  source: number,
  destination: number,
  destinationPort: number,
): number {
  const { first, last } = egress.shared?.ports ?? ANY_PORT;
  for (let draw = 0; draw < MOST_DRAWS; draw++) {
    const port = first + ((router.random() >>> 0) % (last - first + 1));
    const isFree =
      findFlow(router, source, destination, (port << 16) | destinationPort) < 0 &&
      findFlow(router, destination, source, (destinationPort << 16) | port) < 0;
    if (isFree && router.sourceNat.mappingOf(Protocol.UDP, source, port) < 0) return port;
  }
  throw new Error("no source port is free");
}

/** A frame with a whole IPv4 packet in a slot of its own; undefined where none is free. */
function composeFrame(
  router: Router,
  source: number,
  destination: number,
  ports: number,
  payload: Uint8Array,
): Frame | undefined {
  const slot = router.arena.take();
  if (slot < 0) return undefined;
  const { memory, arena } = router;
  const frame = router.frames[slot];
  const udpBytes = UDP_HEADER_BYTES + payload.length;
  frame.own = Own.ROUTED;
  frame.flood = 0;
  frame.reference = -1;
  frame.ingressPort = -1;
  frame.etherType = EtherType.IPV4;
  frame.ip = frame.at + ETHERNET_HEADER_BYTES;
  frame.l4 = frame.ip + IPV4_HEADER_BYTES;
  frame.end = frame.l4 + udpBytes;
  frame.protocol = Protocol.UDP;
  frame.fragment = 0;
  frame.source = source;
  frame.destination = destination;
  frame.ports = ports;
  frame.hash = router.flows.hash(source, destination, ports, Protocol.UDP);
  frame.path = 0;
  frame.neighbour = 0;
  frame.connmark = 0;
  frame.mark = 0;
  clearVnetHeader(memory, frame.at);
  setEtherType(memory, frame.at, EtherType.IPV4);
  const id = router.random() & 0xffff;
  const total = IPV4_HEADER_BYTES + udpBytes;
  writeHeader(memory, frame.ip, 0, total, id, 0, OWN_TTL, Protocol.UDP, source, destination);
  arena.bytes.set(payload, frame.l4 + UDP_HEADER_BYTES);
  writeUdp(memory, frame.l4, ports, udpBytes, source, destination);
  arena.slotLength[slot] = frame.end - frame.at;
  return frame;
}

/** At once, between two bursts: the next one may be long in coming. */
function send(router: Router, frame: Frame): void {
  router.post(frame.slot);
  sendOwnFrames(router);
  router.flush();
}
