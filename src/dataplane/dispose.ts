/**
 * Dispose: the one place that ends a frame's walk: counts it, hands it to its ports, answers its sender, and gives
 * back its slot. Stages only decide.
 */
import type { FlowId } from "../conntrack/flow_table.ts";
import { RuleState } from "../filter/rule_set.ts";
import { findQuotedFlow } from "../nat/icmp_errors.ts";
import { EtherType } from "../packet/ethernet.ts";
import { type Frame, Own } from "../packet/frame.ts";
import { Protocol } from "../packet/ipv4.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { stopOf } from "./admit.ts";
import { passOutput } from "./ask.ts";
import type { Captures } from "./capture.ts";
import { Counter } from "./counters.ts";
import { sendFragments } from "./fragmentation.ts";
import type { Interface } from "./interfaces.ts";
import { chooseEgress, FLOOD, resolveNextHop } from "./next_hop.ts";
import { leave } from "./pipeline.ts";
import { refuse } from "./refuse.ts";
import type { Router } from "./router.ts";
import { RouteKind } from "./routes.ts";
import { stamp } from "./stamp.ts";
import { findFlow } from "./track.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const {
  CONTINUE,
  FLOODED,
  FRAGMENT_HELD,
  INVALID_STATE,
  MARTIAN_DESTINATION,
  NEIGHBOUR_TABLE_FULL,
  NEIGHBOUR_UNREACHABLE,
  NO_ROUTE,
  PARKED,
  ROUTED,
  SWITCHED,
} = Stop;
const { ARP } = EtherType;
const { ADDRESSED } = Own;
const { RELATED } = RuleState;
const { ICMP } = Protocol;
const { UNICAST } = RouteKind;

/** Ends the walk of a frame with the reason why it stopped. */
export function dispose(router: Router, frame: Frame, stop: number): void {
  if (router.captures !== undefined) captureEnd(router.captures, router, frame, stop);
  if (stop === ROUTED) {
    count(router, frame, stop);
    sendRouted(router, frame);
  } else if (stop === SWITCHED) {
    count(router, frame, stop);
    sendSwitched(router, frame);
  } else if (frame.flood !== 0 || stop === FLOODED) {
    // A group frame of a network goes to its other ports, whatever the router made of its own copy.
    count(router, frame, FLOODED);
    frame.egressInterface = frame.ingressInterface;
    frame.egressPort = FLOOD;
    sendSwitched(router, frame);
  } else if (stop === PARKED) {
    count(router, frame, stop);
  } else {
    count(router, frame, stop);
    if (stop > FRAGMENT_HELD) {
      if (frame.own === 0) router.lastDrops.note(router, frame, stop);
      refuse(router, frame, stop);
    }
    router.arena.release(frame.slot);
  }
}

/** A group frame of a network is flooded, whatever the router made of its own copy. */
function captureEnd(captures: Captures, router: Router, frame: Frame, stop: number): void {
  captures.end(router, frame, frame.flood !== 0 && stop !== ROUTED && stop !== SWITCHED ? FLOODED : stop);
}

/** Stops are those of received frames; a frame of the router's own counts only when it is lost. */
function count(router: Router, frame: Frame, stop: number): void {
  if (frame.own === 0) router.counters.stops[stop]++;
  else if (stop > FRAGMENT_HELD) router.count(Counter.ownFramesDropped);
}

function send(router: Router, frame: Frame, isSwitched: boolean): void {
  if (frame.egressPort === FLOOD) flood(router, frame, frame.egressInterface, isSwitched ? frame.ingressPort : -1);
  else router.transmit(frame.slot, frame.egressPort);
}

function sendPiece(router: Router, piece: Frame): void {
  send(router, piece, false);
}

function sendSwitchedPiece(router: Router, piece: Frame): void {
  send(router, piece, true);
}

/** What came in fragments and was judged whole leaves in fragments no larger. */
function sendSwitched(router: Router, frame: Frame): void {
  const largest = frame.largestFragment;
  if (largest === 0 || frame.end - frame.ip <= largest) {
    send(router, frame, true);
    return;
  }
  frame.fragmentTo = largest;
  sendFragments(router, frame, sendSwitchedPiece);
  router.arena.release(frame.slot);
}

