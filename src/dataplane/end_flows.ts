/** Ending flows at a change of the plan, and on demand: exactly those that it concerns. */
import { FLOW_SHIFT, FlowFlag, FlowWord, HeaderWord } from "../conntrack/flow_layout.ts";
import type { FlowId, FlowTable } from "../conntrack/flow_table.ts";
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

/** Ends the flows that live by an address that was the router's own: it took their source, or they end at it. */
export function endFlowsOf({ flows }: Router, address: number): void {
  const { words } = flows;
  endFlows(flows, (base, status) => {
    if ((status & FlowFlag.SOURCE_NAT) !== 0 && words[base + FlowWord.REPLY_DESTINATION] === address) return true;
    return (status & LOCAL_END) !== 0 && words[base + FlowWord.DESTINATION] === address;
  });
}

/** Ends exactly the flows to ports that are published no more, or elsewhere, or only now. */
export function endRepublished({ flows, nat }: Router): void {
  const { words } = flows;
  endFlows(flows, (base, status) => {
    if ((status & FlowFlag.DESTINATION_MAPPED) !== 0) return false;
    const port = words[base + FlowWord.PORTS] & 0xffff;
    const published = nat.publishedAt(status & 0xff, words[base + FlowWord.DESTINATION], port);
    if ((status & FlowFlag.DESTINATION_NAT) === 0) return published !== undefined;
    if (published === undefined || published.to !== words[base + FlowWord.REPLY_SOURCE]) return true;
    return published.portFor(port) !== words[base + FlowWord.REPLY_PORTS] >>> 16;
  });
}
