/** Operations on policy rules as `ip rule` has them. */
import { DEFAULT_POLICY, MAIN_PRIORITY, type PolicyRule } from "../../routing/policy.ts";
import { ROUTE_KINDS } from "../configuration/build_routes.ts";
import { readMark } from "../configuration/build_routing.ts";
import type { ResolvedPlan } from "../configuration/configuration.ts";
import { ExitCode, TapirError } from "../errors.ts";
import { ingressNamed, prefixOf, refuse } from "./context.ts";
import { RouteErrors } from "./route_list.ts";
import type { RuleOperation } from "./schemas.ts";

const MOST_RULES = 1000;
/** Rule 0 asks the table local; it cannot be changed here. */
const LARGEST_PRIORITY = 32_767;

/** The rules after an operation. @throws TapirError in iproute2's words. */
export function operateOnRules(
  rules: readonly PolicyRule[],
  operation: RuleOperation,
  resolved: ResolvedPlan,
): PolicyRule[] {
  if (operation.op === "flush") return [...DEFAULT_POLICY];
  if (operation.priority !== undefined && (operation.priority < 1 || operation.priority > LARGEST_PRIORITY)) {
    throw new TapirError(`a rule's priority is 1 to ${LARGEST_PRIORITY}`, ExitCode.USAGE);
  }
  const selector = selectorOf(operation, resolved);
  const action = actionOf(operation, resolved);
  if (operation.op === "del") return without(rules, operation, { ...selector, ...(action ?? {}) });
  const rule = {
    priority: operation.priority ?? Math.max(1, (rules[0]?.priority ?? MAIN_PRIORITY) - 1),
    ...selector,
    action: action?.action ?? { table: resolved.tables.read("main", [], refuse) as number },
  };
  const isThere = rules.some((each) => {
    return (
      textOf({ ...each, priority: 0 }) === textOf({ ...rule, priority: 0 }) &&
      (operation.priority === undefined || each.priority === rule.priority)
    );
  });
  if (isThere) throw new TapirError(RouteErrors.EXISTS);
  if (rules.length >= MOST_RULES) throw new TapirError(`there are ${MOST_RULES} rules already`);
  return [...rules, rule];
}

function selectorOf(operation: RuleOperation, resolved: ResolvedPlan): Omit<PolicyRule, "priority" | "action"> {
  const { from, to, fwmark, iif, not } = operation;
  const isAll = (text: string): boolean => text === "all" || text === "any" || text === "default";
  const mark = fwmark === undefined ? undefined : readMark(fwmark, [], refuse);
  return {
    ...(not === true ? { not } : {}),
    ...(from === undefined || isAll(from) ? {} : { from: prefixOf(from) }),
    ...(to === undefined || isAll(to) ? {} : { to: prefixOf(to) }),
    ...(mark === undefined ? {} : { fwmark: mark }),
    ...(iif === undefined ? {} : { iif: ingressNamed(resolved, iif) }),
  };
}

function actionOf(
  { table, type }: RuleOperation,
  { tables }: ResolvedPlan,
): { action: PolicyRule["action"] } | undefined {
  if (type !== undefined) return { action: { kind: ROUTE_KINDS[type] } };
  return table === undefined ? undefined : { action: { table: tables.read(table, [], refuse) as number } };
}

/** Without the first rule that has everything that is asked for. */
function without(rules: readonly PolicyRule[], { priority }: RuleOperation, wanted: Partial<PolicyRule>): PolicyRule[] {
  const index = rules.findIndex((rule) => {
    if (priority !== undefined && rule.priority !== priority) return false;
    const own = rule as unknown as Record<string, unknown>;
    return Object.entries(wanted).every(([key, value]) => JSON.stringify(own[key]) === JSON.stringify(value));
  });
  if (index < 0) throw new TapirError(RouteErrors.NO_FILE);
  return [...rules.slice(0, index), ...rules.slice(index + 1)];
}

/** The same for equal rules, whatever the order of their keys. */
function textOf({ priority, not, from, to, fwmark, iif, action }: PolicyRule): string {
  return JSON.stringify([priority, not, from, to, fwmark, iif, action]);
}
