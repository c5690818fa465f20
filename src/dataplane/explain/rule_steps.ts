/** What the rules have said of a packet, as steps. Each is to be told before the next question to the rules. */
import type { CompiledChain } from "../../filter/compiled_chain.ts";
import type { Router } from "../router.ts";
import type { Draft } from "./draft.ts";
import { decidingRule, walkedRules } from "./rules_walked.ts";
import type { Step } from "./steps.ts";

const DOES: Record<string, string> = { ACCEPT: "accepts", DROP: "drops", REJECT: "rejects" };

/** A chain of the filter table has decided. */
export function filterStep(
  router: Router,
  draft: Draft,
  chain: CompiledChain,
  verdict: string,
  isPublished: boolean,
): void {
  const { rules } = router;
  const rule = decidingRule(rules, rules.decided);
  const step = draft.add("filter", "");
  listRules(router, step, chain);
  const does = DOES[verdict] ?? verdict;
  if (isPublished) step.text = `${chain.chain.name}: no rule decides, and what is published passes`;
  else if (rules.isPolicy) step.text = `${chain.chain.name}: no rule decides, the policy ${does}`;
  else step.text = `${rule.chain} rule ${rule.number} ${does}: ${rule.rule}`;
  if (!isPublished) draft.rule = rule;
}

/** PREROUTING; what the destination becomes is known with the route. */
export function destinationStep(router: Router, draft: Draft, isChanged: boolean): void {
  const step = draft.add("dnat", "PREROUTING: no rule changes the destination");
  listRules(router, step, router.rules.prerouting);
  if (isChanged) draft.dnat = nameRule(router, step);
}

/** POSTROUTING; what the source becomes is known when the flow is open. */
export function sourceStep(router: Router, draft: Draft, isChanged: boolean): void {
  const step = draft.add("snat", "POSTROUTING: no rule changes the source");
  listRules(router, step, router.rules.postrouting);
  if (isChanged) draft.snat = nameRule(router, step);
}

function nameRule({ rules }: Router, step: Step): Step {
  const { chain, number, rule } = decidingRule(rules, rules.decided);
  step.text = `${chain} rule ${number} (${rule})`;
  return step;
}

function listRules({ rules, filterKey, surroundings }: Router, step: Step, chain: CompiledChain): void {
  const walked = walkedRules(rules, chain, filterKey, surroundings);
  if (walked.rules.length > 0) step.rules = walked.rules;
  if (walked.omitted > 0) step.omitted = walked.omitted;
}
