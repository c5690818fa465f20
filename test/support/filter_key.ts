/** Rule sets of one chain, and keys, for tests of the filter alone. */
import { CompiledRules } from "../../src/filter/compiled_rules.ts";
import { FilterKey } from "../../src/filter/key.ts";
import type { Surroundings } from "../../src/filter/names.ts";
import { type Chain, emptyRuleSet, type Rule, type RuleSet } from "../../src/filter/rule_set.ts";
import { word } from "./frames.ts";

/** Networks lab (0) and dmz (1), uplink wan (2); containers c1 and c2 in lab, d1 in dmz. */
export const AROUND: Surroundings = {
  interfaces: [
    { index: 0, name: "lab" },
    { index: 1, name: "dmz" },
    { index: 2, name: "wan" },
  ],
  ports: [
    { index: 0, name: "c1", interface: 0 },
    { index: 1, name: "c2", interface: 0 },
    { index: 2, name: "d1", interface: 1 },
    { index: 3, name: "wan", interface: 2 },
  ],
  sets: {
    friends: [
      { first: word("10.55.66.2"), last: word("10.55.66.3") },
      { first: word("198.51.100.0"), last: word("198.51.100.255") },
    ],
    none: [],
  },
  addressTypeOf: (address) => {
    if (address === word("203.0.113.1")) return "LOCAL";
    return address === word("10.55.66.255") ? "BROADCAST" : "UNICAST";
  },
};

export function keyOf(fields: Partial<FilterKey>): FilterKey {
  return Object.assign(new FilterKey(), fields);
}

/** FORWARD with these rules and the policy DROP; `chains` are the user's. */
export function forwarding(rules: Rule[], chains: Chain[] = []): RuleSet {
  const set = emptyRuleSet();
  set.filter.chains[1].policy = "DROP";
  set.filter.chains[1].rules = rules;
  set.filter.chains.push(...chains);
  set.sets = AROUND.sets as RuleSet["sets"];
  return set;
}

export function compile(set: RuleSet): CompiledRules {
  return new CompiledRules(set, { ...AROUND, sets: set.sets });
}
