/** Translate: the stage that picks the translation body for what the packet is. */
import { ANY_NAT, FLOW_SHIFT, FlowWord } from "../conntrack/flow_layout.ts";
import type { FlowId } from "../conntrack/flow_table.ts";
import { RuleState } from "../filter/rule_set.ts";
import { translateError } from "../nat/icmp_errors.ts";
import { translate } from "../nat/translate.ts";
import type { Frame } from "../packet/frame.ts";
import { Protocol } from "../packet/ipv4.ts";
import type { Router } from "./router.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { STATUS } = FlowWord;
const { RELATED } = RuleState;
const { ICMP } = Protocol;

export function translateFrame(router: Router, frame: Frame): void {
  if (frame.reference < 0) return;
  const flow = (frame.reference >> 1) as FlowId;
  if ((router.flows.words[(flow << FLOW_SHIFT) + STATUS] & ANY_NAT) === 0) return;
  const direction = frame.reference & 1;
  // Other RELATED packets than ICMP errors are translated like any of their flow.
  if (frame.state === RELATED && frame.protocol === ICMP)
    translateError(router.memory, router.flows, frame, flow, direction);
  else translate(router.memory, router.flows, frame, flow, direction);
}
