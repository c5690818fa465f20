/** The report for machines: every value of every round. */
import { verdicts } from "./goals.ts";
import { withoutPlaces } from "./places.ts";
import type { Report } from "./report.ts";

export function jsonReport(report: Report): string {
  const { results, engines, measures, ...rest } = report;
  const content = {
    ...rest,
    engines: engines.map(({ name, title }) => ({ name, title })),
    measures: measures.map(({ name, title, method, placement }) => ({ name, title, method, placement })),
    goals: verdicts(results).map(({ goal, found, worstCase, words }) => ({
      ...goal,
      found,
      worstCase,
      verdict: words,
    })),
    rows: results.rows.map((row) => ({ ...row, values: Object.fromEntries(row.values) })),
    skipped: results.skipped,
    problems: [...results.problems].map(([what, count]) => ({ what: withoutPlaces(what), count })),
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}
