/**
 * A rule set while commands change it: every rule remembers its number in the set that the change began with (as
 * `CompiledRules` numbers them), so that the counters of what is not touched go on. Nothing is in force before the whole
 * change is; what throws has changed nothing.
 */
import {
  type Chain,
  emptyRuleSet,
  type Rule,
  type RuleSet,
  TABLE_NAMES,
  type TableName,
  type Target,
} from "../rule_set.ts";
import { checkRuleSet } from "./check.ts";
import { isBuiltIn } from "./command_options.ts";
import { NO_CHAIN, RulesError, UsageError } from "./errors.ts";
import type { RuleSpec } from "./read_rule.ts";
import { type PacketCount, ruleWords } from "./write_rule.ts";

export interface RulesChange {
  rules: RuleSet;
  /** For each number of a rule or policy of the new set: the number that it had in the former; -1 for new ones. */
  origins: number[];
  /** Counters that are given, by number. */
  counted: ({ number: number } & PacketCount)[];
}

interface Entry {
  rule: Rule;
  from: number;
  counted?: PacketCount;
}

interface EditedChain {
  name: string;
  policy?: "ACCEPT" | "DROP";
  /** Where the policy's counters come from. */
  from: number;
  counted?: PacketCount;
  entries: Entry[];
}

const NO_RULE = "Bad rule (does a matching rule exist in that chain?).";

export class RuleEditor {
  private readonly former: RuleSet;
  private readonly tables: Record<TableName, EditedChain[]> = { filter: [], nat: [] };

  constructor(former: RuleSet) {
    this.former = former;
    let number = 0;
    for (const table of TABLE_NAMES) {
      for (const { name, policy, rules } of former[table].chains) {
        const entries = rules.map((rule, index) => ({ rule, from: number + index }));
        number += rules.length;
        this.tables[table].push({ name, ...(policy === undefined ? {} : { policy }), from: number++, entries });
      }
    }
  }

  /** @throws RulesError where what has come of it is no rule set. */
  finish(): RulesChange {
    const change: RulesChange = { rules: { ...emptyRuleSet(), sets: this.former.sets }, origins: [], counted: [] };
    const note = (from: number, counted: PacketCount | undefined): void => {
      if (counted !== undefined) change.counted.push({ number: change.origins.length, ...counted });
      change.origins.push(from);
    };
    for (const table of TABLE_NAMES) {
      change.rules[table].chains = this.tables[table].map(({ name, policy, from, counted, entries }): Chain => {
        for (const entry of entries) note(entry.from, entry.counted);
        note(from, counted);
        return { name, ...(policy === undefined ? {} : { policy }), rules: entries.map(({ rule }) => rule) };
      });
    }
    checkRuleSet(change.rules);
    return change;
  }

  hasChain(table: TableName, name: string): boolean {
    return this.tables[table].some((chain) => chain.name === name);
  }

  chainOf(table: TableName, name: string): EditedChain {
    const chain = this.tables[table].find((each) => each.name === name);
    if (chain === undefined) throw new RulesError(NO_CHAIN);
    return chain;
  }

  append(table: TableName, name: string, spec: RuleSpec, counted?: PacketCount): void {
    this.chainOf(table, name).entries.push(...this.entriesOf(table, spec, counted));
  }

  insert(table: TableName, name: string, at: number, spec: RuleSpec, counted?: PacketCount): void {
    const { entries } = this.chainOf(table, name);
    if (at > entries.length + 1) throw new RulesError("Index of insertion too big.");
    // Each of several goes in front of the one before, as iptables inserts them.
    entries.splice(at - 1, 0, ...this.entriesOf(table, spec, counted).reverse());
  }

  replace(table: TableName, name: string, at: number, spec: RuleSpec, counted?: PacketCount): void {
    const { entries } = this.chainOf(table, name);
    if (at > entries.length) throw new RulesError("Index of replacement too big.");
    if (spec.rules.length > 1) throw new UsageError("Replacement rule does not specify a unique address");
    entries.splice(at - 1, 1, ...this.entriesOf(table, spec, counted));
  }

  deleteAt(table: TableName, name: string, at: number): void {
    const { entries } = this.chainOf(table, name);
    if (at > entries.length) throw new RulesError("Index of deletion too big.");
    entries.splice(at - 1, 1);
  }

  delete(table: TableName, name: string, spec: RuleSpec): void {
    const { entries } = this.chainOf(table, name);
    for (const index of this.placesOf(table, name, spec).reverse()) entries.splice(index, 1);
  }

  check(table: TableName, name: string, spec: RuleSpec): void {
    this.chainOf(table, name);
    this.placesOf(table, name, spec);
  }

