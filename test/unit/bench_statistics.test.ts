import { describe, expect, it } from "vitest";
import { collectionsBetween } from "../../bench/garbage_trace.ts";
import { searchRate } from "../../bench/measures/search.ts";
import { type CpuProfile, selfTimes } from "../../bench/self_times.ts";
import { pairedRatios, summarise } from "../../bench/statistics.ts";

describe("summarise", () => {
  it("has nothing to say of nothing", () => {
    expect(summarise([])).toBeNull();
  });

  it("takes the middle, and the whole range of fewer than four values", () => {
    expect(summarise([3, 1, 2])).toEqual({ median: 2, low: 1, high: 3, spread: 1, count: 3 });
    expect(summarise([4])).toEqual({ median: 4, low: 4, high: 4, spread: 0, count: 1 });
  });

  it("takes the quartiles of four and more, between neighbours where they fall between", () => {
    expect(summarise([5, 1, 4, 2, 3])).toEqual({ median: 3, low: 2, high: 4, spread: 2 / 3, count: 5 });
    expect(summarise([1, 2, 3, 4])).toMatchObject({ median: 2.5, low: 1.75, high: 3.25 });
  });

  it("is not moved by one round that went wrong", () => {
    expect(summarise([10, 10, 10, 10, 1000])).toMatchObject({ median: 10, spread: 0 });
  });
});

describe("pairedRatios", () => {
  it("compares within a round, and leaves out rounds that one of the two does not have", () => {
    expect(pairedRatios([2, null, 6, 8], [1, 2, 3])).toEqual([2, 2]);
    expect(pairedRatios([2], [0])).toEqual([]);
  });
});

describe("searchRate", () => {
  const upTo = (limit: number) => async (pps: number) => pps <= limit;

  it.each([50_000, 333_333, 700_000, 999_999])("finds %i frames in a second within 3 %", async (limit) => {
    const found = await searchRate(1_000_000, upTo(limit));
    expect(found).toBeLessThanOrEqual(limit);
    expect(found).toBeGreaterThanOrEqual(limit * 0.96);
  });

  it("gives up soon where less than a sixteenth of what is delivered under overload would hold", async () => {
    let tries = 0;
    const holds = async (pps: number): Promise<boolean> => ++tries > 0 && pps <= 30_000;
    expect(await searchRate(1_000_000, holds)).toBe(0);
    expect(tries).toBeLessThan(12);
  });

  it("says 0 where nothing holds, and ends", async () => {
    expect(await searchRate(1_000_000, upTo(0))).toBe(0);
    expect(await searchRate(0, upTo(0))).toBe(0);
  });
});

describe("collectionsBetween", () => {
  const trace = `tapir: ready
[4711:0x5e12a0]       31 ms: Scavenge 4.2 (5.0) -> 3.9 (6.0) MB, 0.4 / 0.0 ms  (average mu = 1.000) allocation failure;
[4711:0x5e12a0]     2500 ms: Mark-Compact 5.0 (8.1) -> 4.1 (8.9) MB, 1.4 / 0.0 ms  task;
[4711:0x5e12a0]     9000 ms: Scavenge 5.0 (8.1) -> 4.1 (8.9) MB, 0.4 / 0.0 ms
`;

  it("counts all kinds, and those within the time", () => {
    expect(collectionsBetween(trace, 2000, 8000)).toEqual({ all: 3, within: 1 });
    expect(collectionsBetween(trace, 3000, 8000)).toEqual({ all: 3, within: 0 });
  });

  it("finds none in other output", () => {
    expect(collectionsBetween("[12] 5 ms\nready\n", 0, 1e9)).toEqual({ all: 0, within: 0 });
  });
});

describe("selfTimes", () => {
  const frame = (id: number, functionName: string, url = "", lineNumber = -1) => ({
    id,
    callFrame: { functionName, url, lineNumber },
  });

  it("adds up the samples of a function, wherever it was called from", () => {
    const profile: CpuProfile = {
      nodes: [frame(1, "(root)"), frame(2, "walk", "file:///x/walk.js", 9), frame(3, "walk", "file:///x/walk.js", 9)],
      samples: [2, 3, 1, 2],
      timeDeltas: [10, 20, 5, 5],
    };
    expect(selfTimes(profile)).toEqual([
      { name: "walk", place: "/x/walk.js:10", microseconds: 35, share: 35 / 40 },
      { name: "(root)", place: "", microseconds: 5, share: 5 / 40 },
    ]);
  });

  it("keeps functions of the same name apart", () => {
    const profile: CpuProfile = {
      nodes: [frame(1, "get", "file:///a.js", 0), frame(2, "get", "file:///b.js", 0)],
      samples: [1, 2],
      timeDeltas: [1, 3],
    };
    expect(selfTimes(profile).map(({ place }) => place)).toEqual(["/b.js:1", "/a.js:1"]);
  });
});
