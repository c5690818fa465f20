/**
 * Token buckets in arrays: thousandths of a token that a bucket holds, and when it was filled last. A millisecond brings a
 * thousandth of what a second does.
 */
export const MILLI = 1000;

export interface Buckets {
  readonly credit: Float64Array;
  /** Milliseconds of the router's clock, which wraps. */
  readonly filledAt: Int32Array;
}

/** Fills a bucket that gets `rate` tokens a second and holds `most` thousandths; returns what is in it now. */
export function fillBucket({ credit, filledAt }: Buckets, at: number, rate: number, most: number, now: number): number {
  const elapsed = (now - filledAt[at]) | 0;
  filledAt[at] = now;
  // Less than nothing: more than 24 days have passed.
  credit[at] = elapsed < 0 ? most : Math.min(most, credit[at] + elapsed * rate);
  return credit[at];
}
