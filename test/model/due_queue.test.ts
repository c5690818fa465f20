/** The queue of frames that wait, beside a list that is sorted anew for each step. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DueQueue } from "../../src/dataplane/due_queue.ts";
import { SEEDS } from "../support/seeds.ts";

interface Waiting {
  due: number;
  order: number;
  slot: number;
  port: number;
}

const CAPACITY = 32;

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("push" as const), due: fc.nat(9), port: fc.nat(2) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("pop" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("takeAllOf" as const), port: fc.nat(2) }) },
);

describe("the queue of frames that wait", () => {
  it.each(SEEDS)("gives them out by their times, and by their order where these are equal (seed %i)", (seed) => {
    let popped = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 60, maxLength: 120 }), (steps) => {
        const queue = new DueQueue(CAPACITY);
        let model: Waiting[] = [];
        for (const [order, each] of steps.entries()) {
          if (each.kind === "push") {
            expect(queue.isFull).toBe(model.length === CAPACITY);
            if (queue.isFull) continue;
            queue.push(each.due, order, each.port);
            model.push({ due: each.due, order, slot: order, port: each.port });
            model.sort((left, right) => left.due - right.due || left.order - right.order);
          } else if (each.kind === "takeAllOf") {
            expect(queue.countOf(each.port)).toBe(model.filter(({ port }) => port === each.port).length);
            const slots = model.filter(({ port }) => port === each.port).map(({ slot }) => slot);
            expect(queue.takeAllOf(each.port)).toEqual(slots);
            model = model.filter(({ port }) => port !== each.port);
          } else if (model.length > 0) {
            const next = model.shift();
            popped++;
            queue.pop();
            expect([queue.slot, queue.port]).toEqual([next?.slot, next?.port]);
          }
          expect(queue.size).toBe(model.length);
          expect(queue.nextDue).toBe(model[0]?.due ?? Number.POSITIVE_INFINITY);
        }
      }),
      { seed, numRuns: 300 },
    );
    expect(popped).toBeGreaterThan(1000);
  });
});
