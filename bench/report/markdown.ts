/** The report for people. */
import { type Measure, trialsOf } from "../measures/measure.ts";
import { type Row, ratioOf, summaryOf } from "../results.ts";
import { figure, withSpread } from "./figures.ts";
import { verdicts, WIDEST_SPREAD } from "./goals.ts";
import { withoutPlaces } from "./places.ts";
import { plot } from "./plot.ts";
import type { Report } from "./report.ts";

function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line), ""];
}

function label(row: Row, rows: readonly Row[]): string {
  const isAlone = rows.filter((other) => other.case === row.case).length === 1;
  return `${row.case}${isAlone ? "" : `, ${row.metric.name}`} (${row.metric.unit})`;
}

function measureSection(report: Report, measure: Measure): string[] {
  const rows = report.results.rows.filter((row) => row.measure === measure.name);
  const engines = measure.engines.filter((name) => rows.some((row) => row.values.has(name)));
  const trials = trialsOf(measure, report.quick);
  const method = trials === 1 ? measure.method : `${measure.method} ${trials} trials of each start.`;
  const lines = [`## ${measure.title}`, "", method, ""];
  if (plot(measure, report.results) !== undefined) lines.push(`![${measure.title}](${measure.name}.svg)`, "");
  lines.push(
    ...table(
      ["", ...engines],
      rows.map((row) => [label(row, rows), ...engines.map((engine) => withSpread(summaryOf(row, engine)))]),
    ),
  );
  const others = engines.filter((name) => name !== "tapir");
  if (!engines.includes("tapir") || others.length === 0) return lines;
  lines.push("Tapir's value over the other's, trial by trial:", "");
  lines.push(
    ...table(
      ["", ...others],
      rows.map((row) => [label(row, rows), ...others.map((other) => withSpread(ratioOf(row, "tapir", other)))]),
    ),
  );
  return lines;
}

function head(report: Report): string[] {
  const { machine, results } = report;
  const lines = [
    "# Performance",
    "",
    `Measured by \`npm run bench${report.quick ? " -- --quick" : ""}\` on ${report.date.slice(0, 10)}: ${machine.processors} processors (${machine.processor}), ${machine.memoryGiB} GiB, Linux ${machine.kernel}, Node ${machine.node}; up to ${report.rounds} rounds in ${report.minutes.toFixed(0)} minutes. In each round engines are started and warmed up with load that does not count; those that are close to each other at the same time, to take trials in turn, the others one after the other. Load average before it began: ${machine.loadAtStart}.`,
    "",
    `What the kernel does against the processor's faults, and what system calls pay for: ${machine.mitigations.join("; ") || "nothing"}.`,
    "",
    "Figures are medians, with half the interquartile range behind ± (of fewer than four values, half the whole range). On a shared machine only ratios mean something.",
    "",
  ];
  const alone = results.of("ceiling", "60 B", "rate");
  const most = alone === undefined ? null : summaryOf(alone, "cable");
  if (most !== null) {
    lines.push(
      `The generator's own ceiling, with no router in its way: ${figure(most.median)} Mpps of 60 B. No figure of an engine in the same place can be higher.`,
      "",
    );
  }
  for (const { name, title } of report.engines) lines.push(`* **${name}**: ${title}`);
  for (const { name, reason } of report.absent) lines.push(`* **${name}** is absent: ${reason}`);
  lines.push("");
  return lines;
}

function goals(report: Report): string[] {
  const all = verdicts(report.results);
  const lines = [
    "## Goals",
    "",
    `Ratios are Tapir's value over the other's, trial by trial. Where the spread is above ${WIDEST_SPREAD * 100} % of the median, its worse end is judged; "spread too wide": that is below the floor, and the better one is not.`,
    "",
  ];
  const rows = all.map(({ goal, found, worstCase, cases, words }) => {
    const part = cases < goal.cases.length ? `, ${cases} of them measured` : "";
    const title = goal.cases.length > 1 && found !== null ? `${goal.title} (${worstCase}${part})` : goal.title;
    const unit = goal.unit === "x" || goal.unit === "" ? "" : ` ${goal.unit}`;
    return [
      title,
      `${goal.floor}${unit}`,
      `${goal.goal}${unit}`,
      found === null ? "" : withSpread(found) + unit,
      words,
    ];
  });
  return [...lines, ...table(["", "floor", "goal", "median", "verdict"], rows)];
}

function problems(report: Report): string[] {
  if (report.results.problems.size === 0) return ["No frame was damaged, no checksum wrong, nothing failed.", ""];
  const lines = ["## Remarks", ""];
  for (const [what, count] of report.results.problems)
    lines.push(`* ${withoutPlaces(what)}${count > 1 ? ` (${count} times)` : ""}`);
  return [...lines, ""];
}

function skipped(report: Report): string[] {
  const left = report.results.skipped;
  if (left.length === 0) return [];
  return ["## Not measured", "", ...left.map((what) => `* ${what}`), ""];
}

export function markdownReport(report: Report): string {
  const sections = report.measures.flatMap((measure) => measureSection(report, measure));
  return [...head(report), ...goals(report), ...skipped(report), ...sections, ...problems(report)].join("\n");
}
