/**
 * Asking the rules about a packet: fills the key, has the chain evaluated, counts what was met, and turns the target into
 * a reason to stop. What the packet has met is noted in the frame as its path, for the flow to remember.
 */
import { FLOW_SHIFT, FlowFlag, FlowWord } from "../conntrack/flow_layout.ts";
import type { CompiledChain } from "../filter/compiled_chain.ts";
import type { FilterKey } from "../filter/key.ts";
import { RuleState, StatusBit } from "../filter/rule_set.ts";
import type { DestinationChoice, SourceChoice } from "../nat/rules.ts";
import { ETHERNET_HEADER_BYTES } from "../packet/ethernet.ts";
import { type Frame, TCP_RESET } from "../packet/frame.ts";
import { isError } from "../packet/icmp.ts";
import { Protocol } from "../packet/ipv4.ts";
import { Stop } from "../packet/stop_reasons.ts";
import * as tcp from "../packet/tcp.ts";
import type { Router } from "./router.ts";

const { CONTINUE } = Stop;

/** What the chains have in common; the packet goes to `destination` and, where it has ports, `destinationPort`. */
function fill(router: Router, frame: Frame, destination: number, destinationPort: number): FilterKey {
  const key = router.filterKey;
  const { protocol } = frame;
  const hasPorts = protocol === Protocol.TCP || protocol === Protocol.UDP;
  key.inInterface = frame.ingressInterface;
  key.inPort = frame.ingressPort;
  key.outInterface = -1;
  key.outPort = -1;
  key.isBridged = false;
  key.source = frame.source;
  key.destination = destination;
  key.protocol = protocol;
  key.sourcePort = hasPorts ? frame.ports >>> 16 : -1;
  key.destinationPort = hasPorts ? destinationPort : -1;
  key.icmp = protocol === Protocol.ICMP ? frame.ports & 0xffff : -1;
  key.tcpFlags = protocol === Protocol.TCP ? tcp.flags(router.memory, frame.l4) : -1;
  key.frame = frame;
  key.memory = router.memory;
  key.now = router.now;
  key.mark = frame.mark;
  key.isDry = router.stage !== undefined;
  if (frame.reference >= 0) fillFlow(router, key, frame);
  else fillNew(key, frame, destination);
  return key;
}

function fillFlow(router: Router, key: FilterKey, frame: Frame): void {
  const { words } = router.flows;
  const base = (frame.reference >> 1) << FLOW_SHIFT;
  const status = words[base + FlowWord.STATUS];
  key.states = frame.state | natStates(status);
  key.status =
    StatusBit.CONFIRMED |
    ((status & FlowFlag.SEEN_REPLY) !== 0 ? StatusBit.SEEN_REPLY : 0) |
    ((status & FlowFlag.ASSURED) !== 0 ? StatusBit.ASSURED : 0);
  key.connmark = words[base + FlowWord.MARK];
  key.direction = frame.reference & 1;
  key.originalSource = words[base + FlowWord.SOURCE];
  key.originalDestination = words[base + FlowWord.DESTINATION];
  key.originalPorts = words[base + FlowWord.PORTS];
  key.replySource = words[base + FlowWord.REPLY_SOURCE];
  key.replyDestination = words[base + FlowWord.REPLY_DESTINATION];
}

/** Of a packet without a flow, the tuple is its own; PREROUTING may have changed the mark and the destination. */
function fillNew(key: FilterKey, frame: Frame, destination: number): void {
  key.states = frame.state | (destination === frame.destination ? 0 : RuleState.DNAT);
  key.status = 0;
  key.connmark = frame.connmark;
  key.direction = 0;
  key.originalSource = frame.source;
  key.originalDestination = frame.destination;
  key.originalPorts = frame.ports;
  key.replySource = destination;
  key.replyDestination = frame.source;
}

/** SNAT and DNAT, as `--ctstate` has them. */
export function natStates(status: number): number {
  return (
    ((status & FlowFlag.SOURCE_NAT) !== 0 ? RuleState.SNAT : 0) |
    ((status & FlowFlag.DESTINATION_NAT) !== 0 ? RuleState.DNAT : 0)
  );
}

