import { describe, expect, it } from "vitest";
import { LearnResult, MacTable } from "../../src/bridge/mac_table.ts";

const HIGH = 0x0242;
const LOW = 0x0a374202;
const AGEING_MS = 300_000;

function tableOf(capacity: number, ageingMs: number = AGEING_MS): MacTable {
  return new MacTable({ capacity, ageingMs, seed: 0x5eed });
}

describe("learning", () => {
  it("follows a station that moves, and says so", () => {
    const table = tableOf(4);
    expect(table.learn(1, HIGH, LOW, 7, 0)).toBe(LearnResult.NEW);
    const generation = table.generation;
    expect(table.learn(1, HIGH, LOW, 7, 10)).toBe(LearnResult.KNOWN);
    expect(table.generation).toBe(generation);
    expect(table.learn(1, HIGH, LOW, 9, 20)).toBe(LearnResult.MOVED);
    expect(table.generation).not.toBe(generation);
    expect(table.find(1, HIGH, LOW, 20)).toBe(9);
    expect(table.moves).toBe(1);
    expect(table.learn(1, HIGH, LOW, 7, 30)).toBe(LearnResult.MOVED);
    expect(table.find(1, HIGH, LOW, 30)).toBe(7);
  });

  it("keeps networks apart", () => {
    const table = tableOf(4);
    table.learn(1, HIGH, LOW, 7, 0);
    expect(table.find(2, HIGH, LOW, 0)).toBe(-1);
    expect(table.learn(2, HIGH, LOW, 8, 0)).toBe(LearnResult.NEW);
    expect(table.find(1, HIGH, LOW, 0)).toBe(7);
    expect(table.find(2, HIGH, LOW, 0)).toBe(8);
    table.forgetNetwork(1);
    expect(table.find(1, HIGH, LOW, 0)).toBe(-1);
    expect(table.find(2, HIGH, LOW, 0)).toBe(8);
  });

  it("ignores group and zero source addresses", () => {
    const table = tableOf(4);
    expect(table.learn(0, 0xffff, -1, 1, 0)).toBe(LearnResult.IGNORED);
    expect(table.learn(0, 0x0100, 0x5e000001, 1, 0)).toBe(LearnResult.IGNORED);
    expect(table.learn(0, 0, 0, 0, 0)).toBe(LearnResult.IGNORED);
    expect(table.size).toBe(0);
    expect(table.generation).toBe(0);
  });

  it("tells MACs apart that differ in one bit", () => {
    const table = tableOf(64);
    for (let bit = 0; bit < 32; bit++) expect(table.learn(0, HIGH, LOW ^ (1 << bit), bit, 0)).toBe(LearnResult.NEW);
    for (let bit = 0; bit < 32; bit++) expect(table.find(0, HIGH, LOW ^ (1 << bit), 0)).toBe(bit);
    expect(table.find(0, HIGH, LOW, 0)).toBe(-1);
  });
});

