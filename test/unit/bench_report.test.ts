import { hostname } from "node:os";
import { describe, expect, it } from "vitest";
import type { Measure } from "../../bench/measures/measure.ts";
import { barPlot } from "../../bench/report/bar_plot.ts";
import { figure, percent, withSpread } from "../../bench/report/figures.ts";
import { GOALS, isGoal, type Verdict, verdicts } from "../../bench/report/goals.ts";
import { jsonReport } from "../../bench/report/json.ts";
import { markdownReport } from "../../bench/report/markdown.ts";
import { logarithmicTicks, percentilePlot } from "../../bench/report/percentile_plot.ts";
import { withoutPlaces } from "../../bench/report/places.ts";
import type { Report } from "../../bench/report/report.ts";
import { element, escapeXml } from "../../bench/report/svg.ts";
import { Results } from "../../bench/results.ts";

const RATE = { name: "rate", unit: "Mpps", better: "higher" } as const;

const small: Measure = {
  name: "small-frames",
  title: "Small <frames>",
  method: "Sent & counted.",
  engines: ["forwarder", "kernel", "tapir"],
  placement: "pinned",
  isLong: false,
  cases: [],
};

function smallFrames(values: Record<string, (number | null)[]>): Results {
  const results = new Results();
  const row = results.row(small, "10 000 flows", RATE);
  for (const [engine, rounds] of Object.entries(values)) {
    rounds.forEach((value, round) => {
      results.record(row, engine, round, value);
    });
  }
  return results;
}

function verdictOf(results: Results, title: string): Verdict {
  const found = verdicts(results).find(({ goal }) => goal.title === title);
  if (found === undefined) throw new Error(`no goal ${title}`);
  return found;
}

function report(results: Results): Report {
  return {
    date: "2026-01-02T03:04:05.000Z",
    minutes: 3,
    rounds: 3,
    quick: true,
    machine: {
      processor: "Abacus",
      processors: 2,
      memoryGiB: 4,
      kernel: "6.18.1",
      node: "v20",
      mitigations: ["meltdown: PTI"],
      loadAtStart: 0.1,
    },
    engines: [],
    absent: [{ name: "pasta", reason: "no pasta (Debian: passt)" }],
    measures: [small],
    results,
  };
}

const AGAINST_FORWARDER = "Small frames, 10 000 flows, against the C forwarder";
const AGAINST_KERNEL = "The same against kernel NAT";

