/** Opens the flow of a packet that has been admitted: an entry, its binding, both tuples. */
import { evict } from "../conntrack/early_drop.ts";
import { FLOW_SHIFT, FlowFlag, FlowWord } from "../conntrack/flow_layout.ts";
import type { FlowId } from "../conntrack/flow_table.ts";
import { invertPorts } from "../conntrack/tuple.ts";
import type { SourceChoice } from "../nat/rules.ts";
import { prepareTranslation } from "../nat/translate.ts";
import type { Frame } from "../packet/frame.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { Counter } from "./counters.ts";
import type { Router } from "./router.ts";
import { countPacket } from "./track.ts";

/** In the place of an entry: the port has its share of the table, or as many new flows as it may open now. */
const SHARE_TAKEN = -2 as FlowId;
const RATE_REACHED = -3 as FlowId;

/**
 * Makes the flow of an admitted packet, which goes on to `destination` with the destination port in `ports`, and with
 * a source of `choice` or its own.
 */
export function openFlow(
  router: Router,
  frame: Frame,
  destination: number,
  ports: number,
  choice: SourceChoice | undefined,
  flags: number,
): number {
  const { flows, sourceNat } = router;
  const flow = takeEntry(router, frame);
  if (flow < 0) return reasonOf(flow);
  const words = flows.words;
  const base = flow << FLOW_SHIFT;
  words[base + FlowWord.SOURCE] = frame.source;
  words[base + FlowWord.DESTINATION] = frame.destination;
  words[base + FlowWord.PORTS] = frame.ports;
  words[base + FlowWord.REPLY_SOURCE] = destination;
  words[base + FlowWord.STATUS] = frame.protocol | flags | FlowFlag.ADMITTED_NEW;
  words[base + FlowWord.CREATED] = router.now;
  words[base + FlowWord.MARK] = frame.connmark;
  words[base + FlowWord.GENERATION] = router.generation;
  words[base + FlowWord.ROUTE] = routeWord(frame);
  if (router.tracker.open(router.memory, frame, flow, router.now) !== Stop.CONTINUE) {
    flows.abandon(flow);
    return Stop.INVALID_STATE;
  }
  if (!sourceNat.bind(flow, frame.protocol, choice, ports, router.now)) {
    flows.abandon(flow);
    router.count(Counter.natExhausted);
    return Stop.NAT_PORTS_EXHAUSTED;
  }
  if (!router.countHost(flow)) {
    flows.abandon(flow);
    return Stop.HOST_LIMIT;
  }
  prepareTranslation(flows, flow);
  flows.insert(flow);
  sourceNat.remember(flow);
  router.count(Counter.flowsCreated);
  frame.reference = flow << 1;
  if (router.recorder !== undefined) router.recorder.opened(frame);
  countPacket(flows, frame, flow, 0);
  return Stop.CONTINUE;
}

/** Makes the flow of a frame that has been admitted to be switched: it leaves as it came. `ports` as in `portsWord`. */
export function openBridgedFlow(router: Router, frame: Frame, ports: number): number {
  const { flows } = router;
  const flow = takeEntry(router, frame);
  if (flow < 0) return reasonOf(flow);
  const words = flows.words;
  const base = flow << FLOW_SHIFT;
  words[base + FlowWord.SOURCE] = frame.source;
  words[base + FlowWord.DESTINATION] = frame.destination;
  words[base + FlowWord.PORTS] = frame.ports;
  words[base + FlowWord.REPLY_SOURCE] = frame.destination;
  words[base + FlowWord.REPLY_DESTINATION] = frame.source;
  words[base + FlowWord.REPLY_PORTS] = invertPorts(frame.protocol, frame.ports);
  words[base + FlowWord.STATUS] = frame.protocol | FlowFlag.BRIDGED | FlowFlag.ADMITTED_NEW;
  words[base + FlowWord.GENERATION] = router.generation;
  words[base + FlowWord.ROUTE] = ports;
  words[base + FlowWord.DIFFERENCE] = frame.path;
  if (router.tracker.open(router.memory, frame, flow, router.now) !== Stop.CONTINUE) {
    flows.abandon(flow);
    return Stop.INVALID_STATE;
  }
  flows.insert(flow);
  router.count(Counter.flowsCreated);
  frame.reference = flow << 1;
  if (router.recorder !== undefined) router.recorder.opened(frame);
  countPacket(flows, frame, flow, 0);
  return Stop.CONTINUE;
}

/**
 * An entry for another flow, or less than 0, and why. In a full table, as in Linux, a flow that is not assured gives way;
 * so it does, before the table is full, for a port that holds its share of it.
 */
function takeEntry(router: Router, frame: Frame): FlowId {
  const { flows, police } = router;
  const port = frame.ingressPort;
  if (police.isActive && !police.takesFlow(port, router.now)) return RATE_REACHED;
  const free = flows.capacity - flows.count;
  if (free === 0 || !flows.shares.mayTake(port, free)) {
    if (evict(flows, frame.hash, router.now, !router.isBcp, port)) {
      router.count(free === 0 ? Counter.flowsEvicted : Counter.flowsReplaced);
    } else if (free > 0) return SHARE_TAKEN;
  }
  const flow = flows.allocate();
  if (flow < 0) router.count(Counter.flowsTableFull);
  else flows.setPort(flow, port);
  return flow;
}

function reasonOf(entry: number): number {
  if (entry === RATE_REACHED) return Stop.FLOW_RATE;
  return entry === SHARE_TAKEN ? Stop.FLOW_SHARE : Stop.FLOW_TABLE_FULL;
}

/** The route of a frame as a flow remembers it. */
export function routeWord(frame: Frame): number {
  return (frame.path << 16) | frame.neighbour;
}