describe("ageing", () => {
  it.each([
    { name: "an ordinary time", start: 1_000 },
    { name: "a time that wraps past 2^31", start: 0x7fffffff - 1_000 },
    { name: "a time that wraps past 2^32", start: -1_000 },
  ])("ends at the ageing time: $name", ({ start }) => {
    const table = tableOf(4);
    table.learn(0, HIGH, LOW, 7, start);
    const before = (start + AGEING_MS - 1) | 0;
    expect(table.find(0, HIGH, LOW, before)).toBe(7);
    expect(table.expire(before, 100)).toBe(0);
    for (const after of [before + 1, before + 2]) expect(table.find(0, HIGH, LOW, after | 0)).toBe(-1);
    expect(table.entries((before + 1) | 0)).toEqual([]);
    expect(table.size).toBe(1);
    const generation = table.generation;
    expect(table.expire((before + 1) | 0, 100)).toBe(1);
    expect(table.size).toBe(0);
    expect(table.generation).not.toBe(generation);
  });

  it("starts anew with every frame", () => {
    const table = tableOf(4);
    table.learn(0, HIGH, LOW, 7, 0);
    expect(table.learn(0, HIGH, LOW, 7, AGEING_MS - 1)).toBe(LearnResult.KNOWN);
    expect(table.find(0, HIGH, LOW, 2 * AGEING_MS - 2)).toBe(7);
  });

  it("takes a station that aged out unnoticed for a new one, since callers may have kept that it is unknown", () => {
    const table = tableOf(4);
    table.learn(0, HIGH, LOW, 7, 0);
    const generation = table.generation;
    expect(table.learn(0, HIGH, LOW, 7, AGEING_MS)).toBe(LearnResult.NEW);
    expect(table.generation).not.toBe(generation);
    expect(table.size).toBe(1);
    expect(table.learn(0, HIGH, LOW, 9, 2 * AGEING_MS)).toBe(LearnResult.NEW);
    expect(table.moves).toBe(0);
  });

  it("can be changed, also to never", () => {
    const table = tableOf(4);
    table.learn(0, HIGH, LOW, 7, 0);
    table.setAgeing(10);
    expect(table.find(0, HIGH, LOW, 10)).toBe(-1);
    table.setAgeing(0);
    expect(table.find(0, HIGH, LOW, 0x7fffffff)).toBe(7);
    expect(table.expire(0x7fffffff, 100)).toBe(0);
    expect(() => table.setAgeing(-1)).toThrow(RangeError);
  });

  it("looks at no more entries a call than its budget, and goes on where it stopped", () => {
    const table = tableOf(100);
    for (let station = 1; station <= 100; station++) table.learn(0, HIGH, station, 7, station <= 50 ? 500 : 0);
    const removed = Array.from({ length: 10 }, () => table.expire(AGEING_MS, 10));
    expect(removed).toEqual([0, 0, 0, 0, 0, 10, 10, 10, 10, 10]);
    expect(table.size).toBe(50);
  });
});

describe("limits", () => {
  it("holds exactly its capacity, and counts what it refuses", () => {
    const table = tableOf(3);
    for (let station = 1; station <= 3; station++) table.learn(0, HIGH, station, station, 0);
    expect(table.learn(0, HIGH, 4, 4, 1)).toBe(LearnResult.FULL);
    expect(table.overflows).toBe(1);
    expect(table.size).toBe(3);
    expect(table.find(0, HIGH, 4, 1)).toBe(-1);
    expect(table.learn(0, HIGH, 3, 9, 1)).toBe(LearnResult.MOVED);
    expect(table.learn(0, HIGH, 4, 4, AGEING_MS)).toBe(LearnResult.NEW);
    expect(table.find(0, HIGH, 3, AGEING_MS)).toBe(9);
    expect(table.size).toBeLessThanOrEqual(3);
  });

  it("forgets a port, and everything", () => {
    const table = tableOf(8);
    for (let station = 1; station <= 6; station++) table.learn(0, HIGH, station, station & 1, 0);
    table.forgetPort(1);
    expect(table.entries(5).sort((a, b) => a.mac.localeCompare(b.mac))).toEqual([
      { network: 0, mac: "02:42:00:00:00:02", port: 0, ageMs: 5 },
      { network: 0, mac: "02:42:00:00:00:04", port: 0, ageMs: 5 },
      { network: 0, mac: "02:42:00:00:00:06", port: 0, ageMs: 5 },
    ]);
    expect(table.learn(0, HIGH, 1, 1, 5)).toBe(LearnResult.NEW);
    table.clear();
    expect(table.size).toBe(0);
    expect(table.find(0, HIGH, 2, 5)).toBe(-1);
    expect(table.learn(0, HIGH, 2, 0, 5)).toBe(LearnResult.NEW);
  });

  it.each([0, -1, 1.5, Number.NaN, 1 << 24])("refuses a capacity of %d", (capacity) => {
    expect(() => tableOf(capacity)).toThrow(RangeError);
  });
});
