/**
 * Flows that another router has left, taken into the table of this one: each keeps its tuples, and with them its
 * translated port, its TCP state and its counters. Nothing of how it was routed or judged is believed: its next packet
 * is routed and judged anew (`readmit`), and one that the rules in force refuse is not taken at all, as far as its
 * tuples tell (`rejudge.ts`). Whatever is kept beside the flows (index, mappings, flows of a host) is made anew.
 *
 * Meant for the time before the first port is there: a whole table is taken in one go.
 */
import { isWhole } from "../conntrack/flow_check.ts";
import { ANY_ADMITTED, FLOW_SHIFT, FLOW_WORDS, FlowFlag, FlowWord } from "../conntrack/flow_layout.ts";
import type { FlowId } from "../conntrack/flow_table.ts";
import { prepareTranslation } from "../nat/translate.ts";
import { Counter } from "./counters.ts";
import { isRepublished } from "./end_flows.ts";
import type { Restored } from "./messages.ts";
import type { Router } from "./router.ts";

/** Flags that belong to the books of the table that a flow was in. */
const OF_FORMER_TABLE = ANY_ADMITTED | FlowFlag.CONFIRMED | FlowFlag.SOURCE_INDEXED | FlowFlag.HOST_COUNTED;

type Outcome = keyof Restored;

/** Takes the flows in `words`, whose deadlines are told by this router's clock; says how many, and why others not. */
export function restoreFlows(router: Router, words: Int32Array): Restored {
  const count = words.length >> FLOW_SHIFT;
  const outcomes: Restored = { restored: 0, expired: 0, unsound: 0, forbidden: 0, taken: 0, noRoom: 0 };
  for (let flow = 0; flow < count; flow++) outcomes[restoreFlow(router, words, flow << FLOW_SHIFT)]++;
  router.counters.values[Counter.flowsRestored] += outcomes.restored;
  router.counters.values[Counter.flowsNotRestored] += count - outcomes.restored;
  return outcomes;
}

function restoreFlow(router: Router, from: Int32Array, at: number): Outcome {
  const { flows, sourceNat } = router;
  if (((from[at + FlowWord.DEADLINE] - router.now) | 0) <= 0) return "expired";
  if (!isWhole(from, at, router.now)) return "unsound";
  const flow = flows.allocate();
  if (flow < 0) return "noRoom";
  const base = flow << FLOW_SHIFT;
  const { words } = flows;
  for (let word = 0; word < FLOW_WORDS; word++) words[base + word] = from[at + word];
  words[base + FlowWord.STATUS] &= ~OF_FORMER_TABLE;
  words[base + FlowWord.GENERATION] = router.generation;
  const outcome = judge(router, flow, base);
  if (outcome !== "restored") {
    flows.abandon(flow);
    return outcome;
  }
  flows.insert(flow);
  sourceNat.remember(flow);
  return outcome;
}

function judge(router: Router, flow: FlowId, base: number): Outcome {
  const { flows, sourceNat, rejudge } = router;
  const status = flows.words[base + FlowWord.STATUS];
  if (isTaken(router, base) || !sourceNat.fits(base)) return "taken";
  if ((status & FlowFlag.BRIDGED) !== 0) {
    if (router.interfaces[flows.words[base + FlowWord.ROUTE] >>> 24]?.isFiltered !== true) return "forbidden";
  } else {
    if (isRepublished(router, base, status)) return "forbidden";
    flows.words[base + FlowWord.ROUTE] = 0;
    flows.words[base + FlowWord.REPLY_ROUTE] = 0;
    prepareTranslation(flows, flow);
  }
  if (rejudge.isForbiddenNow(base)) return "forbidden";
  return router.countHost(flow) ? "restored" : "noRoom";
}

/** Whether another flow has one of its tuples: files are not of one moment, and an end may have been given anew. */
function isTaken({ flows, now }: Router, base: number): boolean {
  const { words } = flows;
  const protocol = words[base + FlowWord.STATUS] & (0xff | FlowFlag.BRIDGED);
  for (const tuple of [base + FlowWord.SOURCE, base + FlowWord.REPLY_SOURCE]) {
    const hash = flows.hashOf(base, tuple === base ? 0 : 1);
    if (flows.lookup(hash, words[tuple], words[tuple + 1], words[tuple + 2], protocol, now) >= 0) return true;
  }
  return false;
}
