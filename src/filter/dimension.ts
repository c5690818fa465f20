/**
 * One dimension of a compiled chain: for every value of one field of the key, the set of rules that this field does
 * not exclude, as a bit vector (Lakshman and Stiliadis, SIGCOMM 1998), with a summary that has a bit for each word
 * that is not zero (Baboescu and Varghese, SIGCOMM 2001). Values between two neighbouring bounds of rules share a set,
 * and equal sets are stored once.
 */

/** Inclusive, of signed words. */
export interface Interval {
  low: number;
  high: number;
}

/** Words of bit vectors that a chain may need in all: 256 MiB. */
const LARGEST_WORDS = 1 << 26;

/** Words that are reserved at once, where as many may be needed: 32 MiB. */
const FIRST_WORDS = 1 << 23;

export class Dimension {
  /** Lowest value of each segment, ascending; the first is the lowest of all. */
  private readonly starts: Int32Array;
  /** Number of each segment's set. */
  private readonly sets: Int32Array;
  readonly bits: Int32Array;
  readonly summaries: Int32Array;

  constructor(starts: Int32Array, sets: Int32Array, bits: Int32Array, summaries: Int32Array) {
    this.starts = starts;
    this.sets = sets;
    this.bits = bits;
    this.summaries = summaries;
  }

  /** Number of the set of rules for a value. */
  find(value: number): number {
    const starts = this.starts;
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle] <= value) low = middle;
      else high = middle;
    }
    return this.sets[low];
  }

  get memoryBytes(): number {
    return (this.starts.length + this.sets.length + this.bits.length + this.summaries.length) * 4;
  }
}

interface Bound {
  at: number;
  rule: number;
  change: 1 | -1;
}

/** `wishes` has for each rule its intervals, or undefined where the rule does not look at the field. */
export function compileDimension(wishes: readonly (readonly Interval[] | undefined)[]): Dimension {
  const words = Math.max(1, (wishes.length + 31) >> 5);
  const summaryWords = (words + 31) >> 5;
  const bounds = collectBounds(wishes);
  const covers = new Int32Array(wishes.length);
  const current = new Int32Array(words);
  // Exclusive or over the rules of the set: equal sets have equal names, and a change costs one step.
  let name = 0;
  for (const [rule, intervals] of wishes.entries()) if (intervals === undefined) current[rule >> 5] |= 1 << (rule & 31);

  const starts: number[] = [];
  const sets: number[] = [];
  const stored = new SetStore(words, bounds.length + 1);
  let next = 0;
  for (let at = -0x80000000; ; at = bounds[next].at) {
    for (; next < bounds.length && bounds[next].at === at; next++) {
      const { rule, change } = bounds[next];
      const before = covers[rule];
      covers[rule] = before + change;
      if (before > 0 === covers[rule] > 0) continue;
      current[rule >> 5] ^= 1 << (rule & 31);
      name ^= nameOf(rule);
    }
    starts.push(at);
    sets.push(stored.numberOf(current, name));
    if (next === bounds.length) break;
  }
  const bits = stored.all();
  return new Dimension(Int32Array.from(starts), Int32Array.from(sets), bits, summarise(bits, words, summaryWords));
}

/** A word for each rule, such that few sets of them come out alike (MurmurHash3's finaliser). */
function nameOf(rule: number): number {
  let name = Math.imul(rule + 1, 0x9e3779b9);
  name = Math.imul(name ^ (name >>> 16), 0x85ebca6b);
  name = Math.imul(name ^ (name >>> 13), 0xc2b2ae35);
  return name ^ (name >>> 16);
}

function collectBounds(wishes: readonly (readonly Interval[] | undefined)[]): Bound[] {
  const bounds: Bound[] = [];
  for (const [rule, intervals] of wishes.entries()) {
    for (const { low, high } of intervals ?? []) {
      bounds.push({ at: low, rule, change: 1 });
      if (high < 0x7fffffff) bounds.push({ at: high + 1, rule, change: -1 });
    }
  }
  return bounds.sort((left, right) => left.at - right.at);
}

/** Bit vectors, each kept once. */
class SetStore {
  private readonly words: number;
  private bits: Int32Array;
  private count = 0;
  private readonly byName = new Map<number, number[]>();

  /** `most`: how many sets there may be. Memory that is not written costs nothing: there is no need to be exact. */
  constructor(words: number, most: number) {
    this.words = words;
    this.bits = new Int32Array(Math.min(words * most, FIRST_WORDS));
  }

  /** The number of a set; sets of different names differ. */
  numberOf(set: Int32Array, name: number): number {
    const alike = this.byName.get(name) ?? [];
    const known = alike.find((number) => this.equals(number, set));
    if (known !== undefined) return known;
    this.byName.set(name, [...alike, this.count]);
    this.append(set);
    return this.count++;
  }

  all(): Int32Array {
    return this.bits.subarray(0, this.count * this.words);
  }

  private equals(number: number, set: Int32Array): boolean {
    const base = number * this.words;
    for (let i = 0; i < this.words; i++) if (this.bits[base + i] !== set[i]) return false;
    return true;
  }

  private append(set: Int32Array): void {
    const end = (this.count + 1) * this.words;
    if (end > LARGEST_WORDS) throw new RangeError("the chain has too many different rules to be compiled");
    if (end > this.bits.length) {
      const larger = new Int32Array(this.bits.length * 2);
      larger.set(this.bits);
      this.bits = larger;
    }
    this.bits.set(set, this.count * this.words);
  }
}

function summarise(bits: Int32Array, words: number, summaryWords: number): Int32Array {
  const sets = bits.length / words;
  const summaries = new Int32Array(sets * summaryWords);
  for (let set = 0; set < sets; set++) {
    for (let word = 0; word < words; word++) {
      if (bits[set * words + word] !== 0) summaries[set * summaryWords + (word >> 5)] |= 1 << (word & 31);
    }
  }
  return summaries;
}