function sendRouted(router: Router, frame: Frame): void {
  if (frame.fragmentTo === 0) {
    send(router, frame, false);
  } else {
    sendFragments(router, frame, sendPiece);
    router.arena.release(frame.slot);
  }
}

/** One slot to every port of an interface but one, and those isolated from it; each port holds a reference. */
function flood(router: Router, frame: Frame, interfaceIndex: number, exceptPort: number): void {
  const { arena } = router;
  const ports = (router.interfaces[interfaceIndex] as Interface).ports;
  for (let i = 0; i < ports.length; i++) {
    if (ports[i] === exceptPort || (exceptPort >= 0 && router.ports.areIsolated(exceptPort, ports[i]))) continue;
    arena.retain(frame.slot);
    router.transmit(frame.slot, ports[i]);
  }
  arena.release(frame.slot);
}

/** Sends the frames that the router itself has made; some of them may be parked, or dropped and counted. */
export function sendOwnFrames(router: Router): void {
  for (let i = 0; i < router.outboxCount; i++) {
    const frame = router.frames[router.outbox[i]];
    if (frame.etherType === ARP || frame.own === ADDRESSED) send(router, frame, true);
    else dispose(router, frame, routeOwn(router, frame));
  }
  router.outboxCount = 0;
}

function routeOwn(router: Router, frame: Frame): number {
  const route = router.routes.findOwn(frame.source, frame.destination);
  if (route === undefined) return NO_ROUTE;
  if (route.kind !== UNICAST) return route.interface < 0 ? stopOf(route.kind) : MARTIAN_DESTINATION;
  const { neighbours } = router;
  const before = neighbours.generation;
  frame.egressInterface = route.interface;
  const verdict = passOutput(router, frame);
  if (verdict !== CONTINUE) return verdict;
  frame.neighbour = neighbours.obtain(route.interface, route.via === 0 ? frame.destination : route.via, router.now);
  if (neighbours.generation !== before) router.raiseGeneration();
  if (frame.neighbour < 0) return NEIGHBOUR_TABLE_FULL;
  const { mtu } = router.interfaces[route.interface] as Interface;
  frame.fragmentTo = frame.end - frame.ip > mtu ? mtu : 0;
  let stop = resolveNextHop(router, frame);
  if (stop !== CONTINUE) return stop;
  stop = chooseEgress(router, frame);
  if (stop !== CONTINUE) return stop;
  stamp(router, frame);
  return ROUTED;
}

/** The neighbour has answered: the frames that waited for it go on from where they stopped. */
export function resumeParked(router: Router, neighbour: number): void {
  const { neighbours } = router;
  if (router.stage !== undefined) {
    // Other packets are not part of a rehearsal.
    router.recorder?.waitersWouldGoOn(neighbours.parkedCount[neighbour]);
    return;
  }
  for (let slot = neighbours.takeParked(neighbour); slot >= 0; slot = neighbours.takeParked(neighbour)) {
    const frame = router.frames[slot];
    dispose(router, frame, isFlowLost(router, frame) ? INVALID_STATE : leave(router, frame));
  }
}

/** While a frame waited its flow may have ended, and its index may name another. */
function isFlowLost(router: Router, frame: Frame): boolean {
  if (frame.reference < 0) return false;
  const before = frame.reference;
  if (frame.state === RELATED && frame.protocol === ICMP) {
    frame.reference = findQuotedFlow(router.memory, router.flows, frame, router.now);
  } else {
    findFlow(router, frame);
  }
  return frame.reference !== before || !router.flows.isLive((before >> 1) as FlowId, router.now);
}

/** The neighbour does not answer: its frames are refused. */
export function refuseParked(router: Router, neighbour: number): void {
  const { neighbours } = router;
  for (let slot = neighbours.takeParked(neighbour); slot >= 0; slot = neighbours.takeParked(neighbour)) {
    dispose(router, router.frames[slot], NEIGHBOUR_UNREACHABLE);
  }
}
