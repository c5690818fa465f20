/** Medians and spreads of rounds. */

export interface Summary {
  readonly median: number;
  /** The quartiles. With fewer than four values, the least and the most. */
  readonly low: number;
  readonly high: number;
  /** Their distance over the median. */
  readonly spread: number;
  readonly count: number;
}

/** The value at `fraction` of the way through `sorted`, between neighbours where it falls between. */
function quantile(sorted: readonly number[], fraction: number): number {
  const place = fraction * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

/** Of at least one value; null of none. */
export function summarise(values: readonly number[]): Summary | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  const edge = sorted.length < 4 ? 0 : 0.25;
  const low = quantile(sorted, edge);
  const high = quantile(sorted, 1 - edge);
  return { median, low, high, spread: median === 0 ? 0 : (high - low) / Math.abs(median), count: sorted.length };
}

/** Ratios of the trials that have both, trial by trial: what disturbs both at a time cancels out. */
export function pairedRatios(above: readonly (number | null)[], below: readonly (number | null)[]): number[] {
  return above.flatMap((value, round) => {
    const other = below[round] ?? null;
    return value === null || other === null || other === 0 ? [] : [value / other];
  });
}