/** FORWARD: explicit rules first, then what is published, then the policy. */
export function passForward(
  router: Router,
  frame: Frame,
  destination: number,
  destinationPort: number,
  isPublished: boolean,
): number {
  const key = fill(router, frame, destination, destinationPort);
  key.outInterface = frame.egressInterface;
  return decide(router, router.rules.forward, frame, isPublished, Stop.FORWARD_DROP, Stop.FORWARD_REJECT);
}

/** INPUT, of a packet for the router that goes to `destination` (one of its addresses). */
export function passInput(router: Router, frame: Frame, destination: number, destinationPort: number): number {
  fill(router, frame, destination, destinationPort);
  return decide(router, router.rules.input, frame, false, Stop.INPUT_DROP, Stop.INPUT_REJECT);
}

/** OUTPUT, of a packet that the router itself has made. */
export function passOutput(router: Router, frame: Frame): number {
  if (router.rules.output.isOpen) return CONTINUE;
  const { memory } = router;
  const { protocol, l4 } = frame;
  // Written, not parsed: what `parse` would have noted is read anew.
  frame.ports = protocol === Protocol.ICMP ? memory.getUint16(l4) : memory.getInt32(l4);
  frame.reference = -1;
  frame.mark = 0;
  frame.connmark = 0;
  frame.state = protocol === Protocol.ICMP && isError(frame.ports >> 8) ? RuleState.RELATED : RuleState.ESTABLISHED;
  const key = fill(router, frame, frame.destination, frame.ports & 0xffff);
  key.inInterface = -1;
  key.inPort = -1;
  key.outInterface = frame.egressInterface;
  return decide(router, router.rules.output, frame, false, Stop.OUTPUT_DROP, Stop.OUTPUT_DROP);
}

/** Asks the bridge chain about a frame that is switched; CONTINUE, or why it stops. */
export function passBridge(router: Router, frame: Frame): number {
  const key = fill(router, frame, frame.destination, frame.ports & 0xffff);
  key.outInterface = frame.egressInterface;
  key.outPort = frame.egressPort < 0 ? -1 : frame.egressPort;
  key.isBridged = true;
  return decide(router, router.rules.bridge, frame, false, Stop.BRIDGE_DROP, Stop.BRIDGE_REJECT);
}

/** Of a frame that rules cannot speak of, the bridge chain's policy decides. */
export function passBridgePolicy(router: Router, frame: Frame): number {
  const verdict = router.rules.takePolicy(router.rules.bridge);
  router.rules.count(frame.length - ETHERNET_HEADER_BYTES);
  frame.rule = router.rules.decided;
  if (router.recorder !== undefined) router.recorder.judged(router.rules.bridge, verdict.kind, false);
  return verdict.kind === "ACCEPT" ? CONTINUE : Stop.BRIDGE_DROP;
}

function decide(
  router: Router,
  chain: CompiledChain,
  frame: Frame,
  isPublished: boolean,
  drop: number,
  reject: number,
): number {
  const { rules, filterKey: key } = router;
  const target = rules.evaluate(chain, key);
  takeMarks(router, frame, key);
  const isOpened = isPublished && rules.isPolicy;
  if (isOpened) rules.forgetPolicy();
  rules.count(frame.end - frame.ip);
  frame.rule = rules.decided;
  frame.path = rules.path();
  if (router.recorder !== undefined) router.recorder.judged(chain, target.kind, isOpened);
  if (isOpened || target.kind === "ACCEPT") return CONTINUE;
  if (target.kind !== "REJECT") return drop;
  frame.rejectWith = target.answer === "tcp-reset" ? TCP_RESET : target.answer;
  return reject;
}

/** What MARK and CONNMARK have changed. */
function takeMarks(router: Router, frame: Frame, key: FilterKey): void {
  frame.mark = key.mark;
  if (frame.reference >= 0) router.flows.words[((frame.reference >> 1) << FLOW_SHIFT) + FlowWord.MARK] = key.connmark;
  else frame.connmark = key.connmark;
}

