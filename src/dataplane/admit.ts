/**
 * Admit: the slow path. A packet of no known flow is routed, judged by INPUT or FORWARD, bound to a source address and
 * port, and its flow inserted; then it goes on as a hit does. The order of hooks is Linux's: conntrack, destination
 * NAT, routing decision, INPUT or FORWARD, source NAT, confirm. TTL and MTU are judged before the chain, as Linux
 * does, so that a packet that goes nowhere leaves no flow behind.
 */
import { ANY_NAT, FLOW_SHIFT, FlowFlag, FlowWord, TUPLE_WORDS } from "../conntrack/flow_layout.ts";
import type { FlowId } from "../conntrack/flow_table.ts";
import { invertPorts } from "../conntrack/tuple.ts";
import type { CompiledChain } from "../filter/compiled_chain.ts";
import { Action, StateBit } from "../filter/rule.ts";
import type { Mappings } from "../nat/mappings.ts";
import type { Published, SourceChoice } from "../nat/rules.ts";
import { ETHERNET_HEADER_BYTES } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import { isError } from "../packet/icmp.ts";
import { Protocol } from "../packet/ipv4.ts";
import { Stop } from "../packet/stop_reasons.ts";
import type { Interface } from "./interfaces.ts";
import { limits } from "./limits.ts";
import { deliver } from "./local.ts";
import { openFlow, routeWord } from "./open_flow.ts";
import type { Router } from "./router.ts";
import { type Route, RouteKind } from "./routes.ts";

/** DESTINATION_NAT alone of these: the flow came to a published port. */
const PUBLISHED_BITS = FlowFlag.DESTINATION_NAT | FlowFlag.DESTINATION_MAPPED;

/** A packet that belongs to no flow: opens one, or is invalid. */
export function admit(router: Router, frame: Frame): number {
  if (router.tracker.mayOpen(router.memory, frame) !== Stop.CONTINUE) return admitInvalid(router, frame);
  if (isOwnOrBroadcast(router, frame.source)) return Stop.MARTIAN_SOURCE;
  frame.state = StateBit.NEW;
  const published = router.nat.publishedAt(frame.protocol, frame.destination, frame.ports & 0xffff);
  if (published !== undefined) return admitPublished(router, frame, published);
  const route = router.routes.lookup(frame.destination);
  if (route !== undefined && route.kind === RouteKind.LOCAL) {
    const mapping = router.sourceNat.mappingOf(frame.protocol, frame.destination, frame.ports & 0xffff);
    return mapping < 0 ? admitLocal(router, frame) : admitMapped(router, frame, mapping, route.interface);
  }
  const stop = forwardAlong(router, frame, route, frame.destination, frame.ports & 0xffff, false);
  if (stop !== Stop.CONTINUE) return stop;
  const choice = router.nat.sourceChoice(frame.source, frame.egressInterface);
  return openFlow(router, frame, frame.destination, frame.ports, choice, 0);
}

/** To a published port: destination NAT, then FORWARD. What comes from inside leaves with the published address. */
function admitPublished(router: Router, frame: Frame, published: Published): number {
  const port = published.portFor(frame.ports & 0xffff);
  const stop = forwardAlong(router, frame, router.routes.lookup(published.to), published.to, port, true);
  if (stop !== Stop.CONTINUE) return stop;
  const choice = publishedSource(router, frame, published);
  return openFlow(router, frame, published.to, (frame.ports & 0xffff0000) | port, choice, FlowFlag.DESTINATION_NAT);
}

function publishedSource(router: Router, frame: Frame, published: Published): SourceChoice | undefined {
  const ingress = router.interfaces[frame.ingressInterface] as Interface;
  return ingress.isNetwork ? published.hairpin : router.nat.sourceChoice(frame.source, frame.egressInterface);
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
  frame.state = StateBit.RELATED;
  const stop = forwardAlong(router, frame, router.routes.lookup(inside), inside, port, false);
  if (stop !== Stop.CONTINUE) return stop;
  const ingress = router.interfaces[frame.ingressInterface] as Interface;
  const choice = ingress.isNetwork ? router.nat.sourceChoice(frame.source, outside) : undefined;
  const flags = FlowFlag.DESTINATION_NAT | FlowFlag.DESTINATION_MAPPED;
  return openFlow(router, frame, inside, (frame.ports & 0xffff0000) | port, choice, flags);
}

