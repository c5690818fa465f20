import { describe, expect, it } from "vitest";
import type { Engine } from "../../bench/engines/engine.ts";
import { groupsOf } from "../../bench/rounds.ts";

const engine = (name: string, isFarOff = false): Engine => ({
  name,
  title: name,
  isFarOff,
  unavailable: () => null,
  start: () => Promise.reject(new Error("not to be started")),
});

const namesOf = (groups: Engine[][]): string[][] => groups.map((group) => group.map(({ name }) => name));

describe("groupsOf", () => {
  const engines = [engine("slow", true), engine("limit"), engine("slower", true), engine("kernel")];

  it("has those that are close to each other take trials in turn, and the others come one by one", () => {
    expect(namesOf(groupsOf(engines, 3))).toEqual([["limit", "kernel"], ["slow"], ["slower"]]);
  });

  it("starts one after the other where each has one trial", () => {
    expect(namesOf(groupsOf(engines, 1))).toEqual([["slow"], ["limit"], ["slower"], ["kernel"]]);
  });

  it("has no group without engines", () => {
    expect(groupsOf([engine("slow", true)], 3)).toHaveLength(1);
    expect(groupsOf([], 3)).toEqual([]);
  });
});
