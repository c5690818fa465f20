/**
 * A chain compiled so that no question walks its rules one by one.
 *
 * Each field that any rule looks at becomes a `Dimension`. A question finds one bit vector in each of them; the bits set
 * in all are the rules whose fields match. Summaries are intersected first, 1 024 rules a word; only words that may hold
 * a common bit are looked at. What no set of values can say (`tests.ts`) is asked of the rules so found. Asking
 * allocates nothing and never throws.
 */
import { compileDimension, type Dimension } from "./dimension.ts";
import type { FilterKey } from "./key.ts";
import type { Surroundings } from "./names.ts";
import type { Chain } from "./rule_set.ts";
import type { Test } from "./tests.ts";
import { Field, fieldOf, Wishes } from "./wishes.ts";

export class CompiledChain {
  readonly chain: Chain;
  /** Number of the chain's first rule among all of the rule set; that of its policy follows its last rule's. */
  readonly firstRule: number;
  readonly size: number;
  private readonly dimensions: Dimension[] = [];
  /** The field that each dimension is about. */
  private readonly fields: Int32Array;
  private readonly found = new Int32Array(Field.COUNT);
  private readonly summaryWords: number;
  private readonly words: number;
  private readonly tests: readonly (readonly Test[])[];

  /** @throws RangeError for a rule with a field out of range, or a chain too large. */
  constructor(chain: Chain, firstRule: number, around: Surroundings) {
    this.chain = chain;
    this.firstRule = firstRule;
    this.size = chain.rules.length;
    this.words = Math.max(1, (this.size + 31) >> 5);
    this.summaryWords = (this.words + 31) >> 5;
    const wishes = chain.rules.map((rule, index) => {
      try {
        return new Wishes(rule, around);
      } catch (error) {
        throw new RangeError(`${chain.name}, rule ${index + 1}: ${(error as Error).message}`);
      }
    });
    this.tests = wishes.map(({ tests }) => tests);
    const fields: number[] = [];
    for (let field = 0; field < Field.COUNT; field++) {
      const wanted = wishes.map((each) => each.fields[field]);
      if (wanted.every((each) => each === undefined)) continue;
      this.dimensions.push(compileDimension(wanted));
      fields.push(field);
    }
    this.fields = Int32Array.from(fields);
  }

  /** Looks up the fields of a question. */
  begin(key: FilterKey): void {
    const { dimensions, fields, found } = this;
    for (let i = 0; i < dimensions.length; i++) found[i] = dimensions[i].find(fieldOf(key, fields[i]));
  }

  /** The first rule from `from` on that matches the question that `begin` was given; -1 when there is none. */
  next(key: FilterKey, from: number): number {
    for (let rule = this.candidate(from); rule >= 0; rule = this.candidate(rule + 1)) {
      if (this.passes(rule, key)) return rule;
    }
    return -1;
  }

  private passes(rule: number, key: FilterKey): boolean {
    const tests = this.tests[rule];
    for (let i = 0; i < tests.length; i++) if (!tests[i](key)) return false;
    return true;
  }

  /** The first rule from `from` on whose fields match. */
  private candidate(from: number): number {
    if (from >= this.size) return -1;
    if (this.dimensions.length === 0) return from;
    const common = this.commonIn(from >> 5) & (-1 << (from & 31));
    if (common !== 0) return ((from >> 5) << 5) + lowestBit(common);
    const word = (from >> 5) + 1;
    for (let part = word >> 5; part < this.summaryWords; part++) {
      let summary = this.summaryIn(part);
      if (part === word >> 5) summary &= -1 << (word & 31);
      while (summary !== 0) {
        const at = (part << 5) + lowestBit(summary);
        const bits = this.commonIn(at);
        if (bits !== 0) return (at << 5) + lowestBit(bits);
        summary &= summary - 1;
      }
    }
    return -1;
  }

  private commonIn(word: number): number {
    const { dimensions, found, words } = this;
    let common = -1;
    for (let i = 0; i < dimensions.length; i++) common &= dimensions[i].bits[found[i] * words + word];
    return common;
  }

  private summaryIn(part: number): number {
    const { dimensions, found, summaryWords } = this;
    let summary = -1;
    for (let i = 0; i < dimensions.length; i++) summary &= dimensions[i].summaries[found[i] * summaryWords + part];
    return summary;
  }

  /** No rules: the policy decides. */
  get isEmpty(): boolean {
    return this.size === 0;
  }

  /** Nothing stops here. */
  get isOpen(): boolean {
    return this.size === 0 && this.chain.policy === "ACCEPT";
  }

  get memoryBytes(): number {
    return this.dimensions.reduce((sum, dimension) => sum + dimension.memoryBytes, 0);
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
