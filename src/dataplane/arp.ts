/**
 * ARP (RFC 826): the router answers for its own addresses, learns its neighbours from what they say of themselves, and
 * asks for next hops. A probe (RFC 5227 2.1.1, sender 0.0.0.0) is answered and teaches nothing; group hardware
 * addresses and claims to the router's own address are refused.
 */
import * as arp from "../packet/arp.ts";
import { ETHERNET_HEADER_BYTES, EtherType, isGroupMac, setEtherType, setMacs } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { clearVnetHeader } from "../packet/vnet_header.ts";
import { Counter } from "./counters.ts";
import { resumeParked } from "./dispose.ts";
import type { Interface } from "./interfaces.ts";
import { FLOOD } from "./next_hop.ts";
import type { Router } from "./router.ts";
import { RouteKind } from "./routes.ts";

export function receiveArp(router: Router, frame: Frame): number {
  const { memory } = router;
  const at = frame.at + ETHERNET_HEADER_BYTES;
  if (!arp.isWellFormed(memory, at, frame.length - ETHERNET_HEADER_BYTES)) return Stop.ARP_MALFORMED;
  const ingress = router.interfaces[frame.ingressInterface] as Interface;
  const senderHigh = arp.senderMacHigh(memory, at);
  const senderLow = arp.senderMacLow(memory, at);
  const sender = arp.senderAddress(memory, at);
  if (isGroupMac(senderHigh) || isOwn(router, ingress, sender)) {
    // Nor do the others hear of it.
    frame.flood = 0;
    return Stop.ARP_SPOOFED;
  }
  const operation = arp.operation(memory, at);
  const isRequest = operation === arp.ArpOperation.REQUEST;
  if (!isRequest && operation !== arp.ArpOperation.REPLY) return Stop.ARP_MALFORMED;
  const target = arp.targetAddress(memory, at);
  const isForRouter = isOwn(router, ingress, target);
  if (sender !== 0 && ingress.holds(sender)) {
    learnNeighbour(router, frame, sender, senderHigh, senderLow, isRequest && isForRouter);
  }
  if (!isForRouter) return Stop.ARP_NOT_FOR_ROUTER;
  if (isRequest) sendReply(router, frame, ingress, target, sender, senderHigh, senderLow);
  return Stop.LOCAL;
}

/** The interface's own address, or one that source NAT takes there. */
function isOwn(router: Router, ingress: Interface, address: number): boolean {
  if (ingress.owns(address)) return true;
  const route = router.routes.local(address);
  return route !== undefined && route.kind === RouteKind.LOCAL && route.interface === ingress.index;
}

/** Updates a neighbour that is known; makes a new one only of those who ask for the router (RFC 826, merge flag). */
function learnNeighbour(
  router: Router,
  { ingressInterface, ingressPort }: Frame,
  address: number,
  macHigh: number,
  macLow: number,
  mayAdd: boolean,
): void {
  const { neighbours, now } = router;
  const before = neighbours.generation;
  const neighbour = mayAdd
    ? neighbours.obtain(ingressInterface, address, now, ingressPort)
    : neighbours.find(ingressInterface, address);
  if (neighbours.generation !== before) router.raiseGeneration();
  if (neighbour < 0) return;
  neighbours.confirm(neighbour, macHigh, macLow, now);
  if (neighbours.parkedCount[neighbour] > 0) resumeParked(router, neighbour);
}

function sendReply(
  router: Router,
  frame: Frame,
  ingress: Interface,
  own: number,
  target: number,
  targetHigh: number,
  targetLow: number,
): void {
  const reply = startArp(router, ingress, targetHigh, targetLow);
  if (reply === undefined) return;
  const at = reply.at + ETHERNET_HEADER_BYTES;
  const { macHigh, macLow } = ingress;
  arp.write(router.memory, at, arp.ArpOperation.REPLY, macHigh, macLow, own, targetHigh, targetLow, target);
  reply.egressPort = frame.ingressPort;
  router.post(reply.slot);
  router.count(Counter.arpRepliesSent);
}

/** Asks for a neighbour: everybody while its hardware address is unknown, then only itself. */
export function sendArpRequest(router: Router, neighbour: number): void {
  const { neighbours } = router;
  const egress = router.interfaces[neighbours.interfaceOf[neighbour]];
  if (egress === undefined) return;
  if (egress.shared !== undefined) {
    // The kernel is there, and needs no address.
    neighbours.confirm(neighbour, egress.macHigh, egress.macLow, router.now);
    return;
  }
  const isKnown = neighbours.isUsable(neighbour);
  const high = isKnown ? neighbours.macHigh[neighbour] : 0xffff;
  const low = isKnown ? neighbours.macLow[neighbour] : -1;
  const request = startArp(router, egress, high, low);
  if (request === undefined) return;
  const at = request.at + ETHERNET_HEADER_BYTES;
  const { macHigh, macLow } = egress;
  const target = neighbours.address[neighbour];
  const address = egress.addressTowards(target);
  arp.write(router.memory, at, arp.ArpOperation.REQUEST, macHigh, macLow, address, 0, 0, target);
  const port = isKnown && egress.isNetwork ? router.macs.find(egress.index, high, low, router.now) : -1;
  request.egressPort = port < 0 ? FLOOD : port;
  router.post(request.slot);
  router.count(Counter.arpRequestsSent);
}

function startArp(router: Router, egress: Interface, high: number, low: number): Frame | undefined {
  const slot = router.arena.take();
  if (slot < 0) {
    router.count(Counter.ownFramesDropped);
    return undefined;
  }
  const frame = router.frames[slot];
  frame.own = 1;
  frame.flood = 0;
  frame.reference = -1;
  frame.ingressPort = -1;
  frame.ingressInterface = egress.index;
  frame.egressInterface = egress.index;
  frame.etherType = EtherType.ARP;
  clearVnetHeader(router.memory, frame.at);
  setMacs(router.memory, frame.at, high, low, egress.macHigh, egress.macLow);
  setEtherType(router.memory, frame.at, EtherType.ARP);
  router.arena.slotLength[slot] = ETHERNET_HEADER_BYTES + arp.ARP_BYTES;
  return frame;
}
