/**
 * A chain compiled so that no question walks its rules one by one.
 *
 * Each field that any rule looks at becomes a `Dimension`. A question finds one bit vector in each of them and takes
 * the lowest bit that is set in all: the first rule that matches. Summaries are intersected first, 1 024 rules a word;
 * only words that may hold a common bit are looked at. Evaluation allocates nothing and never throws.
 */
import { compileDimension, type Dimension, type Interval } from "./dimension.ts";
import type { FilterKey } from "./key.ts";
import { type Chain, type PortRange, type Prefix, RejectWith, type Rule } from "./rule.ts";

/** The fields of the key, in the order of `FIELD_WISHES`. */
const FIELDS = 11;

export class CompiledChain {
  readonly chain: Chain;
  /** Packets and bytes that met each rule, then those that met the policy. */
  readonly counters: Float64Array;
  private readonly dimensions: Dimension[] = [];
  /** The field that each dimension is about. */
  private readonly fields: Int32Array;
  private readonly found: Int32Array;
  private readonly words: number;
  private readonly summaryWords: number;
  private readonly actions: Int32Array;
  private readonly rejects: Int32Array;

  /** @throws RangeError for a rule with a field out of range, or a chain too large. */
  constructor(chain: Chain) {
    chain.rules.forEach(validate);
    this.chain = chain;
    this.counters = new Float64Array((chain.rules.length + 1) * 2);
    this.words = Math.max(1, (chain.rules.length + 31) >> 5);
    this.summaryWords = (this.words + 31) >> 5;
    const fields: number[] = [];
    for (const [field, wish] of FIELD_WISHES.entries()) {
      const wishes = chain.rules.map(wish);
      if (wishes.every((each) => each === undefined)) continue;
      this.dimensions.push(compileDimension(wishes));
      fields.push(field);
    }
    this.fields = Int32Array.from(fields);
    this.found = new Int32Array(FIELDS);
    this.actions = Int32Array.from([...chain.rules.map((rule) => rule.action), chain.policy]);
    this.rejects = Int32Array.from(chain.rules, (rule) => rule.rejectWith ?? RejectWith.PORT_UNREACHABLE);
  }

  /** Index of the first rule that matches, -1 when the policy decides. */
  evaluate(key: FilterKey): number {
    const { dimensions, found, summaryWords, actions } = this;
    if (actions.length === 1) return -1;
    const count = dimensions.length;
    if (count === 0) return 0;
    for (let i = 0; i < count; i++) found[i] = dimensions[i].find(fieldOf(key, this.fields[i]));
    for (let part = 0; part < summaryWords; part++) {
      let summary = -1;
      for (let i = 0; i < count; i++) summary &= dimensions[i].summaries[found[i] * summaryWords + part];
      while (summary !== 0) {
        const bit = 31 - Math.clz32(summary & -summary);
        const rule = this.lowestIn((part << 5) | bit);
        if (rule >= 0) return rule;
        summary &= summary - 1;
      }
    }
    return -1;
  }

  private lowestIn(word: number): number {
    const { dimensions, found, words } = this;
    let common = -1;
    for (let i = 0; i < dimensions.length; i++) common &= dimensions[i].bits[found[i] * words + word];
    return common === 0 ? -1 : (word << 5) + 31 - Math.clz32(common & -common);
  }

  /** What to do, by rule or (-1) by policy. */
  actionOf(rule: number): number {
    return this.actions[rule < 0 ? this.actions.length - 1 : rule];
  }

  rejectWithOf(rule: number): number {
    return rule < 0 ? RejectWith.PORT_UNREACHABLE : this.rejects[rule];
  }

  count(rule: number, bytes: number): void {
    const at = (rule < 0 ? this.actions.length - 1 : rule) * 2;
    this.counters[at]++;
    this.counters[at + 1] += bytes;
  }

