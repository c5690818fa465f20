/** Routes, metrics, several next hops, tables and policy rules against a walk over a list of them. */
import { describe, expect, it } from "vitest";
import { Routes } from "../../src/dataplane/routes.ts";
import { Frame } from "../../src/packet/frame.ts";
import { contains, type Prefix, prefixMask } from "../../src/packet/ipv4_address.ts";
import { Neighbours } from "../../src/routing/neighbours.ts";
import { DEFAULT_POLICY, type PolicyRule, TableId } from "../../src/routing/policy.ts";
import { RouteKind, type RouteOption } from "../../src/routing/route_set.ts";
import { SEEDS } from "../support/seeds.ts";

type Random = (below: number) => number;

function randomSource(seed: number): Random {
  let state = seed | 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const INTERFACES = 4;
const TABLES = [TableId.MAIN, TableId.DEFAULT, 100, 101];
const KINDS = [RouteKind.BLACKHOLE, RouteKind.UNREACHABLE, RouteKind.PROHIBIT, RouteKind.THROW];

interface ListedRoute extends RouteOption {
  table: number;
  to: Prefix;
}

/** Few address bits vary, so that prefixes nest and packets meet them. */
const drawAddress = (random: Random): number => 0x14000000 | (random(16) << 20) | (random(4) << 8) | random(4) | 0;

function drawPrefix(random: Random): Prefix {
  const length = [0, 8, 12, 16, 24, 30, 32][random(7)];
  return { address: drawAddress(random) & prefixMask(length), length };
}

function drawOption(random: Random): RouteOption {
  const metric = random(3);
  if (random(5) === 0) return { kind: KINDS[random(KINDS.length)], metric, nextHops: [] };
  const hops = 1 + (random(3) === 0 ? random(3) : 0);
  const nextHops = [...Array(hops)].map(() => ({
    interface: random(INTERFACES),
    ...(random(4) === 0 ? {} : { via: 0x0a000001 + random(6) }),
    weight: 1 + random(3),
  }));
  return { metric, nextHops };
}

function drawRule(random: Random): PolicyRule {
  return {
    priority: 1 + random(1000),
    ...(random(2) === 0 ? { from: drawPrefix(random) } : {}),
    ...(random(3) === 0 ? { to: drawPrefix(random) } : {}),
    ...(random(3) === 0 ? { fwmark: { value: random(4), mask: 3 } } : {}),
    ...(random(4) === 0 ? { iif: { interface: random(INTERFACES) } } : {}),
    ...(random(4) === 0 ? { not: true as const } : {}),
    action: random(6) === 0 ? { kind: RouteKind.PROHIBIT } : { table: TABLES[random(TABLES.length)] },
  };
}

/** What a packet may meet: a kind, or any of these next hops; undefined: no route. */
type Expected = { kind: number } | { hops: RouteOption["nextHops"] } | undefined;

class NaiveRouting {
  readonly routes: ListedRoute[] = [];
  rules: PolicyRule[] = [];
  readonly up = [...Array(INTERFACES)].map(() => true);

  find(frame: Frame, destination: number): Expected {
    const rules = [...this.rules, ...DEFAULT_POLICY].sort((left, right) => left.priority - right.priority);
    for (const rule of rules) {
      if (!this.fits(rule, frame, destination)) continue;
      if ("kind" in rule.action) return { kind: rule.action.kind };
      const found = this.inTable(rule.action.table, destination);
      if (found !== undefined && !("kind" in found && found.kind === RouteKind.THROW)) return found;
    }
    return undefined;
  }

  private inTable(table: number, destination: number): Expected {
    const candidates = this.routes
      .filter((route) => route.table === table && contains(route.to, destination))
      .sort((left, right) => right.to.length - left.to.length || (left.metric ?? 0) - (right.metric ?? 0));
    for (const { kind, nextHops } of candidates) {
      if (kind !== undefined) return { kind };
      const hops = nextHops.filter((hop) => this.up[hop.interface]);
      if (hops.length > 0) return { hops };
    }
    return undefined;
  }

  private fits(rule: PolicyRule, frame: Frame, destination: number): boolean {
    const { from, to, fwmark, iif } = rule;
    const all =
      (from === undefined || contains(from, frame.source)) &&
      (to === undefined || contains(to, destination)) &&
      (fwmark === undefined || (frame.mark & fwmark.mask) === (fwmark.value & fwmark.mask)) &&
      (iif === undefined || ("interface" in iif && iif.interface === frame.ingressInterface));
    return rule.not === true ? !all : all;
  }
}

class Pair {
  readonly naive = new NaiveRouting();
  readonly routes = new Routes(4096, new Neighbours(64, [], 8, 1));
  private readonly random: Random;

  constructor(random: Random) {
    this.random = random;
    this.routes.links.up.fill(1, 0, INTERFACES);
  }

  changeOne(): void {
    const { random } = this;
    const table = TABLES[random(TABLES.length)];
    const to = drawPrefix(random);
    const options = [...Array(random(4))].map(() => drawOption(random));
    const sorted = options.sort((left, right) => (left.metric ?? 0) - (right.metric ?? 0));
    const kept = this.naive.routes.filter((route) => {
      return route.table !== table || route.to.address !== to.address || route.to.length !== to.length;
    });
    this.naive.routes.splice(0, this.naive.routes.length, ...kept, ...sorted.map((each) => ({ ...each, table, to })));
    const prefixes = [to.address, to.length, sorted.length === 0 ? -1 : 0];
    this.routes.change({ table, sets: sorted.length === 0 ? [] : [sorted], prefixes });
  }

  changeRules(): void {
    this.naive.rules = [...Array(this.random(5))].map(() => drawRule(this.random));
    this.routes.takePolicy([...this.naive.rules, ...DEFAULT_POLICY]);
  }

  toggleLink(): void {
    const index = this.random(INTERFACES);
    this.naive.up[index] = !this.naive.up[index];
    this.routes.links.up[index] = Number(this.naive.up[index]);
  }
}

describe("routes against a list that is walked", () => {
  it.each(SEEDS)("seed %i", (seed) => {
    const random = randomSource(seed);
    const pair = new Pair(random);
    const frame = new Frame(0, 0);
    const met = { none: 0, kinds: 0, single: 0, shared: 0 };
    for (let round = 0; round < 300; round++) {
      pair.changeOne();
      if (round % 7 === 0) pair.changeRules();
      if (round % 11 === 0) pair.toggleLink();
      for (let packet = 0; packet < 20; packet++) {
        frame.source = drawAddress(random);
        frame.mark = random(4);
        frame.ingressInterface = random(INTERFACES);
        frame.hash = random(0xffffffff) | 0;
        const destination = drawAddress(random);
        const expected = pair.naive.find(frame, destination);
        const found = pair.routes.find(frame, destination);
        if (expected === undefined) {
          met.none++;
          expect(found).toBeUndefined();
        } else if ("kind" in expected) {
          met.kinds++;
          expect(found?.kind).toBe(expected.kind);
        } else {
          met[expected.hops.length === 1 ? "single" : "shared"]++;
          const place = [found?.interface, found?.via];
          expect(expected.hops.map((hop) => [hop.interface, hop.via ?? 0])).toContainEqual(place);
          const again = pair.routes.find(frame, destination);
          expect([again?.interface, again?.via]).toEqual(place);
        }
      }
    }
    // The probes were not in vain.
    for (const count of Object.values(met)) expect(count).toBeGreaterThan(50);
  });
});
