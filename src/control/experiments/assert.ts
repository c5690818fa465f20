/** Checks assertions and plays scenarios, each with a router of its own. */
import type { ResolvedPlan } from "../configuration/configuration.ts";
import type { Assertion, Expected, Experiments } from "./assertion_file.ts";
import { type Reached, reach } from "./reach.ts";
import { playScenario } from "./scenario.ts";

export interface Result {
  kind: "assertion" | "scenario";
  /** The assertion's question, or the scenario's name. */
  name: string;
  /** Where it stands in its file; of a scenario that fails, the step that did. */
  line: number;
  column: number;
  passed: boolean;
  /** What was found, in one line. */
  found: string;
  /** Of what has failed: what was expected instead. */
  expected?: string;
}

/** One after the other, in the order of the file. */
export function* runExperiments({ resolved, assertions, scenarios }: Experiments): Generator<Result> {
  for (const assertion of assertions) yield checkAssertion(resolved, assertion);
  for (const scenario of scenarios) {
    const { name, line, column } = scenario;
    const failure = playScenario(resolved, scenario);
    const at = failure === undefined ? { line, column } : { line: failure.line, column: failure.column };
    yield {
      kind: "scenario",
      name,
      ...at,
      passed: failure === undefined,
      found: failure?.found ?? `${scenario.steps.length} steps`,
      ...(failure === undefined ? {} : { expected: failure.expected }),
    };
  }
}

function checkAssertion(resolved: ResolvedPlan, assertion: Assertion): Result {
  return judge(assertion, reach(resolved, assertion.question));
}

/** What was found, beside what was expected. */
export function judge({ text, line, column, expected }: Assertion, reached: Reached): Result {
  const passed = isAsExpected(reached, expected);
  const verdict = reached.isAllowed ? "allowed" : "denied";
  return {
    kind: "assertion",
    name: text,
    line,
    column,
    passed,
    found: `${verdict}: ${reached.text}`,
    ...(passed ? {} : { expected: describeExpected(expected) }),
  };
}

function isAsExpected(reached: Reached, { verdict, via, source, to, reason }: Expected): boolean {
  if (reached.isAllowed !== (verdict === "allow")) return false;
  if (verdict === "reject" && !reached.isRejected) return false;
  if (via !== undefined && !reached.via.includes(via)) return false;
  if (source !== undefined && reached.source !== source) return false;
  if (to !== undefined && reached.to !== to && reached.to?.split(":")[0] !== to) return false;
  return reason === undefined || reached.reason === reason;
}

function describeExpected({ verdict, via, source, to, reason }: Expected): string {
  const words: string[] = [verdict];
  if (via !== undefined) words.push(`via ${via}`);
  if (source !== undefined) words.push(`source ${source}`);
  if (to !== undefined) words.push(`to ${to}`);
  if (reason !== undefined) words.push(`reason ${reason}`);
  return words.join(", ");
}