/** PREROUTING, of the first packet of a flow: what its destination becomes; undefined: it stays. Counts and marks. */
export function chooseDestination(router: Router, frame: Frame): DestinationChoice | undefined {
  const { rules, nat } = router;
  if (rules.prerouting.isEmpty) return undefined;
  const key = fill(router, frame, frame.destination, frame.ports & 0xffff);
  const choice = nat.destinationChoice(key);
  rules.count(frame.end - frame.ip);
  takeMarks(router, frame, key);
  if (router.recorder !== undefined) router.recorder.choseDestination(choice);
  return choice;
}

/** The mark that PREROUTING gives packets of the original direction; nothing is counted. */
export function markAgain(router: Router, frame: Frame): void {
  if (!router.nat.hasMarks) return;
  const key = fill(router, frame, frame.destination, frame.ports & 0xffff);
  key.isDry = true;
  router.nat.destinationChoice(key);
  frame.mark = key.mark;
}

/**
 * POSTROUTING, of the first packet of a flow that goes to `destination` out of `egress`: what its source may become.
 * Counts. No rule may ask where it came in: Linux has forgotten that there.
 */
export function chooseSource(
  router: Router,
  frame: Frame,
  destination: number,
  destinationPort: number,
  egress: number,
): SourceChoice | undefined {
  if (router.rules.postrouting.isEmpty) return undefined;
  const key = sourceKey(router, frame, destination, destinationPort, egress);
  const choice = router.nat.sourceChoice(key);
  router.rules.count(frame.end - frame.ip);
  takeMarks(router, frame, key);
  if (router.recorder !== undefined) router.recorder.choseSource(choice);
  return choice;
}

/** What POSTROUTING would give; nothing is counted or changed. */
export function wouldChooseSource(
  router: Router,
  frame: Frame,
  destination: number,
  destinationPort: number,
  egress: number,
): SourceChoice | undefined {
  if (router.rules.postrouting.isEmpty) return undefined;
  const key = sourceKey(router, frame, destination, destinationPort, egress);
  key.isDry = true;
  return router.nat.sourceChoice(key);
}

function sourceKey(
  router: Router,
  frame: Frame,
  destination: number,
  destinationPort: number,
  egress: number,
): FilterKey {
  const key = fill(router, frame, destination, destinationPort);
  key.inInterface = -1;
  key.inPort = -1;
  key.outInterface = egress;
  return key;
}

/**
 * What PREROUTING would do now with a flow that is open, told from its tuple: as a new packet that comes in where its
 * source is routed to. Rules that ask for more (a port, a hardware address) do not match.
 */
export function destinationOfFlow(router: Router, base: number): DestinationChoice | undefined {
  const { words } = router.flows;
  const key = router.filterKey;
  const protocol = words[base + FlowWord.STATUS] & 0xff;
  const ports = words[base + FlowWord.PORTS];
  const hasPorts = protocol === Protocol.TCP || protocol === Protocol.UDP;
  key.source = words[base + FlowWord.SOURCE];
  key.destination = words[base + FlowWord.DESTINATION];
  key.inInterface = router.routes.lookup(key.source)?.interface ?? -1;
  key.inPort = -1;
  key.outInterface = -1;
  key.outPort = -1;
  key.isBridged = false;
  key.protocol = protocol;
  key.sourcePort = hasPorts ? ports >>> 16 : -1;
  key.destinationPort = hasPorts ? ports & 0xffff : -1;
  key.icmp = protocol === Protocol.ICMP ? ports & 0xffff : -1;
  key.tcpFlags = protocol === Protocol.TCP ? tcp.TcpFlag.SYN : -1;
  key.states = RuleState.NEW;
  key.status = 0;
  key.direction = 0;
  key.originalSource = key.source;
  key.originalDestination = key.destination;
  key.originalPorts = ports;
  key.replySource = key.destination;
  key.replyDestination = key.source;
  key.mark = 0;
  key.connmark = words[base + FlowWord.MARK];
  key.frame = undefined;
  key.now = router.now;
  key.isDry = true;
  return router.nat.destinationChoice(key);
}
