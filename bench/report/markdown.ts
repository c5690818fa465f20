/** The report for people. */
import type { Measure } from "../measures/measure.ts";
import { type Row, ratioOf, summaryOf } from "../results.ts";
import { withSpread } from "./figures.ts";
import { verdicts, WIDEST_SPREAD } from "./goals.ts";
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
  const lines = [`## ${measure.title}`, "", measure.method, ""];
  if (rows.length > 0) lines.push(`![${measure.title}](${measure.name}.svg)`, "");
  lines.push(
    ...table(
      ["", ...engines],
      rows.map((row) => [label(row, rows), ...engines.map((engine) => withSpread(summaryOf(row, engine)))]),
    ),
  );
  const others = engines.filter((name) => name !== "tapir");
  if (!engines.includes("tapir") || others.length === 0) return lines;
  lines.push("Tapir's value over the other's, round by round:", "");
  lines.push(
    ...table(
      ["", ...others],
      rows.map((row) => [label(row, rows), ...others.map((other) => withSpread(ratioOf(row, "tapir", other)))]),
    ),
  );
  return lines;
}

function head(report: Report): string[] {
  const { machine } = report;
  const lines = [
    "# Performance",
    "",
    `Measured by \`npm run bench\` on ${report.date.slice(0, 10)}: ${machine.processors} processors (${machine.processor}), ${machine.memoryGiB} GiB, Linux ${machine.kernel}, Node ${machine.node}; ${report.rounds} rounds in ${report.minutes.toFixed(0)} minutes, the engines one after the other in each round. Load average before it began: ${machine.loadAtStart}.`,
    "",
    "Figures are medians, with half the interquartile range behind ± (with fewer than four rounds, half the whole range). On a shared machine only ratios mean something.",
    "",
  ];
  for (const { name, title } of report.engines) lines.push(`* **${name}**: ${title}`);
  for (const { name, reason } of report.absent) lines.push(`* **${name}** is absent: ${reason}`);
  lines.push("");
  return lines;
}

function goals(report: Report): string[] {
  const all = verdicts(report.results);
  if (all.length === 0) return [];
  const lines = [
    "## Goals",
    "",
    `No verdict where the spread is above ${WIDEST_SPREAD * 100} %, unless all of it says the same.`,
    "",
  ];
  const rows = all.map(({ goal, found, worstCase, words }) => {
    const title = goal.cases.length > 1 ? `${goal.title} (${worstCase})` : goal.title;
    const unit = goal.unit === "x" ? "" : ` ${goal.unit}`;
    return [title, `${goal.floor}${unit}`, `${goal.goal}${unit}`, withSpread(found) + unit, words];
  });
  return [...lines, ...table(["", "floor", "goal", "found", ""], rows)];
}

function problems(report: Report): string[] {
  if (report.results.problems.size === 0) return ["No frame was damaged, no checksum wrong, nothing failed.", ""];
  const lines = ["## Remarks", ""];
  for (const [what, count] of report.results.problems) lines.push(`* ${what}${count > 1 ? ` (${count} times)` : ""}`);
  return [...lines, ""];
}

export function markdownReport(report: Report): string {
  const sections = report.measures.flatMap((measure) => measureSection(report, measure));
  return [...head(report), ...goals(report), ...sections, ...problems(report)].join("\n");
}
