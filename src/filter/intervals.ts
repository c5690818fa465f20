/** Sets of signed words as sorted intervals that do not touch: what a rule wants of one field. */
import type { Interval } from "./dimension.ts";

const LOWEST = -0x80000000;
const HIGHEST = 0x7fffffff;

/** The same set, sorted, with what overlaps or touches put together. */
export function normalise(intervals: readonly Interval[]): Interval[] {
  const result: Interval[] = [];
  for (const { low, high } of [...intervals].sort((left, right) => left.low - right.low)) {
    const last = result[result.length - 1];
    if (last !== undefined && low <= last.high + 1) last.high = Math.max(last.high, high);
    else result.push({ low, high });
  }
  return result;
}

export function complement(intervals: readonly Interval[]): Interval[] {
  const result: Interval[] = [];
  let next = LOWEST;
  for (const { low, high } of normalise(intervals)) {
    if (low > next) result.push({ low: next, high: low - 1 });
    next = high + 1;
  }
  if (next <= HIGHEST) result.push({ low: next, high: HIGHEST });
  return result;
}

export function intersect(left: readonly Interval[], right: readonly Interval[]): Interval[] {
  const result: Interval[] = [];
  for (const one of normalise(left)) {
    for (const other of normalise(right)) {
      const low = Math.max(one.low, other.low);
      const high = Math.min(one.high, other.high);
      if (low <= high) result.push({ low, high });
    }
  }
  return result;
}

/** All numbers below `count` that a test says yes to. */
export function valuesThat(count: number, test: (value: number) => boolean): Interval[] {
  const result: Interval[] = [];
  for (let value = 0; value < count; value++) if (test(value)) result.push({ low: value, high: value });
  return normalise(result);
}

/** An address so shifted that signed words sort as addresses do. */
export function shifted(address: number): number {
  return address ^ 0x80000000;
}
