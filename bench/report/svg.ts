/** One plot for each measure: bars of the medians, with the values beside them. No scripts, no fonts to fetch. */
import type { Measure, Metric } from "../measures/measure.ts";
import { type Results, type Row, summaryOf } from "../results.ts";
import { figure } from "./figures.ts";

const COLOURS: Readonly<Record<string, string>> = {
  tapir: "#c2410c",
  "tapir-packet": "#f59e0b",
  memory: "#c2410c",
  forwarder: "#334155",
  kernel: "#2563eb",
  "kernel-tuned": "#93c5fd",
  slirp4netns: "#15803d",
  pasta: "#84cc16",
  ovs: "#7e22ce",
  cable: "#a8a29e",
};
const BAR = 16;
const GAP = 14;
const LEFT = 230;
const WIDTH = 520;
const RIGHT = 110;
const HEAD = 46;

interface Bar {
  readonly engine: string;
  readonly median: number;
}

interface Group {
  readonly label: string;
  readonly metric: Metric;
  readonly bars: readonly Bar[];
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function groupOf(row: Row, measure: Measure, isSplit: boolean): Group {
  const bars = measure.engines.flatMap((engine) => {
    const summary = summaryOf(row, engine);
    return summary === null ? [] : [{ engine, median: summary.median }];
  });
  return { label: isSplit ? `${row.case}, ${row.metric.name}` : row.case, metric: row.metric, bars };
}

function text(x: number, y: number, words: string, more = ""): string {
  return `<text x="${x}" y="${y}" font-size="12"${more}>${escapeXml(words)}</text>`;
}

function drawGroup(group: Group, top: number, longest: number): string[] {
  const lines = [text(8, top + 12, `${group.label} (${group.metric.unit})`, ' font-weight="bold"')];
  group.bars.forEach(({ engine, median }, index) => {
    const y = top + BAR + 4 + index * BAR;
    const width = Math.max(1, (median / longest) * WIDTH);
    const fill = COLOURS[engine] ?? "#64748b";
    lines.push(text(LEFT - 8, y + 12, engine, ' text-anchor="end"'));
    lines.push(`<rect x="${LEFT}" y="${y + 2}" width="${width.toFixed(1)}" height="${BAR - 4}" fill="${fill}"/>`);
    lines.push(text(LEFT + width + 6, y + 12, figure(median)));
  });
  return lines;
}

/** Undefined where nothing was measured. Bars of one unit share a scale. */
export function plot(measure: Measure, results: Results): string | undefined {
  const rows = results.rows.filter((row) => row.measure === measure.name);
  const isSplit = rows.some((row) => rows.filter((other) => other.case === row.case).length > 1);
  const groups = rows.map((row) => groupOf(row, measure, isSplit)).filter(({ bars }) => bars.length > 0);
  if (groups.length === 0) return undefined;
  const lines: string[] = [];
  let top = HEAD;
  for (const group of groups) {
    const alike = groups.filter(({ metric }) => metric.unit === group.metric.unit);
    const longest = Math.max(...alike.flatMap(({ bars }) => bars.map(({ median }) => median)), Number.MIN_VALUE);
    lines.push(...drawGroup(group, top, longest));
    top += BAR + 4 + group.bars.length * BAR + GAP;
  }
  const width = LEFT + WIDTH + RIGHT;
  const open = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${top}" viewBox="0 0 ${width} ${top}" font-family="sans-serif">`;
  const title = `<text x="8" y="24" font-size="16" font-weight="bold">${escapeXml(measure.title)}</text>`;
  return [open, '<rect width="100%" height="100%" fill="white"/>', title, ...lines, "</svg>", ""].join("\n");
}
