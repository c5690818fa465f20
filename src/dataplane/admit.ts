/**
 * Admit: the slow path. A packet of no known flow is routed, judged by INPUT or FORWARD, bound to a source address and
 * port, and its flow inserted; then it goes on as a hit does. The order of hooks is Linux's: conntrack, destination
 * NAT, routing decision, INPUT or FORWARD, source NAT, confirm. TTL and MTU are judged before the chain, as Linux
 * does, so that a packet that goes nowhere leaves no flow behind.
 */
import { ANY_NAT, FLOW_SHIFT, FlowFlag, FlowWord, TUPLE_WORDS } from "../conntrack/flow_layout.ts";
import type { FlowId } from "../conntrack/flow_table.ts";
import { invertPorts } from "../conntrack/tuple.ts";
import { RuleState } from "../filter/rule_set.ts";
import type { Mappings } from "../nat/mappings.ts";
import type { DestinationChoice } from "../nat/rules.ts";
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from "../packet/dhcp.ts";
import type { Frame } from "../packet/frame.ts";
import { isError } from "../packet/icmp.ts";
import { Protocol } from "../packet/ipv4.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { chooseDestination, chooseSource, markAgain, passForward, passInput, wouldChooseSource } from "./ask.ts";
import type { Interface } from "./interfaces.ts";
import { limits } from "./limits.ts";
import { deliver } from "./local.ts";
import { openFlow, routeWord } from "./open_flow.ts";
import type { Router } from "./router.ts";
import { type Route, RouteKind } from "./routes.ts";

/** Source and destination port of a DHCP server's answers. */
const TO_DHCP_CLIENT = (DHCP_SERVER_PORT << 16) | DHCP_CLIENT_PORT;

/** A packet that belongs to no flow: opens one, or is invalid. */
export function admit(router: Router, frame: Frame): number {
  if (router.tracker.mayOpen(router.memory, frame) !== Stop.CONTINUE) return admitInvalid(router, frame);
  if (isOwnOrBroadcast(router, frame.source) || isInsideFromOutside(router, frame)) return Stop.MARTIAN_SOURCE;
  if (frame.ports === TO_DHCP_CLIENT && isForDhcpClient(router, frame)) return Stop.DHCP_CLIENT;
  frame.state = RuleState.NEW;
  frame.mark = 0;
  frame.connmark = 0;
  const translation = chooseDestination(router, frame);
  if (translation !== undefined) return admitTranslated(router, frame, translation);
  const route = router.routes.find(frame, frame.destination);
  if (route !== undefined && route.kind === RouteKind.LOCAL) {
    const mapping = router.sourceNat.mappingOf(frame.protocol, frame.destination, frame.ports & 0xffff);
    if (mapping >= 0) return admitMapped(router, frame, mapping, route.interface);
    return admitLocal(router, frame, frame.destination, frame.ports, 0);
  }
  return admitRouted(router, frame, route, frame.destination, frame.ports, undefined);
}

/** The control process takes it from its own socket: here it would be answered, or forwarded. */
function isForDhcpClient(router: Router, frame: Frame): boolean {
  return frame.protocol === Protocol.UDP && (router.interfaces[frame.ingressInterface] as Interface).isLeased;
}

/** Destination NAT, then routing as ever: what comes to the router itself is local, the rest meets FORWARD. */
function admitTranslated(router: Router, frame: Frame, translation: DestinationChoice): number {
  const hash = router.flows.hash(frame.source, frame.destination, 0, 0);
  const own = (router.interfaces[frame.ingressInterface] as Interface).address;
  const to = translation.isRedirect ? own : translation.addressFor(hash, frame.destination);
  let { ports } = frame;
  if (frame.protocol === Protocol.TCP || frame.protocol === Protocol.UDP) {
    ports = (ports & 0xffff0000) | translation.portFor(ports & 0xffff, hash);
  }
  const route = router.routes.find(frame, to);
  if (route !== undefined && route.kind === RouteKind.LOCAL) {
    return admitLocal(router, frame, to, ports, FlowFlag.DESTINATION_NAT);
  }
  return admitRouted(router, frame, route, to, ports, translation);
}

/** To somebody else. What comes to a published port from inside leaves with the published address. */
function admitRouted(
  router: Router,
  frame: Frame,
  route: Route | undefined,
  destination: number,
  ports: number,
  translation: DestinationChoice | undefined,
): number {
  const isPublished = translation?.isPublished === true;
  const port = ports & 0xffff;
  const stop = forwardAlong(router, frame, route, destination, port, isPublished);
  if (stop !== Stop.CONTINUE) return stop;
  const isHairpin = isPublished && (router.interfaces[frame.ingressInterface] as Interface).isNetwork;
  const choice = isHairpin
    ? translation.hairpin
    : chooseSource(router, frame, destination, port, frame.egressInterface);
  const published = isPublished ? FlowFlag.PUBLISHED : 0;
  const flags = translation === undefined ? 0 : FlowFlag.DESTINATION_NAT | published;
  return openFlow(router, frame, destination, ports, choice, flags);
}

