/** The report for machines: every value of every round. */
import type { Report } from "./report.ts";

export function jsonReport(report: Report): string {
  const { results, engines, measures, ...rest } = report;
  const content = {
    ...rest,
    engines: engines.map(({ name, title }) => ({ name, title })),
    measures: measures.map(({ name, title, method, placement }) => ({ name, title, method, placement })),
    rows: results.rows.map((row) => ({ ...row, values: Object.fromEntries(row.values) })),
    problems: [...results.problems].map(([what, count]) => ({ what, count })),
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}