  /** Indexes of the first rules in these words, ascending. */
  private placesOf(table: TableName, name: string, spec: RuleSpec): number[] {
    this.refuseUnknownChains(table, spec);
    const texts = this.chainOf(table, name).entries.map(({ rule }) => ruleWords(rule));
    const whole = texts.indexOf(ruleWords(spec.whole));
    if (whole >= 0) return [whole];
    const found: number[] = [];
    for (const rule of spec.rules) {
      const words = ruleWords(rule);
      const index = texts.findIndex((text, at) => text === words && !found.includes(at));
      if (index < 0) throw new RulesError(NO_RULE);
      found.push(index);
    }
    return found.sort((left, right) => left - right);
  }

  flush(table: TableName, name?: string): void {
    const chains = name === undefined ? this.tables[table] : [this.chainOf(table, name)];
    for (const chain of chains) chain.entries = [];
  }

  newChain(table: TableName, name: string): void {
    if (this.hasChain(table, name)) throw new RulesError("Chain already exists.");
    const chains = this.tables[table];
    const next = chains.findIndex((chain) => !isBuiltIn(table, chain.name) && chain.name > name);
    chains.splice(next < 0 ? chains.length : next, 0, { name, from: -1, entries: [] });
  }

  /** All chains of users, without a name. */
  deleteChain(table: TableName, name?: string): void {
    const chains = this.tables[table];
    const going =
      name === undefined ? chains.filter((chain) => chain.policy === undefined) : [this.chainOf(table, name)];
    for (const chain of going) {
      if (chain.policy !== undefined) throw new RulesError("Invalid argument. A built-in chain cannot be deleted.");
      if (chain.entries.length > 0) throw new RulesError("Directory not empty.");
      if (this.references(table, chain.name) > 0) throw new RulesError("Too many links.");
    }
    this.tables[table] = chains.filter((chain) => !going.includes(chain));
  }

  rename(table: TableName, name: string, to: string): void {
    const chain = this.chainOf(table, name);
    if (chain.policy !== undefined) throw new RulesError(NO_CHAIN);
    if (this.hasChain(table, to)) throw new RulesError("File exists.");
    this.tables[table] = this.tables[table].filter((each) => each !== chain);
    this.newChain(table, to);
    Object.assign(this.chainOf(table, to), { ...chain, name: to });
    for (const { entries } of this.tables[table]) {
      for (const entry of entries) {
        if (chainOfTarget(entry.rule.target) === name)
          entry.rule = { ...entry.rule, target: { ...(entry.rule.target as Jump), chain: to } };
      }
    }
  }

  setPolicy(table: TableName, name: string, policy: string, counted?: PacketCount): void {
    if (!isBuiltIn(table, name)) throw new RulesError("Bad built-in chain name.");
    if (policy !== "ACCEPT" && policy !== "DROP")
      throw new RulesError("Bad policy name. Run `dmesg' for more information.");
    if (table === "nat" && policy === "DROP")
      throw new RulesError('The "nat" table is not intended for filtering, the use of DROP is therefore inhibited.');
    const chain = this.chainOf(table, name);
    chain.policy = policy;
    chain.from = -1;
    if (counted === undefined) delete chain.counted;
    else chain.counted = counted;
  }

  /** Empties a table as `iptables-restore` does before it reads it: policies stay. */
  clear(table: TableName): void {
    const builtIn = this.tables[table].filter(({ policy }) => policy !== undefined);
    for (const chain of builtIn) chain.entries = [];
    this.tables[table] = builtIn;
  }

  private references(table: TableName, name: string): number {
    const rules = this.tables[table].flatMap(({ entries }) => entries);
    return rules.filter(({ rule }) => chainOfTarget(rule.target) === name).length;
  }

  private entriesOf(table: TableName, spec: RuleSpec, counted: PacketCount | undefined): Entry[] {
    this.refuseUnknownChains(table, spec);
    return spec.rules.map((rule) => ({ rule, from: -1, ...(counted === undefined ? {} : { counted }) }));
  }

  private refuseUnknownChains(table: TableName, { whole }: RuleSpec): void {
    const chain = chainOfTarget(whole.target);
    if (chain !== undefined && !this.hasChain(table, chain)) throw new RulesError(`Chain '${chain}' does not exist`);
    for (const match of whole.matches) {
      if (match.kind === "set" && !Object.hasOwn(this.former.sets, match.name))
        throw new RulesError(`Set ${match.name} doesn't exist.`);
    }
  }
}

type Jump = Extract<Target, { kind: "JUMP" | "GOTO" }>;

/** The chain that a rule leads to. */
export function chainOfTarget(target: Target | undefined): string | undefined {
  return target?.kind === "JUMP" || target?.kind === "GOTO" ? target.chain : undefined;
}