/**
 * To the outside end of an endpoint-independent mapping: filtering is endpoint-independent too (RFC 4787 REQ-8), as
 * far as the rules accept RELATED packets. From inside it hairpins, with the sender's own outside end as its source
 * (RFC 4787 REQ-9). `outside` is the interface that has the address.
 */
function admitMapped(router: Router, frame: Frame, mapping: number, outside: number): number {
  const mappings = router.sourceNat.mappings as Mappings;
  const inside = mappings.insideOf(mapping);
  const port = mappings.insidePortOf(mapping);
  frame.state = RuleState.RELATED;
  const stop = forwardAlong(router, frame, router.routes.find(frame, inside), inside, port, false);
  if (stop !== Stop.CONTINUE) return stop;
  const ingress = router.interfaces[frame.ingressInterface] as Interface;
  const choice = ingress.isNetwork ? wouldChooseSource(router, frame, inside, port, outside) : undefined;
  const flags = FlowFlag.DESTINATION_NAT | FlowFlag.DESTINATION_MAPPED;
  return openFlow(router, frame, inside, (frame.ports & 0xffff0000) | port, choice, flags);
}

/** The router's own addresses and broadcasts are nobody else's to send from (RFC 1812 5.3.7). */
function isOwnOrBroadcast(router: Router, address: number): boolean {
  return router.routes.local(address) !== undefined;
}

/** Nobody on an uplink has an address of a network's (RFC 2827): such a source is made up. */
function isInsideFromOutside(router: Router, frame: Frame): boolean {
  const { interfaces } = router;
  if ((interfaces[frame.ingressInterface] as Interface).isNetwork) return false;
  for (let i = 0; i < interfaces.length; i++) {
    if (interfaces[i]?.isNetwork === true && interfaces[i]?.holds(frame.source) === true) return true;
  }
  return false;
}

/** A packet for the router itself, at `destination` (that of the packet, unless it is translated). */
function admitLocal(router: Router, frame: Frame, destination: number, ports: number, flags: number): number {
  if (router.recorder !== undefined) {
    router.recorder.routed(destination, ports & 0xffff, frame.protocol, router.routes.local(destination));
  }
  const stop = passInput(router, frame, destination, ports & 0xffff);
  if (stop !== Stop.CONTINUE) return stop;
  frame.egressInterface = 0;
  frame.neighbour = 0;
  const opened = openFlow(router, frame, destination, ports, undefined, FlowFlag.LOCAL | flags);
  return opened === Stop.CONTINUE ? deliver(router, frame) : opened;
}

/**
 * A packet of a known flow that has to be judged (again): rules, routes or neighbours have changed, or it is the first
 * of its class. Keeps the binding where it is still valid; a changed egress address ends the flow.
 */
export function readmit(router: Router, frame: Frame, flow: FlowId, direction: number, admission: number): number {
  const words = router.flows.words;
  const base = flow << FLOW_SHIFT;
  const status = words[base + FlowWord.STATUS];
  const isLocal = (status & FlowFlag.LOCAL) !== 0;
  const isPublished = (status & FlowFlag.PUBLISHED) !== 0;
  const target = base + (1 - direction) * TUPLE_WORDS;
  const destination = words[target];
  const ports = invertPorts(frame.protocol, words[target + 2]);
  frame.mark = 0;
  if (router.recorder !== undefined) router.recorder.readmitted(admission);
  if (direction === 0) markAgain(router, frame);
  const route = router.routes.find(frame, destination, words[base + FlowWord.ROUTE + direction] & 0xffff);
  if (isLocal !== (route !== undefined && route.kind === RouteKind.LOCAL)) return startOver(router, frame, flow);
  if (isLocal) {
    if (router.recorder !== undefined) router.recorder.routed(destination, ports & 0xffff, frame.protocol, route);
    const stop = passInput(router, frame, destination, ports & 0xffff);
    if (stop !== Stop.CONTINUE) return stop;
    frame.neighbour = 0;
  } else {
    const stop = forwardAlong(router, frame, route, destination, ports & 0xffff, isPublished);
    if (stop !== Stop.CONTINUE) return stop;
    const isValid = direction !== 0 || isBindingValid(router, frame, flow, destination, ports & 0xffff);
    if (!isValid) return startOver(router, frame, flow);
  }
  words[base + FlowWord.ROUTE + direction] = routeWord(frame);
  words[base + FlowWord.STATUS] |= admission;
  words[base + FlowWord.GENERATION] = router.generation;
  return Stop.CONTINUE;
}

/**
 * A flow keeps its binding as long as the rules could have given it that; and one that goes out as it came does so
 * only until a rule hides its source. Where no rule asks for translation any more, the flow keeps its own.
 */
function isBindingValid(router: Router, frame: Frame, flow: FlowId, destination: number, port: number): boolean {
  const words = router.flows.words;
  const base = flow << FLOW_SHIFT;
  const status = words[base + FlowWord.STATUS];
  if ((status & (FlowFlag.PUBLISHED | FlowFlag.DESTINATION_MAPPED)) !== 0) return true;
  const choice = wouldChooseSource(router, frame, destination, port, frame.egressInterface);
  if (choice === undefined) return true;
  // In `bcp` the port is that of the mapping, which outlives a change of the ports that new ones may take.
  const hasPort = !router.isBcp && (frame.protocol === Protocol.TCP || frame.protocol === Protocol.UDP);
  const address = words[base + FlowWord.REPLY_DESTINATION];
  return choice.allows(frame.source, address, router.sourceNat.boundIdent(base), hasPort);
}

