/** What is said of a captured frame beside its bytes: how its walk ended, the rule that decided, and its flow. */
import { FLOW_SHIFT, FlowFlag, FlowWord } from "../conntrack/flow_layout.ts";
import type { CompiledChain } from "../filter/compiled_chain.ts";
import type { Frame } from "../packet/frame.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { RECORDED_FLOW_WORDS, RecordWord } from "./capture_ring.ts";
import type { Router } from "./router.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { BRIDGE_DROP, BRIDGE_REJECT, FORWARD_DROP, FORWARD_REJECT, INPUT_DROP, INPUT_REJECT, OUTPUT_DROP } = Stop;

/** Adds to a record what became of the frame, which rule decided, and its flow. */
export function describe(router: Router, words: Int32Array, at: number, frame: Frame, stop: number): void {
  words[at + RecordWord.STOP] = stop;
  if (frame.own !== 0) {
    words[at + RecordWord.OWN] = 1;
    return;
  }
  words[at + RecordWord.RULE] = ruleOf(router, frame, stop);
  const { reference } = frame;
  if (reference < 0) return;
  const base = (reference >> 1) << FLOW_SHIFT;
  const flows = router.flows.words;
  if ((flows[base + FlowWord.STATUS] & FlowFlag.CONFIRMED) === 0) return;
  words[at + RecordWord.DIRECTION] = reference & 1;
  for (let i = 0; i < RECORDED_FLOW_WORDS; i++) words[at + RecordWord.FLOW + i] = flows[base + i];
}

/** The rule or policy that has decided about the frame, or about its flow when that was admitted; -1: none. */
function ruleOf(router: Router, frame: Frame, stop: number): number {
  if (frame.rule >= 0) return frame.rule;
  const chain = chainOf(router, stop);
  if (chain !== undefined) return chain.firstRule + chain.size;
  if (frame.reference < 0) return -1;
  const base = (frame.reference >> 1) << FLOW_SHIFT;
  const { words } = router.flows;
  // Bridged flows keep their path elsewhere, and their frames no reference.
  return router.rules.paths.last(words[base + FlowWord.ROUTE + (frame.reference & 1)] >>> 16);
}

/** The chain whose policy has stopped a frame that no rule did. */
function chainOf(router: Router, stop: number): CompiledChain | undefined {
  switch (stop) {
    case FORWARD_DROP:
    case FORWARD_REJECT:
      return router.rules.forward;
    case INPUT_DROP:
    case INPUT_REJECT:
      return router.rules.input;
    case OUTPUT_DROP:
      return router.rules.output;
    case BRIDGE_DROP:
    case BRIDGE_REJECT:
      return router.rules.bridge;
    default:
      return undefined;
  }
}