/** The router's own addresses and broadcasts are nobody else's to send from (RFC 1812 5.3.7). */
function isOwnOrBroadcast(router: Router, address: number): boolean {
  const route = router.routes.lookup(address);
  return route !== undefined && route.kind !== RouteKind.UNICAST;
}

/** A packet for the router itself. */
function admitLocal(router: Router, frame: Frame): number {
  const stop = passInput(router, frame);
  if (stop !== Stop.CONTINUE) return stop;
  frame.egressInterface = 0;
  frame.neighbour = 0;
  const opened = openFlow(router, frame, frame.destination, frame.ports, undefined, FlowFlag.LOCAL);
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
  const isPublished = (status & PUBLISHED_BITS) === FlowFlag.DESTINATION_NAT;
  const target = base + (1 - direction) * TUPLE_WORDS;
  const destination = words[target];
  const route = router.routes.lookup(destination);
  if (isLocal !== (route !== undefined && route.kind === RouteKind.LOCAL)) return startOver(router, frame, flow);
  if (isLocal) {
    const stop = passInput(router, frame);
    if (stop !== Stop.CONTINUE) return stop;
  } else {
    const ports = invertPorts(frame.protocol, words[target + 2]);
    const stop = forwardAlong(router, frame, route, destination, ports & 0xffff, isPublished);
    if (stop !== Stop.CONTINUE) return stop;
    if (direction === 0 && !isBindingValid(router, frame, flow)) return startOver(router, frame, flow);
    words[base + FlowWord.ROUTE + direction] = routeWord(frame);
  }
  words[base + FlowWord.STATUS] |= admission;
  words[base + FlowWord.GENERATION] = router.generation;
  return Stop.CONTINUE;
}

/**
 * A flow keeps its binding as long as the rules could have given it that; and one that goes out as it came does so
 * only until a rule hides its source. Where no rule asks for translation any more, the flow keeps its own.
 */
function isBindingValid(router: Router, frame: Frame, flow: FlowId): boolean {
  const words = router.flows.words;
  const base = flow << FLOW_SHIFT;
  if ((words[base + FlowWord.STATUS] & FlowFlag.DESTINATION_NAT) !== 0) return true;
  const choice = router.nat.sourceChoice(frame.source, frame.egressInterface);
  if (choice === undefined) return true;
  // In `bcp` the port is that of the mapping, which outlives a change of the ports that new ones may take.
  const hasPort = !router.isBcp && (frame.protocol === Protocol.TCP || frame.protocol === Protocol.UDP);
  return choice.allows(words[base + FlowWord.REPLY_DESTINATION], router.sourceNat.boundIdent(base), hasPort);
}

function startOver(router: Router, frame: Frame, flow: FlowId): number {
  router.flows.remove(flow);
  frame.reference = -1;
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
  frame.state = StateBit.INVALID;
  frame.reference = -1;
  const isIcmpError = frame.protocol === Protocol.ICMP && isError((frame.ports >>> 8) & 0xff);
  const reason = isIcmpError ? Stop.ICMP_ERROR_UNRELATED : Stop.INVALID_STATE;
  if (reference >= 0 && isTranslated(router, reference)) return reason;
  if (isOwnOrBroadcast(router, frame.source)) return Stop.MARTIAN_SOURCE;
  const route = router.routes.lookup(frame.destination);
  if (route === undefined) return Stop.NO_ROUTE;
  if (route.kind === RouteKind.LOCAL || router.nat.sourceChoice(frame.source, route.interface) !== undefined)
    return reason;
  if (router.nat.isPublishedSource(frame.protocol, frame.source, frame.ports >>> 16)) return reason;
  return forwardAlong(router, frame, route, frame.destination, frame.ports & 0xffff, false);
}

function isTranslated(router: Router, reference: number): boolean {
  return (router.flows.words[((reference >> 1) << FLOW_SHIFT) + FlowWord.STATUS] & ANY_NAT) !== 0;
}

/** Routes an ICMP error to `destination` and asks FORWARD; sets egress interface and neighbour. */
export function admitTo(router: Router, frame: Frame, destination: number, isPublished: boolean): number {
  return forwardAlong(router, frame, router.routes.lookup(destination), destination, 0, isPublished);
}

