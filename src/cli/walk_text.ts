/** A packet's walk for people: a line for each stage, the rules beneath it, one sentence at the end. */
import type { Explanation, Step, Walk, WalkedRule } from "../dataplane/explain/steps.ts";

const STAGE_WIDTH = 11;

/** Time of day with milliseconds, as tcpdump has it. */
export function formatClock(milliseconds: number): string {
  const time = new Date(milliseconds);
  const two = (value: number): string => String(value).padStart(2, "0");
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(":");
  return `${clock}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}

export function formatExplanation(explanation: Explanation): string {
  return [...explanation.steps.flatMap(formatStep), "", explanation.sentence].join("\n");
}

/** Of a live packet, with the time and the frame as it left. */
export function formatWalk(walk: Walk): string {
  const after = walk.frameAfter === undefined ? [] : formatStep({ stage: "out", text: walk.frameAfter });
  const head = `${formatClock(walk.time)} ${walk.port}: ${walk.verdict}`;
  return [head, ...[...walk.steps.flatMap(formatStep), ...after].map((line) => `  ${line}`), `  ${walk.sentence}`].join(
    "\n",
  );
}

function formatStep({ stage, text, rules, omitted }: Step): string[] {
  const lines = [`${stage.padEnd(STAGE_WIDTH)}${text}`];
  // The deciding rule alone is in the text already.
  const told = rules ?? [];
  if (told.length > 1 || told.some(({ matched }) => !matched)) lines.push(...told.map(formatRule));
  if (omitted !== undefined) lines.push(`${" ".repeat(STAGE_WIDTH)}  … and ${omitted} more that do not match`);
  return lines;
}

function formatRule({ chain, number, rule, matched, because }: WalkedRule): string {
  const why = because === undefined ? "" : `   (not: ${because})`;
  return `${" ".repeat(STAGE_WIDTH)}${matched ? "* " : "- "}${chain} ${number}: ${rule}${why}`;
}
