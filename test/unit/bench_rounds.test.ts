import { describe, expect, it } from "vitest";
import type { Engine } from "../../bench/engines/engine.ts";
import type { Measure } from "../../bench/measures/measure.ts";
import { groupsOf } from "../../bench/rounds.ts";

const engine = (name: string, isFarOff = false): Engine => ({
  name,
  title: name,
  isFarOff,
  unavailable: () => null,
  start: () => Promise.reject(new Error("not to be started")),
});

const measure = (more: Partial<Measure>): Measure => ({
  name: "m",
  title: "M",
  method: "",
  engines: [],
  placement: "pinned",
  isLong: false,
  cases: [],
  ...more,
});

const namesOf = (groups: Engine[][]): string[][] => groups.map((group) => group.map(({ name }) => name));

describe("groupsOf", () => {
  const engines = [engine("slow", true), engine("limit"), engine("slower", true), engine("kernel")];

  it("has those that are close to each other take trials in turn, and the others come one by one", () => {
    expect(namesOf(groupsOf(engines, [measure({})]))).toEqual([["limit", "kernel"], ["slow"], ["slower"]]);
  });

  it("starts one after the other where a measure needs an engine of its own", () => {
    const alone = [["slow"], ["limit"], ["slower"], ["kernel"]];
    expect(namesOf(groupsOf(engines, [measure({}), measure({ needsOwnEngine: true })]))).toEqual(alone);
  });

  it("has no group without engines", () => {
    expect(groupsOf([engine("slow", true)], [measure({})])).toHaveLength(1);
    expect(groupsOf([], [measure({})])).toEqual([]);
  });
});
