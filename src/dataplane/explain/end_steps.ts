/** The last steps of a walk, told from what the stages have left in the frame: limits, next hop, egress, or the stop. */
import { FLOW_SHIFT, FlowFlag, FlowWord } from "../../conntrack/flow_layout.ts";
import { EtherType } from "../../packet/ethernet.ts";
import { type Frame, TCP_RESET } from "../../packet/frame.ts";
import { isError } from "../../packet/icmp.ts";
import { destinationAddress, Protocol, sourceAddress, timeToLive } from "../../packet/ipv4.ts";
import { formatAddress } from "../../packet/ipv4_address.ts";
import { formatMac } from "../../packet/mac_address.ts";
import { printFrame } from "../../packet/print.ts";
import { STOP_REASONS, Stop } from "../../packet/stop_reasons.ts";
import { FLOOD } from "../next_hop.ts";
import type { Router } from "../router.ts";
import { describePorts, egressPorts } from "./bridge_steps.ts";
import type { Draft } from "./draft.ts";
import { flowState, hasPorts, interfaceName, neighbourState, tupleText } from "./texts.ts";

/** Stops that come behind the neighbour stage. */
const BEHIND_NEIGHBOUR: readonly number[] = [
  Stop.ROUTED,
  Stop.PARKED,
  Stop.NEIGHBOUR_UNREACHABLE,
  Stop.NEIGHBOUR_QUEUE_FULL,
];

export function endSteps(router: Router, frame: Frame, stop: number, draft: Draft): void {
  settleConntrack(router, draft);
  const isRouted = BEHIND_NEIGHBOUR.includes(stop);
  if (isRouted && draft.found >= 0 && !draft.isReadmitted && !draft.isOpened) rememberedStep(draft);
  if (isRouted && !draft.isLimited) limitsStep(router, frame, draft, Stop.CONTINUE);
  if (!draft.isLimited && (stop === Stop.TTL_EXCEEDED || stop === Stop.MTU_EXCEEDED))
    limitsStep(router, frame, draft, stop);
  if (isRouted) neighbourStep(router, frame, stop, draft);
  if (stop === Stop.ROUTED || stop === Stop.SWITCHED || stop === Stop.FLOODED || frame.flood !== 0) {
    egressStep(router, frame, stop, draft);
  }
  if (stop > Stop.FRAGMENT_HELD) stopStep(frame, stop, draft);
}

/** What the packet has changed in its flow. */
function settleConntrack(router: Router, draft: Draft): void {
  const { conntrack, found } = draft;
  if (conntrack === undefined || found < 0 || draft.isOpened) return;
  const { words } = router.flows;
  const base = (found >> 1) << FLOW_SHIFT;
  const status = words[base + FlowWord.STATUS];
  if ((status & FlowFlag.CONFIRMED) === 0) {
    conntrack.text += "; the flow is over";
    return;
  }
  const before = flowState(draft.statusBefore);
  const after = flowState(status);
  if (before !== after) conntrack.text += `, now ${after}`;
}

/** A packet of a flow that has been admitted meets no rules: it counts in those that let the first one pass. */
function rememberedStep(draft: Draft): void {
  draft.add("flow", "admitted before: no rule is asked again");
}

export function limitsStep(router: Router, frame: Frame, draft: Draft, stop: number): void {
  draft.isLimited = true;
  // In the packet itself it may be one less already.
  const ttl = draft.ttl < 0 ? timeToLive(router.memory, frame.ip) : draft.ttl;
  if (stop === Stop.TTL_EXCEEDED) {
    draft.add("limits", `ttl ${ttl}: it has no hop left`);
    return;
  }
  const bytes = frame.gsoSize === 0 ? `${frame.end - frame.ip} bytes` : `segments of ${frame.gsoSize} bytes`;
  const mtu = router.interfaces[frame.egressInterface]?.mtu ?? 0;
  const where = `the MTU ${mtu} of ${interfaceName(router, frame.egressInterface)}`;
  if (stop === Stop.MTU_EXCEEDED) draft.add("limits", `${bytes} exceed ${where}, and it must not be fragmented`);
  else if (frame.fragmentTo !== 0)
    draft.add("limits", `ttl ${ttl}; ${bytes}: leaves in pieces of at most ${frame.fragmentTo}`);
  else draft.add("limits", `ttl ${ttl}; ${bytes} fit ${where}`);
}

function neighbourStep(router: Router, frame: Frame, stop: number, draft: Draft): void {
  const { neighbours } = router;
  const { neighbour } = frame;
  if (neighbour < 0) return;
  const address = formatAddress(neighbours.address[neighbour]);
  const state = neighbourState(neighbours.state[neighbour]);
  if (stop === Stop.PARKED) {
    const waiting = neighbours.parkedCount[neighbour];
    draft.add("neighbour", `${address} has not answered ARP yet (${state}): the packet waits, ${waiting} in all`);
  } else if (stop === Stop.ROUTED) {
    const mac = formatMac(neighbours.macHigh[neighbour], neighbours.macLow[neighbour]);
    draft.add("neighbour", `${address} is at ${mac} (${state})`);
  } else {
    draft.add("neighbour", `${address} is ${state}`);
  }
}

function egressStep(router: Router, frame: Frame, stop: number, draft: Draft): void {
  draft.egress = egressPorts(router, frame, stop !== Stop.ROUTED);
  const { memory, arena } = router;
  if (frame.etherType === EtherType.ARP && frame.flood !== 0 && stop === Stop.LOCAL) return;
  const isFlooded = frame.egressPort === FLOOD;
  const text = `${isFlooded ? "every port: " : ""}${describePorts(router, frame, draft.egress)}`;
  draft.frameAfter = printFrame(memory, frame.at, arena.slotLength[frame.slot]);
  draft.add("egress", text);
  if (stop === Stop.ROUTED) noteEnds(router, frame, draft);
}

/** What the packet is called on its way out: its bytes are translated, the frame's fields are what it came with. */
function noteEnds({ memory }: Router, { ip, l4, protocol, source, destination, ports }: Frame, draft: Draft): void {
  const [from, to] = [sourceAddress(memory, ip), destinationAddress(memory, ip)];
  let after = ports;
  if (hasPorts(protocol)) after = memory.getInt32(l4);
  else if (protocol === Protocol.ICMP && !isError(memory.getUint8(l4)))
    after = (memory.getUint16(l4 + 4) << 16) | (ports & 0xffff);
  const isSource = from !== source || after >>> 16 !== ports >>> 16;
  const isDestination = to !== destination || (after & 0xffff) !== (ports & 0xffff);
  const changed = [...(isSource ? ["source"] : []), ...(isDestination ? ["destination"] : [])];
  const what = changed.length === 0 ? "as it came" : `as ${tupleText(protocol, from, to, after)}`;
  draft.leaves = changed.length === 0 ? what : `${what} (${changed.join(" and ")} translated)`;
}

function stopStep(frame: Frame, stop: number, draft: Draft): void {
  const { name, text, icmp } = STOP_REASONS[stop];
  let answer = "";
  if (draft.answers.length > 0) answer = "; the sender is told";
  else if (draft.silence !== undefined) answer = `; nobody is told: ${draft.silence}`;
  else if (icmp === undefined && !name.endsWith("-reject")) answer = "; nobody is told";
  const reset = name.endsWith("-reject") && frame.rejectWith === TCP_RESET ? " with a reset" : "";
  draft.add("stop", `${name}: ${text}${reset}${answer}`);
}
