import { describe, expect, it } from "vitest";
import { ENGINES, MEASURES } from "../../bench/catalogue.ts";
import { casesOf, enginesOf } from "../../bench/measures/measure.ts";
import { GOALS } from "../../bench/report/goals.ts";
import { enginesOfUnit, expectedSeconds, unitsOf } from "../../bench/units.ts";

const QUICK = MEASURES.filter(({ isLong }) => !isLong);
const QUICK_MINUTES = 3;

describe("the catalogue", () => {
  it("has each name once, and measures ask for engines that exist", () => {
    const names = ENGINES.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(new Set(MEASURES.map(({ name }) => name)).size).toBe(MEASURES.length);
    for (const { engines, quickEngines } of MEASURES) {
      for (const name of [...engines, ...(quickEngines ?? [])]) expect(names).toContain(name);
    }
  });

  it("has what each goal takes", () => {
    for (const goal of GOALS) {
      const measure = MEASURES.find(({ name }) => name === goal.measure);
      expect(measure, goal.title).toBeDefined();
      for (const name of [...goal.cases, ...(goal.againstCase === undefined ? [] : [goal.againstCase])]) {
        const metrics = measure?.cases.find((entry) => entry.name === name)?.metrics.map((metric) => metric.name);
        expect(metrics, `${goal.title}: ${name}`).toContain(goal.metric);
      }
      const engines = [goal.engine, ...(goal.against === undefined ? [] : [goal.against])];
      for (const engine of engines) expect(measure?.engines, goal.title).toContain(engine);
    }
  });

  it("sends no load through a router that is still being compiled", () => {
    const cold = MEASURES.filter(({ warmUp, engines }) => warmUp === undefined && engines.includes("tapir"));
    expect(cold).toEqual([]);
  });

  it("has something for a quick run in each measure that is part of one", () => {
    for (const measure of QUICK) {
      expect(casesOf(measure, true), measure.name).not.toEqual([]);
      expect(enginesOf(measure, true), measure.name).not.toEqual([]);
    }
  });
});

describe("unitsOf", () => {
  it("has each measure once", () => {
    for (const quick of [false, true]) {
      const names = unitsOf(MEASURES, quick).flatMap(({ measures }) => measures.map(({ name }) => name));
      expect(names.sort()).toEqual(MEASURES.map(({ name }) => name).sort());
    }
  });

  it("shares engines in a quick run only, and only where things are placed alike", () => {
    expect(unitsOf(MEASURES, false).every(({ measures }) => measures.length === 1)).toBe(true);
    const shared = unitsOf(MEASURES, true).filter(({ measures }) => measures.length > 1);
    expect(shared.length).toBeGreaterThan(0);
    for (const { placement, measures } of shared) {
      expect(measures.every((measure) => measure.placement === placement && measure.needsOwnEngine !== true)).toBe(
        true,
      );
    }
  });

  it("expects three rounds of a quick run to fit its time", () => {
    let seconds = 0;
    const warmUpSeconds = (name: string) => (name.startsWith("tapir") ? 2 : 0.3);
    for (const unit of unitsOf(QUICK, true)) {
      const rounds = unit.measures.some(({ mostRounds }) => mostRounds !== undefined) ? 1 : 3;
      seconds += rounds * expectedSeconds(unit, enginesOfUnit(unit, true), warmUpSeconds, true);
    }
    expect(seconds).toBeLessThan(QUICK_MINUTES * 60);
  });
});
