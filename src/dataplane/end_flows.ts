/** Ending flows at a change of the plan, and on demand: exactly those that it concerns. */
import { type FlowFilter, matchesFlow } from "../conntrack/filter.ts";
import { FLOW_SHIFT, FLOW_WORDS, FlowFlag, FlowWord, HeaderWord } from "../conntrack/flow_layout.ts";
import type { FlowId, FlowTable } from "../conntrack/flow_table.ts";
import { Protocol } from "../packet/ipv4.ts";
import { destinationOfFlow } from "./ask.ts";
import type { RemovedFlows } from "./messages.ts";
import type { Router } from "./router.ts";

/** Flows whose destination is an address of the router's own. */
const LOCAL_END = FlowFlag.LOCAL | FlowFlag.DESTINATION_NAT;

/** Ends the flows that `isConcerned` says yes to (it gets the first word of each and its STATUS); returns how many. */
export function endFlows(flows: FlowTable, isConcerned: (base: number, status: number) => boolean): number {
  let ended = 0;
  for (let flow = 0; flow < flows.header[HeaderWord.HIGH_WATER]; flow++) {
    const base = flow << FLOW_SHIFT;
    const status = flows.words[base + FlowWord.STATUS];
    if ((status & FlowFlag.CONFIRMED) === 0 || !isConcerned(base, status)) continue;
    flows.remove(flow as FlowId);
    ended++;
  }
  return ended;
}

/** Entries looked at, and flows ended, in one piece between two bursts. */
const SCANNED_AT_ONCE = 16_384;
const REMOVED_AT_ONCE = 256;

/**
 * Ends the live flows that `filter` asks for, from entry `from` on, a bounded piece at a time: the caller asks again
 * with `next`. Entries are matched and ended in one go, so it is never another flow that goes. What has expired is left
 * to the sweep.
 */
export function removeMatching(
  flows: FlowTable,
  filter: FlowFilter,
  from: number,
  now: number,
  isReported = true,
): RemovedFlows {
  const { words } = flows;
  const highWater = flows.header[HeaderWord.HIGH_WATER];
  const end = Math.min(highWater, from + SCANNED_AT_ONCE);
  const copies = new Int32Array(isReported ? REMOVED_AT_ONCE * FLOW_WORDS : 0);
  let removed = 0;
  let flow = from;
  for (; flow < end && removed < REMOVED_AT_ONCE; flow++) {
    const base = flow << FLOW_SHIFT;
    if (!flows.isLive(flow as FlowId, now) || !matchesFlow(filter, words, base)) continue;
    if (isReported) copies.set(words.subarray(base, base + FLOW_WORDS), removed * FLOW_WORDS);
    removed++;
    flows.remove(flow as FlowId);
  }
  const bytes = Buffer.from(copies.buffer, 0, isReported ? removed * FLOW_WORDS * 4 : 0);
  return { next: flow < highWater ? flow : -1, removed, now, flows: bytes.toString("base64") };
}

/** Ends the flows that live by an address that was the router's own: it took their source, or they end at it. */
export function endFlowsOf({ flows }: Router, address: number): void {
  const { words } = flows;
  endFlows(flows, (base, status) => {
    if ((status & FlowFlag.SOURCE_NAT) !== 0 && words[base + FlowWord.REPLY_DESTINATION] === address) return true;
    return (status & LOCAL_END) !== 0 && words[base + FlowWord.DESTINATION] === address;
  });
}

/** Ends the bridged flows of networks whose frames meet no rules any more. */
export function endBridgedWithoutFilter({ flows, interfaces }: Router): void {
  const { words } = flows;
  endFlows(flows, (base, status) => {
    return (status & FlowFlag.BRIDGED) !== 0 && interfaces[words[base + FlowWord.ROUTE] >>> 24]?.isFiltered !== true;
  });
}

/** Ends exactly the flows whose destination the rules would not translate any more, or otherwise, or only now. */
export function endRepublished(router: Router): void {
  endFlows(router.flows, (base, status) => isRepublished(router, base, status));
}

/** Whether the rules would not translate the destination of a flow any more, or otherwise, or only now. */
export function isRepublished(router: Router, base: number, status: number): boolean {
  const { words } = router.flows;
  if ((status & (FlowFlag.DESTINATION_MAPPED | FlowFlag.BRIDGED)) !== 0) return false;
  const choice = destinationOfFlow(router, base);
  if ((status & FlowFlag.DESTINATION_NAT) === 0) return choice !== undefined;
  if (choice === undefined || choice.isPublished !== ((status & FlowFlag.PUBLISHED) !== 0)) return true;
  const protocol = status & 0xff;
  const hasPorts = protocol === Protocol.TCP || protocol === Protocol.UDP;
  const port = hasPorts ? words[base + FlowWord.PORTS] & 0xffff : 0;
  const toPort = hasPorts ? words[base + FlowWord.REPLY_PORTS] >>> 16 : 0;
  return !choice.allows(words[base + FlowWord.DESTINATION], port, words[base + FlowWord.REPLY_SOURCE], toPort);
}