function forwardAlong(
  router: Router,
  frame: Frame,
  route: Route | undefined,
  destination: number,
  destinationPort: number,
  isPublished: boolean,
): number {
  if (route === undefined) return Stop.NO_ROUTE;
  if (route.kind === RouteKind.BROADCAST) return Stop.DIRECTED_BROADCAST;
  if (route.kind === RouteKind.LOCAL) return Stop.INVALID_STATE;
  if (areIsolated(router, frame.ingressInterface, route.interface)) return Stop.NETWORK_ISOLATED;
  frame.egressInterface = route.interface;
  const stop = limits(router, frame);
  if (stop !== Stop.CONTINUE) return stop;
  const verdict = passForward(router, frame, destination, destinationPort, isPublished);
  if (verdict !== Stop.CONTINUE) return verdict;
  const { neighbours } = router;
  const before = neighbours.generation;
  frame.neighbour = neighbours.obtain(route.interface, route.via === 0 ? destination : route.via, router.now);
  if (neighbours.generation !== before) router.raiseGeneration();
  return frame.neighbour < 0 ? Stop.NEIGHBOUR_TABLE_FULL : Stop.CONTINUE;
}

/** Two networks of which one is isolated have nothing to say to each other, published ports included. */
function areIsolated(router: Router, ingress: number, egress: number): boolean {
  if (ingress === egress) return false;
  const { interfaces } = router;
  const from = interfaces[ingress];
  const to = interfaces[egress];
  if (from === undefined || to === undefined || !from.isNetwork || !to.isNetwork) return false;
  return from.isIsolated || to.isIsolated;
}

/** Explicit rules first, then what is published, then the policy. */
function passForward(
  router: Router,
  frame: Frame,
  destination: number,
  destinationPort: number,
  isPublished: boolean,
): number {
  const key = router.filterKey;
  key.outInterface = frame.egressInterface;
  key.outPort = -1;
  key.destination = destination;
  const action = ask(router, router.forward, frame, destinationPort);
  if (action === Action.ACCEPT || (isPublished && frame.rule < 0)) return Stop.CONTINUE;
  return action === Action.REJECT ? Stop.FORWARD_REJECT : Stop.FORWARD_DROP;
}

function passInput(router: Router, frame: Frame): number {
  const key = router.filterKey;
  key.outInterface = -1;
  key.outPort = -1;
  key.destination = frame.destination;
  const action = ask(router, router.input, frame, frame.ports & 0xffff);
  if (action === Action.ACCEPT) return Stop.CONTINUE;
  return action === Action.REJECT ? Stop.INPUT_REJECT : Stop.INPUT_DROP;
}

/** Asks the bridge chain about a frame that is switched; CONTINUE, or why it stops. */
export function passBridge(router: Router, frame: Frame): number {
  const key = router.filterKey;
  key.outInterface = frame.egressInterface;
  key.outPort = frame.egressPort < 0 ? -1 : frame.egressPort;
  key.destination = frame.destination;
  const action = ask(router, router.bridge, frame, frame.ports & 0xffff);
  if (action === Action.ACCEPT) return Stop.CONTINUE;
  return action === Action.REJECT ? Stop.BRIDGE_REJECT : Stop.BRIDGE_DROP;
}

/** Of a frame that rules cannot speak of, the bridge chain's policy decides. */
export function passBridgePolicy(router: Router, frame: Frame): number {
  const { bridge } = router;
  bridge.count(-1, frame.length - ETHERNET_HEADER_BYTES);
  return bridge.actionOf(-1) === Action.ACCEPT ? Stop.CONTINUE : Stop.BRIDGE_DROP;
}

/** Fills what all chains have in common, asks, counts the rule, and notes it in the frame. */
function ask(router: Router, chain: CompiledChain, frame: Frame, destinationPort: number): number {
  const key = router.filterKey;
  const hasPorts = frame.protocol === Protocol.TCP || frame.protocol === Protocol.UDP;
  key.inInterface = frame.ingressInterface;
  key.inPort = frame.ingressPort;
  key.source = frame.source;
  key.protocol = frame.protocol;
  key.sourcePort = hasPorts ? frame.ports >>> 16 : -1;
  key.destinationPort = hasPorts ? destinationPort : -1;
  key.icmpType = frame.protocol === Protocol.ICMP ? (frame.ports >>> 8) & 0xff : -1;
  key.state = frame.state;
  const rule = chain.evaluate(key);
  chain.count(rule, frame.end - frame.ip);
  frame.rule = rule;
  frame.rejectWith = chain.rejectWithOf(rule);
  return chain.actionOf(rule);
}
