/**
 * A histogram with buckets that are powers of two, over a part of the counters' memory: bucket `i` counts values up to
 * 2^i (above 2^(i-1)); the sum of all values stands behind the buckets. Recording allocates nothing.
 */
export const HISTOGRAM_BUCKETS = 32;
/** Doubles that a histogram takes. */
export const HISTOGRAM_WORDS = HISTOGRAM_BUCKETS + 1;

export class Histogram {
  /** `HISTOGRAM_WORDS` doubles. */
  private readonly words: Float64Array;

  constructor(words: Float64Array) {
    this.words = words;
  }

  /** Counts a value from 0 to 2^31 - 1. */
  record(value: number): void {
    this.words[value > 1 ? 32 - Math.clz32(value - 1) : 0]++;
    this.words[HISTOGRAM_BUCKETS] += value;
  }

  /** How many values each bucket has, not counting those of smaller buckets. */
  get buckets(): Float64Array {
    return this.words.subarray(0, HISTOGRAM_BUCKETS);
  }

  get sum(): number {
    return this.words[HISTOGRAM_BUCKETS];
  }

  get count(): number {
    return this.buckets.reduce((count, bucket) => count + bucket, 0);
  }
}
