/** Longest-prefix match against a list of routes that is searched from end to end. */
import { describe, expect, it } from "vitest";
import { LongestPrefixMatch, MAX_ROUTE_VALUE } from "../../src/routing/lpm.ts";
import { SEEDS } from "../support/seeds.ts";

interface Route {
  address: number;
  length: number;
  value: number;
}

type Random = (below: number) => number;

/** A seeded generator of 32-bit words (xorshift). */
function randomSource(seed: number): Random {
  let state = seed | 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function maskOf(length: number): number {
  return length === 0 ? 0 : -1 << (32 - length);
}

class NaiveRoutes {
  readonly routes: Route[] = [];

  indexOf(address: number, length: number): number {
    return this.routes.findIndex((route) => route.address === address && route.length === length);
  }

  insert(address: number, length: number, value: number): void {
    const index = this.indexOf(address, length);
    if (index >= 0) this.routes[index].value = value;
    else this.routes.push({ address, length, value });
  }

  remove(address: number, length: number): boolean {
    const index = this.indexOf(address, length);
    if (index < 0) return false;
    this.routes.splice(index, 1);
    return true;
  }

  lookup(address: number): Route | undefined {
    let best: Route | undefined;
    for (const route of this.routes) {
      if ((address & maskOf(route.length)) !== route.address) continue;
      if (best === undefined || route.length > best.length) best = route;
    }
    return best;
  }

  sorted(): Route[] {
    return [...this.routes].sort((a, b) => (a.address >>> 0) - (b.address >>> 0) || a.length - b.length);
  }
}

/** How prefixes are drawn: `bits` says which address bits vary, so that they nest and collide as often as wanted. */
interface Profile {
  readonly name: string;
  readonly bits: number;
  readonly shortest: number;
  readonly longest: number;
  readonly values: number;
}

const PROFILES: readonly Profile[] = [
  { name: "all lengths, few addresses", bits: 0x80c0c3c3 | 0, shortest: 0, longest: 32, values: 5 },
  { name: "short prefixes", bits: 0xff0f0000 | 0, shortest: 0, longest: 17, values: 300 },
  { name: "one chunk and its neighbour", bits: 0x00007f00, shortest: 15, longest: 24, values: 600 },
  { name: "two neighbouring /24s", bits: 0x000001ff, shortest: 22, longest: 32, values: MAX_ROUTE_VALUE + 1 },
  { name: "anywhere", bits: -1, shortest: 0, longest: 32, values: 400 },
];

function drawAddress(random: Random, profile: Profile): number {
  const word = (random(0x10000) << 16) | random(0x10000);
  return (0xcb0030a0 & ~profile.bits) | (word & profile.bits);
}

/** Addresses on both sides of both ends of a route, and one anywhere. */
function probesOf(route: Route, random: Random, profile: Profile): number[] {
  const last = route.address | ~maskOf(route.length);
  const ends = [route.address, (route.address - 1) | 0, last, (last + 1) | 0];
  const inside = route.address | ((random(0x10000) * 65_537) & ~maskOf(route.length));
  return [...ends, inside, drawAddress(random, profile)];
}

/** Lengths that answered a probe, as a set, and how many probes found nothing. */
interface Seen {
  readonly lengths: Set<number>;
  misses: number;
  removed: number;
  missing: number;
}

function compare(table: LongestPrefixMatch, naive: NaiveRoutes, probes: number[], seen: Seen, where: string): void {
  for (const probe of probes) {
    const expected = naive.lookup(probe);
    if (expected === undefined) seen.misses++;
    else seen.lengths.add(expected.length);
    const address = (probe >>> 0).toString(16);
    expect(table.lookup(probe), `${where}, address ${address}`).toBe(expected?.value ?? -1);
  }
}

function run(profile: Profile, seed: number, operations: number): Seen {
  const random = randomSource(seed);
  const table = new LongestPrefixMatch({ capacity: operations });
  const naive = new NaiveRoutes();
  const seen: Seen = { lengths: new Set(), misses: 0, removed: 0, missing: 0 };
  for (let step = 0; step < operations; step++) {
    const where = `profile "${profile.name}", seed ${seed}, step ${step}`;
    const length = profile.shortest + random(profile.longest - profile.shortest + 1);
    let route = { address: drawAddress(random, profile) & maskOf(length), length, value: random(profile.values) };
    // Growing and shrinking by turns, down to nearly nothing.
    const isGrowing = Math.floor((step * 6) / operations) % 2 === 0;
    if (random(100) < (isGrowing ? 75 : 20)) {
      table.insert(route.address, length, route.value);
      naive.insert(route.address, length, route.value);
    } else {
      if (random(10) > 0 && naive.routes.length > 0) route = naive.routes[random(naive.routes.length)];
      const removed = table.remove(route.address, route.length);
      expect(removed, where).toBe(naive.remove(route.address, route.length));
      if (removed) seen.removed++;
      else seen.missing++;
    }
    compare(table, naive, probesOf(route, random, profile), seen, where);
    expect(table.get(route.address, route.length), where).toBe(
      naive.routes[naive.indexOf(route.address, route.length)]?.value ?? -1,
    );
    expect(table.size, where).toBe(naive.routes.length);
    if (step % 500 === 499) {
      expect([...table.entries()], where).toEqual(naive.sorted());
      const all = naive.routes.flatMap((each) => probesOf(each, random, profile));
      compare(table, naive, all, seen, where);
    }
  }
  for (const route of naive.routes.splice(0)) table.remove(route.address, route.length);
  const probes = Array.from({ length: 500 }, () => drawAddress(random, profile));
  compare(table, naive, probes, seen, `profile "${profile.name}", seed ${seed}, emptied`);
  return seen;
}

describe.each(PROFILES)("longest-prefix match against a list: $name", (profile) => {
  it.each(SEEDS)("answers alike (seed %i)", (seed) => {
    const seen = run(profile, seed, 3_000);
    const where = `seed ${seed}`;
    expect(seen.misses, where).toBeGreaterThan(500);
    expect(seen.removed, where).toBeGreaterThan(500);
    expect(seen.missing, where).toBeGreaterThan(20);
    for (let length = profile.shortest; length <= profile.longest; length++) {
      expect(seen.lengths.has(length), `${where}: no probe found a /${length}`).toBe(true);
    }
  });
});

describe("memory under churn", () => {
  it("does not creep", () => {
    const random = randomSource(4_711);
    const table = new LongestPrefixMatch({ capacity: 2_000 });
    const held: Route[] = [];
    let afterFirstRounds = 0;
    for (let step = 0; step < 60_000; step++) {
      const length = 17 + random(16);
      const address = (0x0a000000 | (random(256) << 14) | random(1 << 14)) & maskOf(length);
      if (held.length === 1_000) {
        const [route] = held.splice(random(held.length), 1);
        table.remove(route.address, route.length);
      }
      if (table.get(address, length) < 0) held.push({ address, length, value: 0 });
      table.insert(address, length, random(1_000));
      if (step === 20_000) afterFirstRounds = table.memoryBytes();
    }
    expect(table.size).toBe(held.length);
    expect(table.memoryBytes()).toBeLessThan(afterFirstRounds * 1.1);
    const full = table.memoryBytes();
    for (const route of held.splice(0)) table.remove(route.address, route.length);
    expect(table.size).toBe(0);
    for (let index = 0; index < 2_000; index++) table.insert((0x0a000000 + index * 256) | 0, 24, 1);
    expect(table.memoryBytes()).toBe(full);
  });
});