describe("verdicts", () => {
  it("compares round by round", () => {
    const results = smallFrames({ tapir: [1, 2, 4], forwarder: [1, 2, 4], kernel: [0.7, 1.4, 2.8] });
    expect(verdictOf(results, AGAINST_FORWARDER)).toMatchObject({
      words: "goal reached",
      found: { median: 1, spread: 0 },
    });
    expect(verdictOf(results, AGAINST_KERNEL)).toMatchObject({ words: "floor reached" });
  });

  it("says so when a floor is missed", () => {
    const results = smallFrames({ tapir: [5, 5, 5], forwarder: [10, 10, 10] });
    expect(verdictOf(results, AGAINST_FORWARDER).words).toBe("below the floor");
  });

  it("refuses when the rounds differ too much and do not agree", () => {
    const results = smallFrames({ tapir: [5, 9, 12], forwarder: [10, 10, 10] });
    expect(verdictOf(results, AGAINST_FORWARDER).words).toBe("spread too wide");
  });

  it.each([
    [[10, 20, 30], "goal reached"],
    [[9, 20, 30], "floor reached"],
    [[2, 4, 8], "below the floor"],
  ])("judges the worse end of a wide spread where all of it is on one side of the floor: %j", (tapir, words) => {
    const results = smallFrames({ tapir, forwarder: [10, 10, 10] });
    expect(verdictOf(results, AGAINST_FORWARDER).words).toBe(words);
  });

  it("judges the worse end where less is better", () => {
    const goal = "Captures and traces that nobody uses (1 % of a small frame on TAPs at 1 Mpps: 10 ns)";
    const words = [
      [-6, 1],
      [-6, 4],
      [1, 14],
      [11, 22],
    ].map((costs) => {
      const results = new Results();
      const row = results.row({ ...small, name: "hooks" }, "1 000 flows", {
        name: "cost",
        unit: "ns",
        better: "lower",
      });
      for (const [round, cost] of costs.entries()) results.record(row, "memory", round, cost);
      return verdictOf(results, goal).words;
    });
    expect(words).toEqual(["goal reached", "floor reached", "spread too wide", "below the floor"]);
  });

  it("refuses too few rounds, and rounds without a partner do not count", () => {
    const results = smallFrames({ tapir: [10, 10, 10], forwarder: [10, null, 10] });
    expect(verdictOf(results, AGAINST_FORWARDER).words).toBe("no verdict: too few rounds");
  });

  it("has a row for each goal, measured or not", () => {
    const all = verdicts(new Results());
    expect(all).toHaveLength(GOALS.length);
    expect(all.every(({ words, found }) => words === "not measured" && found === null)).toBe(true);
  });

  it("takes less for better where it is", () => {
    const results = new Results();
    const measure = { ...small, name: "latency" };
    const p50 = { name: "p50", unit: "us", better: "lower" } as const;
    const row = results.row(measure, "1 000 a second", p50);
    for (let round = 0; round < 3; round++) {
      results.record(row, "tapir", round, 110);
      results.record(row, "forwarder", round, 100);
    }
    expect(verdictOf(results, "Latency against the C forwarder, p50").words).toBe("floor reached");
  });

  it("takes the worst of several cases", () => {
    const results = new Results();
    const bulk = { ...small, name: "tcp-bulk" };
    for (const [name, value] of [
      ["1 stream up", 12],
      ["4 streams up", 9],
    ] as const) {
      const row = results.row(bulk, name, { name: "rate", unit: "Gbit/s", better: "higher" });
      for (let round = 0; round < 3; round++) {
        results.record(row, "tapir", round, value);
        results.record(row, "forwarder", round, 10);
      }
    }
    const verdict = verdictOf(results, "TCP bulk against the C forwarder, worst of four");
    expect(verdict).toMatchObject({ words: "below the floor", worstCase: "4 streams up", cases: 2 });
  });

  it("knows the measures that goals depend on", () => {
    expect(isGoal({ name: "small-frames" })).toBe(true);
    expect(isGoal({ name: "small-frames-unpinned" })).toBe(false);
  });
});

describe("figures", () => {
  it.each([
    [0, "0"],
    [1.234, "1.23"],
    [12.34, "12.3"],
    [123.4, "123"],
    [12345.6, "12 346"],
  ])("shows %d as %s", (value, words) => {
    expect(figure(value)).toBe(words);
  });

  it("shows spreads as half of them, and none of one round", () => {
    expect(percent(0.05)).toBe("5.0 %");
    expect(withSpread({ median: 2, low: 1.9, high: 2.1, spread: 0.1, count: 3 })).toBe("2 ±5.0 %");
    expect(withSpread({ median: 2, low: 2, high: 2, spread: 0, count: 1 })).toBe("2");
    expect(withSpread(null)).toBe("none");
  });
});