function startOver(router: Router, frame: Frame, flow: FlowId): number {
  router.flows.remove(flow);
  frame.reference = -1;
  if (router.recorder !== undefined) router.recorder.startedOver();
  const stop = admit(router, frame);
  // `admit` has set egress and next hop in the frame and in the flow alike; a local packet is done.
  return stop;
}

/**
 * A packet that conntrack calls invalid. As in Linux it meets FORWARD and no NAT; but where a NAT rule would have
 * applied it is dropped, so that an inside address never appears on an uplink.
 */
export function admitInvalid(router: Router, frame: Frame): number {
  const { reference } = frame;
  if (router.recorder !== undefined) router.recorder.invalid(frame, reference);
  frame.state = RuleState.INVALID;
  frame.reference = -1;
  frame.mark = 0;
  frame.connmark = 0;
  const isIcmpError = frame.protocol === Protocol.ICMP && isError((frame.ports >>> 8) & 0xff);
  const reason = isIcmpError ? Stop.ICMP_ERROR_UNRELATED : Stop.INVALID_STATE;
  if (reference >= 0 && isTranslated(router, reference)) return reason;
  if (isOwnOrBroadcast(router, frame.source)) return Stop.MARTIAN_SOURCE;
  const route = router.routes.find(frame, frame.destination);
  if (route === undefined) return Stop.NO_ROUTE;
  if (route.kind === RouteKind.LOCAL) return reason;
  if (route.interface < 0) return stopOf(route.kind);
  const { destination, ports } = frame;
  if (wouldChooseSource(router, frame, destination, ports & 0xffff, route.interface) !== undefined) return reason;
  if (router.nat.mayAnswer(frame.protocol, frame.source, ports >>> 16)) return reason;
  return forwardAlong(router, frame, route, frame.destination, frame.ports & 0xffff, false);
}

function isTranslated(router: Router, reference: number): boolean {
  return (router.flows.words[((reference >> 1) << FLOW_SHIFT) + FlowWord.STATUS] & ANY_NAT) !== 0;
}

/** Routes an ICMP error to `destination` and asks FORWARD; sets egress interface and neighbour. */
export function admitTo(router: Router, frame: Frame, destination: number, isPublished: boolean): number {
  frame.mark = 0;
  frame.connmark = 0;
  return forwardAlong(router, frame, router.routes.find(frame, destination), destination, 0, isPublished);
}

function forwardAlong(
  router: Router,
  frame: Frame,
  route: Route | undefined,
  destination: number,
  destinationPort: number,
  isPublished: boolean,
): number {
  if (router.recorder !== undefined) router.recorder.routed(destination, destinationPort, frame.protocol, route);
  if (route === undefined) return Stop.NO_ROUTE;
  if (route.kind !== RouteKind.UNICAST) return stopOf(route.kind);
  if (areIsolated(router.interfaces, frame.ingressInterface, route.interface)) return Stop.NETWORK_ISOLATED;
  frame.egressInterface = route.interface;
  const stop = limits(router, frame);
  if (router.recorder !== undefined) router.recorder.limited(frame, stop);
  if (stop !== Stop.CONTINUE) return stop;
  const verdict = passForward(router, frame, destination, destinationPort, isPublished);
  if (verdict !== Stop.CONTINUE) return verdict;
  const { neighbours } = router;
  const before = neighbours.generation;
  frame.neighbour = neighbours.obtain(
    route.interface,
    route.via === 0 ? destination : route.via,
    router.now,
    frame.ingressPort,
  );
  if (neighbours.generation !== before) router.raiseGeneration();
  return frame.neighbour < 0 ? Stop.NEIGHBOUR_TABLE_FULL : Stop.CONTINUE;
}

/** Why a packet stops whose route leads nowhere. */
export function stopOf(kind: number): number {
  switch (kind) {
    case RouteKind.BLACKHOLE:
      return Stop.ROUTE_BLACKHOLE;
    case RouteKind.UNREACHABLE:
      return Stop.ROUTE_UNREACHABLE;
    case RouteKind.PROHIBIT:
      return Stop.ROUTE_PROHIBITED;
    case RouteKind.BROADCAST:
      return Stop.DIRECTED_BROADCAST;
    default:
      return Stop.INVALID_STATE;
  }
}

/**
 * Two networks of which one is isolated have nothing to say to each other, published ports included; neither have an
 * internal network and an uplink.
 */
export function areIsolated(interfaces: readonly (Interface | undefined)[], ingress: number, egress: number): boolean {
  if (ingress === egress) return false;
  const from = interfaces[ingress];
  const to = interfaces[egress];
  if (from === undefined || to === undefined) return false;
  return from.isNetwork && to.isNetwork ? from.isIsolated || to.isIsolated : from.isInternal || to.isInternal;
}
