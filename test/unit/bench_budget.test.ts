import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allotRounds, type Request, shortfall } from "../../bench/budget.ts";

const request = (more: Partial<Request>): Request => ({
  name: "one",
  seconds: 10,
  done: 0,
  wanted: 3,
  most: 10,
  isGoal: false,
  ...more,
});

const anyRequest = fc.record({
  name: fc.constant("any"),
  seconds: fc.double({ min: 0.5, max: 100, noNaN: true }),
  done: fc.integer({ min: 0, max: 4 }),
  wanted: fc.constant(3),
  most: fc.integer({ min: 1, max: 10 }),
  isGoal: fc.boolean(),
});

describe("allotRounds", () => {
  it("gives the goals what a verdict needs before anything else gets a round", () => {
    const requests = [request({}), request({ isGoal: true }), request({})];
    expect(allotRounds(requests, 30)).toEqual([0, 3, 0]);
    expect(allotRounds(requests, 40)).toEqual([1, 3, 0]);
  });

  it("hands out what is left round by round, in order", () => {
    const requests = [request({}), request({}), request({})];
    expect(allotRounds(requests, 50)).toEqual([2, 2, 1]);
  });

  it("fits a short one where a long one no longer fits", () => {
    expect(allotRounds([request({ seconds: 100 }), request({ seconds: 20 })], 50)).toEqual([0, 2]);
  });

  it("counts the rounds that are done", () => {
    const requests = [request({ isGoal: true, done: 2 }), request({ isGoal: true })];
    expect(allotRounds(requests, 40)).toEqual([1, 3]);
  });

  it("asks for no more rounds than say something", () => {
    expect(allotRounds([request({ most: 1, isGoal: true })], 1000)).toEqual([1]);
    expect(allotRounds([request({ most: 1, done: 1 })], 1000)).toEqual([0]);
  });

  it("gives nothing when the time is over", () => {
    expect(allotRounds([request({ isGoal: true })], -5)).toEqual([0]);
    expect(allotRounds([], 100)).toEqual([]);
  });

  it("never plans more than the time, and leaves no time in which a wanted round would fit", () => {
    fc.assert(
      fc.property(
        fc.array(anyRequest, { maxLength: 8 }),
        fc.double({ min: 0, max: 2000, noNaN: true }),
        (list, time) => {
          const further = allotRounds(list, time);
          const used = list.reduce((sum, { seconds }, index) => sum + seconds * further[index], 0);
          expect(used).toBeLessThanOrEqual(time + 1e-6);
          list.forEach(({ seconds, done, most }, index) => {
            expect(done + further[index]).toBeLessThanOrEqual(Math.max(done, most));
            if (done + further[index] < most) expect(seconds).toBeGreaterThan(time - used - 1e-6);
          });
        },
      ),
    );
  });
});

describe("shortfall", () => {
  it("names what was skipped, and what got too few rounds", () => {
    expect(shortfall(request({ name: "lpm" }))).toBe("lpm: skipped, the time was over");
    expect(shortfall(request({ name: "lpm", done: 2 }))).toBe("lpm: 2 of 3 rounds, the time was over");
  });

  it("says nothing of what got enough", () => {
    expect(shortfall(request({ done: 3 }))).toBeUndefined();
    expect(shortfall(request({ done: 1, most: 1 }))).toBeUndefined();
  });
});
