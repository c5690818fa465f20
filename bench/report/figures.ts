/** Numbers for people. */
import type { Summary } from "../statistics.ts";

export function figure(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en-US").replaceAll(",", " ");
  if (Number.isInteger(value)) return String(value);
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toPrecision(3);
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.095 ? 1 : 0)} %`;
}

/** The median, and half the spread behind ± where there were several rounds. */
export function withSpread(summary: Summary | null): string {
  if (summary === null) return "none";
  return summary.count === 1 ? figure(summary.median) : `${figure(summary.median)} ±${percent(summary.spread / 2)}`;
}
