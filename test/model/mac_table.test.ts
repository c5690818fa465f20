/** The MAC table against an array of stations that is searched from end to end. */
import { describe, expect, it } from "vitest";
import { LearnResult, MacTable } from "../../src/bridge/mac_table.ts";
import { SEEDS } from "../support/seeds.ts";

interface Entry {
  network: number;
  high: number;
  low: number;
  port: number;
  seen: number;
}

/** A seeded generator of 32-bit words (xorshift). */
function randomSource(seed: number): (below: number) => number {
  let state = seed | 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Stations that have aged out stay in the list until the table has certainly given their place back. */
class NaiveTable {
  entries: Entry[] = [];
  readonly capacity: number;
  ageingMs: number;

  constructor(capacity: number, ageingMs: number) {
    this.capacity = capacity;
    this.ageingMs = ageingMs;
  }

  isAged(entry: Entry, now: number): boolean {
    return this.ageingMs !== 0 && ((now - entry.seen) | 0) >= this.ageingMs;
  }

  live(now: number): Entry[] {
    return this.entries.filter((entry) => !this.isAged(entry, now));
  }

  find(network: number, high: number, low: number, now: number): Entry | undefined {
    return this.live(now).find((entry) => entry.network === network && entry.high === high && entry.low === low);
  }

  learn(network: number, high: number, low: number, port: number, now: number): LearnResult {
    if ((high & 0x100) !== 0 || (high === 0 && low === 0)) return LearnResult.IGNORED;
    const entry = this.find(network, high, low, now);
    if (entry === undefined) {
      this.entries = this.live(now);
      if (this.entries.length === this.capacity) return LearnResult.FULL;
      this.entries.push({ network, high, low, port, seen: now });
      return LearnResult.NEW;
    }
    const result = entry.port === port ? LearnResult.KNOWN : LearnResult.MOVED;
    entry.port = port;
    entry.seen = now;
    return result;
  }
}

function compareDumps(table: MacTable, naive: NaiveTable, now: number): void {
  const text = (entry: Entry): string => {
    const hex = (entry.high * 2 ** 32 + (entry.low >>> 0)).toString(16).padStart(12, "0");
    return `${entry.network} ${hex} ${entry.port} ${(now - entry.seen) | 0}`;
  };
  const dump = table.entries(now).map((s) => `${s.network} ${s.mac.replaceAll(":", "")} ${s.port} ${s.ageMs}`);
  expect(dump.sort()).toEqual(naive.live(now).map(text).sort());
}

/** Runs random operations with the clock starting just before it wraps; returns how often each thing happened. */
function run(seed: number, capacity: number, ageingMs: number, operations: number): Map<string, number> {
  const random = randomSource(seed);
  const table = new MacTable({ capacity, ageingMs, seed });
  const naive = new NaiveTable(capacity, ageingMs);
  const seen = new Map<string, number>();
  const note = (what: string): void => void seen.set(what, (seen.get(what) ?? 0) + 1);
  let now = (0x7fffffff - operations) | 0;
  for (let step = 0; step < operations; step++) {
    now = (now + random(5)) | 0;
    const network = random(3);
    const high = random(20) === 0 ? 0x0100 : random(2);
    const low = random(20) - 2;
    const port = network * 5000 + random(3) * 4096;
    const where = `seed ${seed}, step ${step}`;
    const generation = table.generation;
    const choice = random(1000);
    if (choice < 600) {
      const result = table.learn(network, high, low, port, now);
      const expected = naive.learn(network, high, low, port, now);
      note(`learn ${result}`);
      // A full table may overlook a reclaimable entry; with no more entries than it scans it may not.
      expect(result, where).toBe(expected);
      const changed = result === LearnResult.NEW || result === LearnResult.MOVED;
      if (changed) expect(table.generation, where).not.toBe(generation);
      if (result === LearnResult.KNOWN) expect(table.generation, where).toBe(generation);
    } else if (choice < 960) {
      const expected = naive.find(network, high, low, now)?.port ?? -1;
      expect(table.find(network, high, low, now), where).toBe(expected);
      note(expected < 0 ? "miss" : "hit");
    } else if (choice < 980) {
      const removed = table.expire(now, 1 + random(capacity));
      note(removed > 0 ? "expired" : "nothing expired");
      expect(table.generation !== generation, where).toBe(removed > 0);
    } else if (choice < 989) {
      naive.entries = naive.entries.filter((entry) => entry.port !== port);
      table.forgetPort(port);
    } else if (choice < 994) {
      naive.entries = naive.entries.filter((entry) => entry.network !== network);
      table.forgetNetwork(network);
    } else if (choice < 996) {
      naive.entries = [];
      table.clear();
    } else compareDumps(table, naive, now);
    expect(table.size, where).toBeLessThanOrEqual(capacity);
    expect(table.size, where).toBeGreaterThanOrEqual(naive.live(now).length);
  }
  table.expire(now, capacity);
  expect(table.size, `seed ${seed}`).toBe(naive.live(now).length);
  compareDumps(table, naive, now);
  return seen;
}

describe("MAC table against a list", () => {
  it.each(SEEDS)("learns, moves, ages and forgets alike (seed %i)", (seed) => {
    const seen = run(seed, 16, 100, 20_000);
    for (const result of ["learn 0", "learn 1", "learn 2", "learn 3", "learn 4", "hit", "miss", "expired"]) {
      expect(seen.get(result) ?? 0, `seed ${seed}: ${result}`).toBeGreaterThan(20);
    }
  });

  it.each(SEEDS)("keeps everything when nothing ages (seed %i)", (seed) => {
    const seen = run(seed, 16, 0, 5_000);
    expect(seen.get("expired")).toBeUndefined();
    expect(seen.get("hit") ?? 0, `seed ${seed}`).toBeGreaterThan(100);
    expect(seen.get("miss") ?? 0, `seed ${seed}`).toBeGreaterThan(100);
  });
});
