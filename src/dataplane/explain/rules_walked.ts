/**
 * Rule by rule: which rules of a chain a packet was held against, told from what the compiled rules have noted of the
 * last question. What matched is theirs; why a rule does not match is found by asking its parts one by one, slowly.
 */
import type { CompiledChain } from "../../filter/compiled_chain.ts";
import type { CompiledRules } from "../../filter/compiled_rules.ts";
import { describeRule } from "../../filter/format.ts";
import type { FilterKey } from "../../filter/key.ts";
import { matchesNaive } from "../../filter/naive.ts";
import type { Surroundings } from "../../filter/names.ts";
import type { Rule } from "../../filter/rule_set.ts";
import type { DecidingRule, WalkedRule } from "./steps.ts";

/** Rules that do not match are listed up to so many. */
const MOST_LISTED = 32;

export interface WalkedRules {
  rules: WalkedRule[];
  omitted: number;
}

/** The walk that the last question took from the built-in chain on. */
export function walkedRules(
  rules: CompiledRules,
  builtIn: CompiledChain,
  key: FilterKey,
  around: Surroundings,
): WalkedRules {
  return new RuleWalk(rules, key, around).take(builtIn);
}

class RuleWalk {
  private readonly compiled: CompiledRules;
  private readonly key: FilterKey;
  private readonly around: Surroundings;
  private readonly listed: WalkedRule[] = [];
  private unmatched = 0;
  private omitted = 0;

  constructor(compiled: CompiledRules, key: FilterKey, around: Surroundings) {
    this.compiled = compiled;
    this.key = key;
    this.around = around;
  }

  take(builtIn: CompiledChain): WalkedRules {
    const { compiled } = this;
    const stack: { chain: CompiledChain; from: number }[] = [];
    let place = { chain: builtIn, from: 0 };
    for (let i = 0; i < compiled.traced; i++) {
      const rule = compiled.trace[i];
      const owner = compiled.ownerOf(rule);
      while (owner !== place.chain && stack.length > 0) {
        this.skip(place.chain, place.from, place.chain.size);
        place = stack.pop() as { chain: CompiledChain; from: number };
      }
      const index = rule - owner.firstRule;
      this.skip(owner, place.from, index);
      if (index === owner.size) break;
      this.listed.push({ ...this.named(owner, index), matched: true });
      place.from = index + 1;
      const next = compiled.jumpOf(rule);
      if (next === undefined) continue;
      if (compiled.targetOf(rule)?.kind === "JUMP") stack.push(place);
      place = { chain: next, from: 0 };
    }
    return { rules: this.listed, omitted: this.omitted };
  }

  private skip(chain: CompiledChain, from: number, to: number): void {
    for (let index = from; index < to; index++) {
      if (this.unmatched++ >= MOST_LISTED) {
        this.omitted += to - index;
        return;
      }
      const because = this.whyNot(chain.chain.rules[index]);
      this.listed.push({
        ...this.named(chain, index),
        matched: false,
        ...(because === undefined ? {} : { because }),
      });
    }
  }

  private named(chain: CompiledChain, index: number): Omit<WalkedRule, "matched"> {
    const table = this.compiled.tableOf(chain);
    return { table, chain: chain.chain.name, number: index + 1, rule: describeRule(chain.chain.rules[index]) };
  }

  /** The first thing that a rule asks for and the packet does not have; undefined where no single one can be named. */
  private whyNot({ target: _, name: __, matches, ...fields }: Rule): string | undefined {
    const parts: Rule[] = [
      ...Object.entries(fields).map(([field, wish]) => ({ [field]: wish, matches: [] }) as Rule),
      ...matches.map((match) => ({ matches: [match] })),
    ];
    for (const part of parts) {
      try {
        if (!matchesNaive(part, this.key, this.around)) return describeRule(part).replace(/\s*->.*$/, "");
      } catch {
        // A limit, or what else depends on more than the packet.
        return describeRule(part).replace(/\s*->.*$/, "");
      }
    }
    return undefined;
  }
}

/** The rule that decided the last question. */
export function decidingRule(rules: CompiledRules, rule: number): DecidingRule {
  const owner = rules.ownerOf(rule);
  const index = rule - owner.firstRule;
  if (index === owner.size) {
    return { chain: owner.chain.name, number: 0, rule: `policy ${owner.chain.policy ?? "RETURN"}` };
  }
  return { chain: owner.chain.name, number: index + 1, rule: describeRule(owner.chain.rules[index]) };
}