describe("the report", () => {
  const results = smallFrames({ tapir: [9, 9, 9], forwarder: [10, 10, 10] });
  results.skip("lpm: skipped, the time was over");
  results.problem("small-frames, tapir", `sink ended with 1: ${hostname()}: /tmp/some/folder/tapir.sock: refused`);
  results.problem("small-frames, tapir", "123 damaged payloads");
  results.problem("small-frames, tapir", "456 damaged payloads");
  const text = markdownReport(report(results));

  it("shows goals with floor, goal, median and verdict", () => {
    expect(text).toContain(`| ${AGAINST_FORWARDER} | 0.85 | 0.95 | 0.900 ±0.0 % | floor reached |`);
    expect(text).toContain(`| ${AGAINST_KERNEL} | 1.4 | 1.65 |  | not measured |`);
  });

  it("names absent engines, what was skipped, and each problem once", () => {
    expect(text).toContain("* **pasta** is absent: no pasta (Debian: passt)");
    expect(text).toContain("* lpm: skipped, the time was over");
    expect(text).toContain("* small-frames, tapir: many damaged payloads (2 times)");
  });

  it("names neither the host nor folders of the machine", () => {
    for (const content of [text, jsonReport(report(results))]) {
      expect(content).not.toContain("/tmp/");
      expect(content).not.toContain(hostname());
    }
  });

  it("has tables whose rows are as wide as their heads", () => {
    const lines = text.split("\n");
    const width = (line: string) => line.split("|").length;
    lines.forEach((line, index) => {
      if (line.startsWith("|") && lines[index - 1]?.startsWith("|")) expect(width(line)).toBe(width(lines[index - 1]));
    });
  });

  it("is JSON for machines, with every round", () => {
    const content = JSON.parse(jsonReport(report(results)));
    expect(content.rows[0].values).toEqual({ tapir: [9, 9, 9], forwarder: [10, 10, 10] });
    expect(content.goals).toHaveLength(GOALS.length);
    expect(content.skipped).toEqual(["lpm: skipped, the time was over"]);
  });
});

describe("withoutPlaces", () => {
  it.each([
    ["no file /home/me/x.sock here", "no file (path) here"],
    ["node:abc at /a/b/c.js:12", "node:abc at (path):12"],
    ["alpha1: broke", "(host): broke"],
    ["1/2 of 3 and 10.55.66.0/24", "1/2 of 3 and 10.55.66.0/24"],
    ["see https://nodejs.org/en/docs", "see https://nodejs.org/en/docs"],
  ])("turns %j into %j", (before, after) => {
    expect(withoutPlaces(before, "alpha1")).toBe(after);
  });
});

describe("plots", () => {
  it("escape what they show", () => {
    expect(escapeXml('<a & "b">')).toBe("&lt;a &amp; &quot;b&quot;&gt;");
    expect(element("text", { x: 1.26, fill: '"' }, "<")).toBe('<text x="1.3" fill="&quot;">&lt;</text>');
  });

  it("draw a bar for each engine, in proportion, on the scale of their unit", () => {
    const drawing = barPlot(small, smallFrames({ tapir: [1], forwarder: [2] })) ?? "";
    const widths = [...drawing.matchAll(/<rect x="\d+" y="\d+" width="([\d.]+)"/g)].map(([, width]) => Number(width));
    expect(widths).toHaveLength(2);
    expect(widths).toEqual([560, 280]);
    expect(drawing).toContain("Small &lt;frames&gt;");
    expect(drawing).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("draw nothing of nothing", () => {
    expect(barPlot(small, new Results())).toBeUndefined();
    expect(barPlot(small, smallFrames({ tapir: [null] }))).toBeUndefined();
    expect(percentilePlot(small, new Results())).toBeUndefined();
  });

  it("bear values of 0", () => {
    expect(barPlot(small, smallFrames({ tapir: [0] }))).not.toMatch(/NaN|Infinity/);
    expect(percentilePlot(small, smallFrames({ tapir: [0] }))).toBeUndefined();
  });

  it("draw percentiles as lines on a logarithmic scale", () => {
    const results = new Results();
    for (const [name, value] of [
      ["p50", 10],
      ["p99", 100],
      ["p99.9", 1000],
    ] as const) {
      results.record(results.row(small, "paced", { name, unit: "us", better: "lower" }), "tapir", 0, value);
    }
    const drawing = percentilePlot(small, results) ?? "";
    const [, points] = /points="([^"]+)"/.exec(drawing) ?? [];
    const heights = points.split(" ").map((point) => Number(point.split(",")[1]));
    expect(heights[0] - heights[1]).toBeCloseTo(heights[1] - heights[2], 0);
    expect(drawing).not.toMatch(/NaN|undefined|Infinity/);
  });

  it.each([
    [110, 3300, [100, 200, 500, 1000, 2000, 5000]],
    [0.3, 0.4, [0.2, 0.5]],
    [20, 20, [20]],
  ])("mark the scale from %d to %d", (low, high, ticks) => {
    expect(logarithmicTicks(low, high)).toEqual(ticks);
  });
});
