/** What the dataplane tells of its tables: rows ready to be sent to the control process. Cold path, may allocate. */
import { PortCounter } from "../io/native.ts";
import { Frame } from "../packet/frame.ts";
import { formatAddress } from "../packet/ipv4_address.ts";
import { formatMac } from "../packet/mac_address.ts";
import { STOP_REASONS } from "../packet/stop_reasons.ts";
import { NeighbourState } from "../routing/neighbours.ts";
import { checkInvariants } from "./invariants.ts";
import type {
  DropRow,
  FdbRow,
  FoundRoute,
  LastDrop,
  NeighbourRow,
  PortRow,
  RouteQuestion,
  RulesResult,
  ShowTable,
  StatsResult,
} from "./messages.ts";
import type { Router } from "./router.ts";
import { stageOf } from "./stop_stages.ts";

export function show(router: Router, table: ShowTable, portCounters: Float64Array): unknown {
  switch (table) {
    case "fdb":
      return showFdb(router);
    case "neighbours":
      return showNeighbours(router);
    case "rules":
      return router.rules.counted() satisfies RulesResult;
    case "stats":
      return showStats(router);
    case "drops":
      return showDrops(router);
    case "ports":
      return showPorts(router, portCounters);
    case "invariants":
      return checkInvariants(router);
    case "impairments":
      return router.impairments.rows();
  }
}

function showFdb(router: Router): FdbRow[] {
  return router.macs.entries(router.now);
}

export const NEIGHBOUR_STATES: Readonly<Record<number, NeighbourRow["state"]>> = {
  [NeighbourState.INCOMPLETE]: "incomplete",
  [NeighbourState.REACHABLE]: "reachable",
  [NeighbourState.STALE]: "stale",
  [NeighbourState.PROBE]: "probe",
  [NeighbourState.FAILED]: "failed",
  [NeighbourState.PERMANENT]: "permanent",
};

function showNeighbours(router: Router): NeighbourRow[] {
  const { neighbours } = router;
  return neighbours.indexes().map((index) => ({
    interface: neighbours.interfaceOf[index],
    address: formatAddress(neighbours.address[index]),
    mac: neighbours.isUsable(index) ? formatMac(neighbours.macHigh[index], neighbours.macLow[index]) : null,
    state: NEIGHBOUR_STATES[neighbours.state[index]],
    parked: neighbours.parkedCount[index],
  }));
}

function showStats(router: Router): StatsResult {
  return {
    counters: {
      ...router.counters.named(),
      flows: router.flows.count,
      flowLimit: router.flows.capacity,
      natExhausted: router.sourceNat.exhausted,
      natPortsTakenOver: router.sourceNat.takenOver,
      stations: router.macs.size,
      neighbours: router.neighbours.size,
      routes: router.routes.size,
      framesParked: router.neighbours.parkedTotal,
      framesImpaired: router.impairments.held,
      slotsHeld: router.arena.heldSlots(),
      slotLimit: router.arena.slotCount,
      rulePathsLost: router.rules.paths.overflows,
      generation: router.generation,
    },
  };
}

function showDrops(router: Router): DropRow[] {
  return STOP_REASONS.map((reason, index) => ({
    reason: reason.name,
    text: reason.text,
    outcome: reason.outcome,
    count: router.counters.stops[index],
    stage: stageOf(index),
    ...lastOf(router, index),
  })).slice(1);
}

function lastOf(router: Router, stop: number): { last?: LastDrop } {
  const last = router.lastDrops.of(router, stop);
  return last === undefined ? {} : { last };
}

function showPorts(router: Router, counters: Float64Array): PortRow[] {
  const rows: PortRow[] = [];
  for (const plan of router.ports.plans) {
    if (plan === undefined) continue;
    const at = plan.index * PortCounter.COUNT;
    rows.push({
      port: plan.index,
      rxFrames: counters[at + PortCounter.RX_FRAMES],
      rxBytes: counters[at + PortCounter.RX_BYTES],
      txFrames: counters[at + PortCounter.TX_FRAMES],
      txBytes: counters[at + PortCounter.TX_BYTES],
      txFull: counters[at + PortCounter.TX_FULL],
      txErrors: counters[at + PortCounter.TX_ERRORS],
      rxErrors: counters[at + PortCounter.RX_ERRORS],
      rxLimited: router.police.framesDropped[plan.index],
      flowsLimited: router.police.flowsDropped[plan.index],
    });
  }
  return rows;
}

/** Which way a packet would take, were it to open a flow now. */
export function findRoute({ routes, flows }: Router, question: RouteQuestion): FoundRoute {
  const { source, destination, mark } = question;
  const frame = new Frame(0, 0);
  frame.source = source;
  frame.mark = mark;
  frame.ingressInterface = question.interface;
  frame.ingressPort = question.port;
  frame.hash = flows.hash(source, destination, 0, 0);
  const route = question.interface < 0 ? routes.findOwn(source, destination) : routes.find(frame, destination);
  const rule = routes.ruleOf(source, destination, mark, question.interface, question.port);
  return {
    kind: route?.kind ?? -1,
    interface: route?.interface ?? -1,
    via: route?.via ?? 0,
    table: rule !== undefined && "table" in rule.action ? rule.action.table : 0,
  };
}
