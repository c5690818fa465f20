/** The compiled chain against a walk over its rules, on random rules and packets that are biased to meet. */
import { describe, expect, it } from "vitest";
import { CompiledChain } from "../../src/filter/compiled_chain.ts";
import { FilterKey } from "../../src/filter/key.ts";
import { matchNaive } from "../../src/filter/naive.ts";
import { Action, type Chain, type PortRange, type Prefix, type Rule } from "../../src/filter/rule.ts";
import { seededRandom } from "../support/router.ts";

const SEED = Number(process.env.TAPIR_SEED ?? 77);

type Below = (limit: number) => number;

const PORTS = [0, 1, 53, 80, 443, 1023, 1024, 40_000, 65_534, 65_535];
const ADDRESSES = [
  0,
  0x0a374202,
  0x0a374203,
  0x0a3742ff,
  0x7fffffff,
  0x80000000 | 0,
  0xcb007102 | 0,
  0xc6336407 | 0,
  -1,
];

function pick<T>(values: readonly T[], below: Below): T {
  return values[below(values.length)];
}

function some<T>(make: () => T, below: Below): T[] {
  return Array.from({ length: 1 + below(3) }, make);
}

function randomRule(below: Below, density: number): Rule {
  const prefix = (): Prefix => ({ address: pick(ADDRESSES, below), length: pick([0, 1, 8, 24, 31, 32], below) });
  const range = (): PortRange => {
    const [low, high] = [pick(PORTS, below), pick(PORTS, below)].sort((a, b) => a - b);
    return { low, high };
  };
  const rule: Rule = { action: pick([Action.ACCEPT, Action.DROP, Action.REJECT], below) };
  const maybe = (set: () => void): void => {
    if (below(density) === 0) set();
  };
  maybe(() => (rule.inInterfaces = some(() => below(4), below)));
  maybe(() => (rule.outInterfaces = some(() => below(4), below)));
  maybe(() => (rule.inPorts = some(() => below(6), below)));
  maybe(() => (rule.outPorts = some(() => below(6), below)));
  maybe(() => (rule.sources = some(prefix, below)));
  maybe(() => (rule.destinations = some(prefix, below)));
  maybe(() => (rule.protocol = pick([1, 6, 17, 47], below)));
  maybe(() => (rule.sourcePorts = some(range, below)));
  maybe(() => (rule.destinationPorts = some(range, below)));
  maybe(
    () =>
      (rule.icmpTypes = some(
        () =>
          pick(
            [
              { low: 8, high: 8 },
              { low: 0, high: 255 },
            ],
            below,
          ),
        below,
      )),
  );
  maybe(() => (rule.states = 1 + below(15)));
  return rule;
}

function fillKey(key: FilterKey, below: Below): void {
  key.inInterface = below(4);
  key.outInterface = below(5) - 1;
  key.inPort = below(6);
  key.outPort = below(7) - 1;
  key.source = (pick(ADDRESSES, below) + below(3) - 1) | 0;
  key.destination = (pick(ADDRESSES, below) + below(3) - 1) | 0;
  key.protocol = pick([1, 6, 17, 47, 255], below);
  const hasPorts = key.protocol === 6 || key.protocol === 17;
  key.sourcePort = hasPorts ? pick(PORTS, below) : -1;
  key.destinationPort = hasPorts ? pick(PORTS, below) : -1;
  key.icmpType = key.protocol === 1 ? pick([0, 3, 8], below) : -1;
  key.state = 1 << below(4);
}

describe("the compiled chain", () => {
  it.each([
    [0, 3],
    [1, 2],
    [7, 4],
    [31, 2],
    [33, 3],
    [200, 4],
    [1_500, 3],
    [12_000, 2],
  ])(
    `finds the first rule that matches (%i rules, one field in %i, seed ${SEED})`,
    (count, density) => {
      const random = seededRandom(SEED + count);
      const below: Below = (limit) => (random() >>> 0) % limit;
      const chain: Chain = {
        policy: Action.DROP,
        rules: Array.from({ length: count }, () => randomRule(below, density)),
      };
      const compiled = new CompiledChain(chain);
      const key = new FilterKey();
      const met = new Set<number>();
      for (let probe = 0; probe < (count > 1_000 ? 2_000 : 20_000); probe++) {
        fillKey(key, below);
        const expected = matchNaive(chain, key);
        expect(compiled.evaluate(key)).toBe(expected);
        met.add(expected);
      }
      // Not vacuous: several rules were met where there are several, and not the first alone.
      if (count >= 31) expect(met.size).toBeGreaterThan(5);
    },
    120_000,
  );

  it("sees ten thousand distinct sources apart", () => {
    const rules: Rule[] = Array.from({ length: 10_000 }, (_, index) => ({
      sources: [{ address: (0xc6330000 | 0) + index * 7, length: 32 }],
      action: Action.DROP,
    }));
    const compiled = new CompiledChain({ policy: Action.ACCEPT, rules });
    const key = new FilterKey();
    for (const index of [0, 1, 4_999, 9_999]) {
      key.source = (0xc6330000 | 0) + index * 7;
      expect(compiled.evaluate(key)).toBe(index);
      key.source++;
      expect(compiled.evaluate(key)).toBe(-1);
    }
  });
});
