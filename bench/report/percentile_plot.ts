/** Percentiles of each engine as a line, on a logarithmic scale: the tail is many times the median. */
import type { Measure } from "../measures/measure.ts";
import { type Results, type Row, summaryOf } from "../results.ts";
import { figure } from "./figures.ts";
import { colourOf, drawing, element, line, text } from "./svg.ts";

const LEFT = 70;
const TOP = 60;
const WIDTH = 520;
const HEIGHT = 280;
const LEGEND = 150;
const FOOT = 40;
const GRID = "#cbd5e1";
const DOT = 3.5;

/** The steps 1, 2, 5, 10, ... from the last one below `low` to the first one above `high`; both are positive. */
export function logarithmicTicks(low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    // 2e-1 is exact where 2 * 0.1 need not be.
    for (const step of [1, 2, 5]) ticks.push(Number(`${step}e${power}`));
  }
  const first = ticks.findLastIndex((tick) => tick <= low);
  const last = ticks.findIndex((tick) => tick >= high);
  return ticks.slice(Math.max(0, first), last + 1);
}

interface Curve {
  readonly engine: string;
  readonly points: readonly { readonly column: number; readonly median: number }[];
}

function curveOf(engine: string, rows: readonly Row[]): Curve {
  const points = rows.flatMap((row, column) => {
    const median = summaryOf(row, engine)?.median ?? 0;
    return median > 0 ? [{ column, median }] : [];
  });
  return { engine, points };
}

function drawGrid(ticks: readonly number[], rows: readonly Row[], y: (value: number) => number): string[] {
  const lines = ticks.flatMap((tick) => [
    line(LEFT, y(tick), LEFT + WIDTH, y(tick), GRID),
    text(LEFT - 8, y(tick) + 4, figure(tick), { "text-anchor": "end" }),
  ]);
  lines.push(text(8, TOP - 14, rows[0].metric.unit));
  return lines;
}

/** The rows of one case, one for each percentile; undefined where nothing was measured. */
export function percentilePlot(measure: Measure, results: Results): string | undefined {
  const rows = results.rows.filter((row) => row.measure === measure.name);
  const curves = measure.engines.map((engine) => curveOf(engine, rows)).filter(({ points }) => points.length > 0);
  if (curves.length === 0) return undefined;
  const values = curves.flatMap(({ points }) => points.map(({ median }) => median));
  const ticks = logarithmicTicks(Math.min(...values), Math.max(...values));
  const [least, most] = [Math.log(ticks[0]), Math.log(ticks[ticks.length - 1])];
  const y = (value: number) => TOP + HEIGHT - ((Math.log(value) - least) / (most - least || 1)) * HEIGHT;
  const x = (column: number) => LEFT + ((column + 0.5) / rows.length) * WIDTH;
  const lines = drawGrid(ticks, rows, y);
  rows.forEach((row, column) => {
    lines.push(text(x(column), TOP + HEIGHT + 22, row.metric.name, { "text-anchor": "middle" }));
  });
  curves.forEach(({ engine, points }, index) => {
    const stroke = colourOf(engine);
    const path = points.map(({ column, median }) => `${x(column).toFixed(1)},${y(median).toFixed(1)}`).join(" ");
    lines.push(element("polyline", { points: path, fill: "none", stroke, "stroke-width": 2 }));
    for (const { column, median } of points) {
      lines.push(element("circle", { cx: x(column), cy: y(median), r: DOT, fill: stroke }));
    }
    const legend = TOP + 10 + index * 20;
    lines.push(element("rect", { x: LEFT + WIDTH + 20, y: legend - 10, width: 12, height: 12, fill: stroke }));
    lines.push(text(LEFT + WIDTH + 38, legend, engine));
  });
  return drawing(measure.title, LEFT + WIDTH + LEGEND, TOP + HEIGHT + FOOT, lines);
}