  /** Takes over the counts of rules that were in a former chain in the same words; of twins, in their order. */
  carryCounters(former: CompiledChain): void {
    const places = new Map<string, number[]>();
    for (const [index, rule] of former.chain.rules.entries()) {
      const text = JSON.stringify(rule);
      places.set(text, [...(places.get(text) ?? []), index]);
    }
    for (const [index, rule] of this.chain.rules.entries()) {
      const from = places.get(JSON.stringify(rule))?.shift();
      if (from !== undefined) this.take(index, former, from);
    }
    if (former.chain.policy === this.chain.policy)
      this.take(this.chain.rules.length, former, former.chain.rules.length);
  }

  get memoryBytes(): number {
    return this.dimensions.reduce((sum, dimension) => sum + dimension.memoryBytes, 0);
  }

  private take(to: number, former: CompiledChain, from: number): void {
    this.counters[to * 2] = former.counters[from * 2];
    this.counters[to * 2 + 1] = former.counters[from * 2 + 1];
  }
}

/** Value of a field of the key. Addresses are shifted so that signed words sort as addresses do. */
function fieldOf(key: FilterKey, field: number): number {
  switch (field) {
    case 0:
      return key.inInterface;
    case 1:
      return key.outInterface;
    case 2:
      return key.source ^ 0x80000000;
    case 3:
      return key.destination ^ 0x80000000;
    case 4:
      return key.protocol;
    case 5:
      return key.sourcePort;
    case 6:
      return key.destinationPort;
    case 7:
      return key.icmpType;
    case 8:
      return key.state;
    case 9:
      return key.inPort;
    default:
      return key.outPort;
  }
}

type Wish = (rule: Rule) => Interval[] | undefined;

const single = (value: number): Interval => ({ low: value, high: value });
const listed = (values: readonly number[] | undefined) => values?.map(single);
const ranged = (ranges: readonly PortRange[] | undefined) => ranges?.map(({ low, high }) => ({ low, high }));

function covered(prefixes: readonly Prefix[] | undefined): Interval[] | undefined {
  return prefixes?.map(({ address, length }) => {
    const mask = length === 0 ? 0 : (-1 << (32 - length)) | 0;
    return { low: (address & mask) ^ 0x80000000, high: (address | ~mask) ^ 0x80000000 };
  });
}

/** What a rule wants of each field, in the order of `fieldOf`. */
const FIELD_WISHES: readonly Wish[] = [
  (rule) => listed(rule.inInterfaces),
  (rule) => listed(rule.outInterfaces),
  (rule) => covered(rule.sources),
  (rule) => covered(rule.destinations),
  (rule) => (rule.protocol === undefined ? undefined : [single(rule.protocol)]),
  (rule) => ranged(rule.sourcePorts),
  (rule) => ranged(rule.destinationPorts),
  (rule) => ranged(rule.icmpTypes),
  (rule) =>
    rule.states === undefined ? undefined : listed([1, 2, 4, 8].filter((bit) => (Number(rule.states) & bit) !== 0)),
  (rule) => listed(rule.inPorts),
  (rule) => listed(rule.outPorts),
];

function validate(rule: Rule, index: number): void {
  const check = (what: string, isRight: boolean): void => {
    if (!isRight) throw new RangeError(`rule ${index + 1}: ${what} is out of range`);
  };
  const isWithin = (value: number, low: number, high: number): boolean =>
    Number.isInteger(value) && value >= low && value <= high;
  for (const { length } of [...(rule.sources ?? []), ...(rule.destinations ?? [])])
    check("a prefix length", isWithin(length, 0, 32));
  for (const { low, high } of [...(rule.sourcePorts ?? []), ...(rule.destinationPorts ?? [])]) {
    check("a port", isWithin(low, 0, 65_535) && isWithin(high, low, 65_535));
  }
  for (const { low, high } of rule.icmpTypes ?? [])
    check("an ICMP type", isWithin(low, 0, 255) && isWithin(high, low, 255));
  check("the protocol", rule.protocol === undefined || isWithin(rule.protocol, 0, 255));
  check("the states", rule.states === undefined || isWithin(rule.states, 1, 15));
  check("the action", isWithin(rule.action, 0, 2));
}
