/**
 * ICMP errors: RELATED to the flow that they quote, and translated with it, or unrelated. They neither refresh nor
 * end the flow (RFC 5508 REQ-6), and meet the forward chain each time.
 */
import { ANY_NAT, FLOW_SHIFT, FlowFlag, FlowWord } from "../conntrack/flow_layout.ts";
import type { FlowId } from "../conntrack/flow_table.ts";
import { RuleState } from "../filter/rule_set.ts";
import { findQuotedFlow, isUntranslatable, translatedDestination } from "../nat/icmp_errors.ts";
import type { Frame } from "../packet/frame.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { admitInvalid, admitTo } from "./admit.ts";
import type { Router } from "./router.ts";

export function trackError(router: Router, frame: Frame): number {
  const reference = findQuotedFlow(router.memory, router.flows, frame, router.now);
  frame.reference = -1;
  if (router.recorder !== undefined) router.recorder.related(reference);
  if (reference < 0) return admitInvalid(router, frame);
  if (router.isOwnAddress(frame.source)) return Stop.MARTIAN_SOURCE;
  const flow = (reference >> 1) as FlowId;
  const direction = reference & 1;
  const status = router.flows.words[(flow << FLOW_SHIFT) + FlowWord.STATUS];
  if ((status & FlowFlag.LOCAL) !== 0) return Stop.LOCAL;
  if ((status & ANY_NAT) !== 0 && isUntranslatable(router.memory, frame)) return Stop.ICMP_ERROR_UNRELATED;
  frame.state = RuleState.RELATED;
  const isPublished = (status & FlowFlag.PUBLISHED) !== 0;
  const stop = admitTo(router, frame, translatedDestination(router.flows, frame, flow, direction), isPublished);
  if (stop === Stop.CONTINUE) frame.reference = reference;
  return stop;
}
