/**
 * The flows of another dataplane, which has ended: taken over with their addresses and ports, under the plan of this
 * router. The books that NAT keeps by flows are made anew from them. Every flow is routed and judged again by its next packet,
 * as after any change of rules and routes: it keeps its binding where the plan still allows that.
 */
import { type Adoption, adoptEntries, adoptNothing, formerHeader } from "../conntrack/adopt.ts";
import { FLOW_SHIFT, FlowFlag, FlowWord, HeaderWord } from "../conntrack/flow_layout.ts";
import type { FlowId } from "../conntrack/flow_table.ts";
import { prepareTranslation } from "../nat/translate.ts";
import { Counter } from "./counters.ts";
import { endBridgedWithoutFilter, endRepublished } from "./end_flows.ts";
import type { Router } from "./router.ts";

const { BRIDGED, DESTINATION_MAPPED, HOST_COUNTED, SOURCE_INDEXED, SOURCE_MAPPED, SOURCE_NAT } = FlowFlag;

/** Takes what is in the memory of a router that was made with `adopts`, before it gets frames. */
export function adoptFlows(router: Router): Adoption {
  const { counters, flows, now, sourceNat } = router;
  const former = formerHeader(flows);
  const { [HeaderWord.PROFILE]: profile, [HeaderWord.DESTINATIONS]: destinations } = former;
  sourceNat.exhausted = counters.values[Counter.natExhausted];
  // What holds of a mapping differs between the profiles: no flow of one lives on in the other.
  if (profile !== flows.header[HeaderWord.PROFILE]) {
    return adoptNothing(flows, "its flows are those of the other profile of NAT");
  }
  const hops = hopsOf(router);
  const adoption = adoptEntries(flows, now, (flow, status) => claim(router, flow, status, hops));
  counters.values[Counter.flowsAdopted] += adoption.kept;
  counters.values[Counter.flowsTorn] += adoption.torn;
  endBridgedWithoutFilter(router);
  if (destinations !== flows.header[HeaderWord.DESTINATIONS]) endRepublished(router);
  return adoption;
}

/** Notes a flow in the books of NAT; false where they have no place for it. `status` is as it was left. */
function claim(router: Router, flow: FlowId, status: number, hops: ReadonlyMap<number, number>): boolean {
  const { flows, hostFlows, sourceNat } = router;
  if ((status & BRIDGED) !== 0) return true;
  const base = flow << FLOW_SHIFT;
  if (!sourceNat.fits(base)) return false;
  prepareTranslation(flows, flow);
  if ((status & (SOURCE_INDEXED | SOURCE_MAPPED | DESTINATION_MAPPED)) !== 0) sourceNat.remember(flow);
  const { words } = flows;
  const isCounted = (status & HOST_COUNTED) !== 0 && (status & SOURCE_NAT) !== 0;
  if (isCounted && hostFlows.add(words[base + FlowWord.SOURCE], Number.MAX_SAFE_INTEGER)) {
    words[base + FlowWord.STATUS] |= HOST_COUNTED;
  }
  // It leaves as it has left, where several next hops would do.
  const hop = (status & SOURCE_NAT) === 0 ? undefined : hops.get(words[base + FlowWord.REPLY_DESTINATION]);
  if (hop !== undefined) words[base + FlowWord.ROUTE] = hop;
  return true;
}

/** For the addresses of each interface, a next hop there that shares flows with others. */
function hopsOf({ interfaces, neighbours, now, routes }: Router): Map<number, number> {
  const hops = new Map<number, number>();
  if (!routes.hasSharedHops) return hops;
  for (const { interface: index, via } of routes.sharedHops()) {
    const neighbour = via === 0 ? -1 : neighbours.obtain(index, via, now);
    if (neighbour < 0) continue;
    for (const { address } of interfaces[index]?.addresses ?? []) hops.set(address, neighbour);
  }
  return hops;
}
