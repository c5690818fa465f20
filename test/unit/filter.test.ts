import { describe, expect, it } from "vitest";
import { CompiledChain } from "../../src/filter/compiled_chain.ts";
import { describeRule } from "../../src/filter/format.ts";
import { FilterKey } from "../../src/filter/key.ts";
import { Action, RejectWith, type Rule, StateBit } from "../../src/filter/rule.ts";

function key(fields: Partial<FilterKey>): FilterKey {
  return Object.assign(new FilterKey(), fields);
}

const A = 0x0a374202;

/** Each field by itself: a rule, a packet that it matches, and one that it does not. */
const FIELDS: [string, Partial<Rule>, Partial<FilterKey>, Partial<FilterKey>][] = [
  ["in", { inInterfaces: [1, 3] }, { inInterface: 3 }, { inInterface: 2 }],
  ["out", { outInterfaces: [0] }, { outInterface: 0 }, { outInterface: -1 }],
  ["in port", { inPorts: [7] }, { inPort: 7 }, { inPort: 8 }],
  ["out port", { outPorts: [7] }, { outPort: 7 }, { outPort: -1 }],
  ["source", { sources: [{ address: A, length: 31 }] }, { source: A + 1 }, { source: A + 2 }],
  ["destination", { destinations: [{ address: -1, length: 32 }] }, { destination: -1 }, { destination: -2 }],
  ["protocol", { protocol: 47 }, { protocol: 47 }, { protocol: 6 }],
  ["source port", { sourcePorts: [{ low: 5, high: 9 }] }, { sourcePort: 9 }, { sourcePort: 10 }],
  [
    "destination port",
    { destinationPorts: [{ low: 0, high: 65535 }] },
    { destinationPort: 0 },
    { destinationPort: -1 },
  ],
  ["ICMP type", { icmpTypes: [{ low: 8, high: 8 }] }, { icmpType: 8 }, { icmpType: 0 }],
  ["state", { states: StateBit.NEW | StateBit.RELATED }, { state: StateBit.RELATED }, { state: StateBit.ESTABLISHED }],
];

describe("a rule", () => {
  it.each(FIELDS)("looks at %s", (_, fields, hit, miss) => {
    const chain = new CompiledChain({ policy: Action.DROP, rules: [{ ...fields, action: Action.ACCEPT }] });
    expect(chain.evaluate(key(hit))).toBe(0);
    expect(chain.evaluate(key(miss))).toBe(-1);
  });

  it("without fields matches all, and an empty chain leaves all to its policy", () => {
    expect(new CompiledChain({ policy: Action.DROP, rules: [{ action: Action.ACCEPT }] }).evaluate(key({}))).toBe(0);
    const empty = new CompiledChain({ policy: Action.DROP, rules: [] });
    expect(empty.evaluate(key({}))).toBe(-1);
    expect(empty.actionOf(-1)).toBe(Action.DROP);
  });

  it("out of range is refused", () => {
    const make = (rule: Partial<Rule>) => () =>
      new CompiledChain({ policy: Action.DROP, rules: [{ action: Action.DROP, ...rule }] });
    expect(make({ sources: [{ address: 0, length: 33 }] })).toThrow("rule 1: a prefix length is out of range");
    expect(make({ destinationPorts: [{ low: 9, high: 8 }] })).toThrow(RangeError);
    expect(make({ protocol: 256 })).toThrow(RangeError);
    expect(make({ states: 0 })).toThrow(RangeError);
  });
});

describe("counters", () => {
  it("survive a change of other rules", () => {
    const kept: Rule = { protocol: 6, action: Action.ACCEPT };
    const former = new CompiledChain({ policy: Action.DROP, rules: [kept, { protocol: 17, action: Action.DROP }] });
    former.count(0, 100);
    former.count(0, 100);
    former.count(-1, 7);
    const next = new CompiledChain({ policy: Action.DROP, rules: [{ protocol: 1, action: Action.DROP }, kept] });
    next.carryCounters(former);
    expect([...next.counters]).toEqual([0, 0, 2, 200, 1, 7]);
  });
});

describe("a rule in words", () => {
  const names = { interface: (index: number) => ["lab", "wan"][index], port: (index: number) => `c${index}` };

  it("uses the configuration's", () => {
    const rule: Rule = {
      inInterfaces: [0],
      outInterfaces: [1],
      sources: [{ address: 0x0a374200, length: 24 }],
      protocol: 6,
      destinationPorts: [
        { low: 80, high: 80 },
        { low: 8000, high: 8080 },
      ],
      states: StateBit.NEW | StateBit.ESTABLISHED,
      action: Action.REJECT,
      rejectWith: RejectWith.TCP_RESET,
    };
    expect(describeRule(rule, names)).toBe(
      "in lab out wan from 10.55.66.0/24 proto tcp dport 80,8000-8080 state new,established -> reject with tcp-reset",
    );
  });
});
