/** Bars of the medians, grouped by case, with the values beside them and a thin line from quartile to quartile. */
import type { Measure, Metric } from "../measures/measure.ts";
import { type Results, type Row, summaryOf } from "../results.ts";
import type { Summary } from "../statistics.ts";
import { figure } from "./figures.ts";
import { colourOf, drawing, element, line, text } from "./svg.ts";

const BAR = 16;
const GAP = 14;
const LEFT = 150;
const LENGTH = 560;
const RIGHT = 110;
const HEAD = 46;
const WHISKER = "#0f172a";

interface Bar {
  readonly engine: string;
  readonly summary: Summary;
}

interface Group {
  readonly label: string;
  readonly metric: Metric;
  readonly bars: readonly Bar[];
}

function groupOf(row: Row, measure: Measure, isSplit: boolean): Group {
  const bars = measure.engines.flatMap((engine) => {
    const summary = summaryOf(row, engine);
    return summary === null ? [] : [{ engine, summary }];
  });
  return { label: isSplit ? `${row.case}, ${row.metric.name}` : row.case, metric: row.metric, bars };
}

function drawBar({ engine, summary }: Bar, y: number, longest: number): string[] {
  const at = (value: number) => LEFT + (value / longest) * LENGTH;
  const width = Math.max(1, at(summary.median) - LEFT);
  const lines = [
    text(LEFT - 8, y + 12, engine, { "text-anchor": "end" }),
    element("rect", { x: LEFT, y: y + 2, width, height: BAR - 4, fill: colourOf(engine) }),
  ];
  const end = Math.max(LEFT + width, at(summary.high));
  if (summary.count > 1) lines.push(line(at(summary.low), y + BAR / 2, at(summary.high), y + BAR / 2, WHISKER));
  lines.push(text(end + 6, y + 12, figure(summary.median)));
  return lines;
}

/** Undefined where nothing was measured. Bars of one unit share a scale. */
export function barPlot(measure: Measure, results: Results): string | undefined {
  const rows = results.rows.filter((row) => row.measure === measure.name);
  const isSplit = rows.some((row) => rows.filter((other) => other.case === row.case).length > 1);
  const groups = rows.map((row) => groupOf(row, measure, isSplit)).filter(({ bars }) => bars.length > 0);
  if (groups.length === 0) return undefined;
  const lines: string[] = [];
  let top = HEAD;
  for (const { label, metric, bars } of groups) {
    const alike = groups.filter((group) => group.metric.unit === metric.unit).flatMap((group) => group.bars);
    const longest = Math.max(...alike.map(({ summary }) => summary.high), Number.MIN_VALUE);
    lines.push(text(8, top + 12, `${label} (${metric.unit})`, { "font-weight": "bold" }));
    top += BAR + 4;
    for (const bar of bars) {
      lines.push(...drawBar(bar, top, longest));
      top += BAR;
    }
    top += GAP;
  }
  return drawing(measure.title, LEFT + LENGTH + RIGHT, top, lines);
}
