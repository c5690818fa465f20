/** Compiled rules against a walk over them, on random rule sets and packets that are biased to meet. */
import { describe, expect, it } from "vitest";
import { FilterKey } from "../../src/filter/key.ts";
import { walkNaive } from "../../src/filter/naive.ts";
import type { Chain, Match, Range, Rule, Target, Wish } from "../../src/filter/rule_set.ts";
import { AROUND, compile, forwarding } from "../support/filter_key.ts";
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
  0xcb007101 | 0,
  0xc6336407 | 0,
  -1,
];
const NAMES = ["lab", "dmz", "wan", "c1", "c2", "d1", "w+", "d+", "nobody"];
const USER_CHAINS = ["one", "two", "three"];

function pick<T>(values: readonly T[], below: Below): T {
  return values[below(values.length)];
}

class Maker {
  private readonly below: Below;
  /** One wish in so many is there. */
  private readonly density: number;

  constructor(below: Below, density: number) {
    this.below = below;
    this.density = density;
  }

  /** `chains`: those that may be jumped to. */
  rule(chains: readonly string[]): Rule {
    const { below } = this;
    const rule: Rule = { matches: [] };
    const target = this.target(chains);
    if (target !== undefined) rule.target = target;
    this.maybe(() => (rule.in = this.wish(this.some(() => pick(NAMES, below)))));
    this.maybe(() => (rule.out = this.wish(this.some(() => pick(NAMES, below)))));
    this.maybe(() => (rule.source = this.wish(this.some(() => this.addresses()))));
    this.maybe(() => (rule.destination = this.wish(this.some(() => this.addresses()))));
    this.maybe(() => (rule.protocol = this.wish(pick([1, 6, 17, 47], below))));
    for (let i = below(3); i > 0; i--) this.maybe(() => rule.matches.push(this.match()));
    return rule;
  }

  private maybe(set: () => void): void {
    if (this.below(this.density) === 0) set();
  }

  private some<T>(make: () => T): T[] {
    return Array.from({ length: 1 + this.below(3) }, make);
  }

  private wish<T>(is: T): Wish<T> {
    return this.below(4) === 0 ? { is, not: true } : { is };
  }

  private addresses(): Range {
    const [first, last] = [pick(ADDRESSES, this.below), pick(ADDRESSES, this.below)].sort(
      (left, right) => (left >>> 0) - (right >>> 0),
    );
    return this.below(2) === 0 ? { first, last: first } : { first, last };
  }

  private ports(): Range {
    const [first, last] = [pick(PORTS, this.below), pick(PORTS, this.below)].sort((left, right) => left - right);
    return { first, last };
  }

  private target(chains: readonly string[]): Target | undefined {
    const { below } = this;
    const plain: (Target | undefined)[] = [
      { kind: "ACCEPT" },
      { kind: "DROP" },
      { kind: "REJECT", answer: 3 },
      { kind: "RETURN" },
      { kind: "LOG", level: 4, prefix: "", options: 0 },
      undefined,
    ];
    if (chains.length === 0 || below(3) > 0) return pick(plain, below);
    return { kind: below(3) === 0 ? "GOTO" : "JUMP", chain: pick(chains, below) };
  }

  private match(): Match {
    const { below } = this;
    const codes = pick(
      [
        { first: 0, last: 255 },
        { first: 1, last: 1 },
      ],
      below,
    );
    const matches: (() => Match)[] = [
      () => ({
        kind: "tcp",
        destinationPort: this.wish(this.ports()),
        flags: this.wish({ mask: 1 + below(255), set: 1 << below(8) }),
      }),
      () => ({ kind: "udp", sourcePort: this.wish(this.ports()) }),
      () => ({ kind: "icmp", types: this.wish([{ type: pick([0, 3, 8, 255], below), codes }]) }),
      () => ({
        kind: "multiport",
        side: pick(["source", "destination", "either"] as const, below),
        ports: this.wish(this.some(() => this.ports())),
      }),
      () => ({ kind: "iprange", source: this.wish(this.addresses()), destination: this.wish(this.addresses()) }),
      () => ({
        kind: "conntrack",
        states: this.wish(1 + below(127)),
        direction: pick(["ORIGINAL", "REPLY"] as const, below),
      }),
      () => ({ kind: "conntrack", status: this.wish(1 + below(31)), originalSource: this.wish(this.addresses()) }),
      () => ({ kind: "state", states: this.wish(1 + below(15)) }),
      () => ({ kind: "mark", value: below(2), mask: 1, ...(below(2) === 0 ? { not: true as const } : {}) }),
      () => ({ kind: "connmark", value: -1 << below(32), mask: -1 }),
      () => ({ kind: "set", name: pick(["friends", "none"], below), sides: [pick(["src", "dst"] as const, below)] }),
      () => ({ kind: "addrtype", destination: this.wish([pick(["LOCAL", "UNICAST", "BROADCAST"] as const, below)]) }),
      () => ({ kind: "physdev", in: this.wish(pick(NAMES, below)) }),
      () => ({ kind: "comment", text: "so" }),
    ];
    return pick(matches, below)();
  }
}

function fillKey(key: FilterKey, below: Below): void {
  key.inInterface = below(4) - 1;
  key.outInterface = below(4) - 1;
  key.inPort = key.inInterface < 0 ? -1 : pick([[0, 1], [2], [3]][key.inInterface], below);
  key.outPort = key.outInterface === 0 ? below(3) - 1 : -1;
  key.source = (pick(ADDRESSES, below) + below(3) - 1) | 0;
  key.destination = (pick(ADDRESSES, below) + below(3) - 1) | 0;
  key.protocol = pick([1, 6, 17, 47, 255], below);
  const hasPorts = key.protocol === 6 || key.protocol === 17;
  key.sourcePort = hasPorts ? pick(PORTS, below) : -1;
  key.destinationPort = hasPorts ? pick(PORTS, below) : -1;
  key.tcpFlags = key.protocol === 6 ? below(256) : -1;
  key.icmp = key.protocol === 1 ? (pick([0, 3, 8], below) << 8) | below(3) : -1;
  key.states = (1 << below(4)) | (below(4) === 0 ? 32 << below(2) : 0);
  key.status = below(16) << 1;
  key.mark = below(2);
  key.connmark = -1 << below(32);
  key.direction = below(2);
  key.originalSource = pick(ADDRESSES, below);
}

/** So that the users' chains are met by many. */
const LEADING: Rule[] = [
  { protocol: { is: 6 }, matches: [], target: { kind: "JUMP", chain: "one" } },
  { protocol: { is: 17 }, matches: [], target: { kind: "GOTO", chain: "two" } },
];

describe("compiled rules", () => {
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
    `meet the same rules as a walk over them (%i rules, one wish in %i, seed ${SEED})`,
    (count, density) => {
      const random = seededRandom(SEED + count);
      const below: Below = (limit) => (random() >>> 0) % limit;
      const maker = new Maker(below, density);
      const rulesOf = (length: number, chains: string[]): Rule[] => Array.from({ length }, () => maker.rule(chains));
      // Each chain leads to later ones only.
      const chains: Chain[] = USER_CHAINS.map((name, index) => ({
        name,
        rules: rulesOf(Math.min(count, 40), USER_CHAINS.slice(index + 1)),
      }));
      const set = forwarding([...(count >= 31 ? LEADING : []), ...rulesOf(count, USER_CHAINS)], chains);
      const compiled = compile(set);
      const key = new FilterKey();
      const decided = new Set<number>();
      const chainsMet = new Set<string>();
      for (let probe = 0; probe < (count > 1_000 ? 2_000 : 20_000); probe++) {
        fillKey(key, below);
        const expected = walkNaive(set.filter, "FORWARD", key, AROUND);
        const target = compiled.evaluate(compiled.forward, key);
        const met = [...compiled.trace.subarray(0, compiled.traced)].map((rule) => compiled.placeOf(rule));
        expect({ target, isPolicy: compiled.isPolicy, met }).toEqual(expected);
        decided.add(compiled.decided);
        for (const { chain } of met) chainsMet.add(chain);
      }
      // Not vacuous: several rules decided where there are several, and user chains were met.
      if (count >= 31) expect(decided.size).toBeGreaterThan(3);
      if (count >= 31) expect(chainsMet.size).toBeGreaterThan(2);
    },
    120_000,
  );

  it("see ten thousand distinct sources apart", () => {
    const rules: Rule[] = Array.from({ length: 10_000 }, (_, index) => {
      const address = (0xc6330000 | 0) + index * 7;
      return { source: { is: [{ first: address, last: address }] }, matches: [], target: { kind: "DROP" } };
    });
    const compiled = compile(forwarding(rules));
    const key = new FilterKey();
    for (const index of [0, 1, 4_999, 9_999]) {
      key.source = (0xc6330000 | 0) + index * 7;
      compiled.evaluate(compiled.forward, key);
      expect(compiled.decided - compiled.forward.firstRule).toBe(index);
      key.source++;
      compiled.evaluate(compiled.forward, key);
      expect(compiled.isPolicy).toBe(true);
    }
  });
});
