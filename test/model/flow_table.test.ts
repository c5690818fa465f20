/** The flow table against a naive model: a list of flows with two tuples and a deadline each. */
import { describe, expect, it } from "vitest";
import { FLOW_SHIFT, FlowWord } from "../../src/conntrack/flow_layout.ts";
import { type FlowId, FlowTable } from "../../src/conntrack/flow_table.ts";
import { seededRandom } from "../support/router.ts";

interface ModelFlow {
  id: FlowId;
  tuples: [number[], number[]];
  deadline: number;
}

const SEED = Number(process.env.TAPIR_SEED ?? 20_261);

function run(seed: number, capacity: number, steps: number) {
  const random = seededRandom(seed);
  const below = (limit: number): number => (random() >>> 0) % limit;
  const table = new FlowTable(new ArrayBuffer(FlowTable.bytesFor(capacity)), capacity, seed);
  let model: ModelFlow[] = [];
  let now = 0x7fff0000;
  const seen = { hits: 0, misses: 0, full: 0, expired: 0 };
  const alive = (flow: ModelFlow): boolean => ((flow.deadline - now) | 0) > 0;
  // Few values, so that tuples meet often.
  const tuple = (): number[] => [below(6), below(6), below(6), [6, 17][below(2)]];

  const insert = (): void => {
    const forward = tuple();
    const backward = [forward[1] + 100, forward[0], forward[2], forward[3]];
    const isTaken = model.some(
      (flow) => alive(flow) && flow.tuples.some((t) => `${t}` === `${forward}` || `${t}` === `${backward}`),
    );
    if (isTaken) return;
    const id = table.allocate();
    if (id < 0) {
      seen.full++;
      expect(table.count).toBe(capacity);
      return;
    }
    const base = id << FLOW_SHIFT;
    const deadline = (now + 1 + below(4000)) | 0;
    for (const [index, words] of [forward, backward].entries()) {
      for (let i = 0; i < 3; i++) table.words[base + index * 3 + i] = words[i];
    }
    table.words[base + FlowWord.STATUS] = forward[3];
    table.words[base + FlowWord.DEADLINE] = deadline;
    table.insert(id);
    model.push({ id, tuples: [forward, backward], deadline });
  };

  const probe = (): void => {
    const known = model.length > 0 && below(2) === 0 ? model[below(model.length)].tuples[below(2)] : tuple();
    const [source, destination, ports, protocol] = known;
    const expected = model.find((flow) => alive(flow) && flow.tuples.some((t) => `${t}` === `${known}`));
    const found = table.lookup(
      table.hash(source, destination, ports, protocol),
      source,
      destination,
      ports,
      protocol,
      now,
    );
    if (expected === undefined) {
      seen.misses++;
      expect(found).toBe(-1);
    } else {
      seen.hits++;
      expect(found >> 1).toBe(expected.id);
      expect(`${expected.tuples[found & 1]}`).toBe(`${known}`);
    }
  };

  const change = (): void => {
    const live = model.filter(alive);
    if (live.length === 0) return;
    const flow = live[below(live.length)];
    if (below(3) === 0) {
      table.remove(flow.id);
      model = model.filter((other) => other !== flow);
    } else {
      flow.deadline = (now + 1 + below(600)) | 0;
      table.hasten(flow.id, flow.deadline);
    }
  };

  for (let step = 0; step < steps; step++) {
    const what = below(10);
    if (what < 4) insert();
    else if (what < 7) probe();
    else if (what < 8) change();
    else if (what < 9) now = (now + below(60)) | 0;
    else seen.expired += table.sweep(now, 1 + below(capacity));
  }
  // After a whole sweep exactly the flows that the model calls alive are left.
  table.sweep(now, capacity);
  table.sweep(now, capacity);
  expect(table.count).toBe(model.filter(alive).length);
  expect(table.index.size).toBe(table.count * 2);
  return seen;
}

describe("the flow table", () => {
  it.each([0, 1, 2, 3])(`agrees with a list of flows (seed ${SEED} + %i)`, (offset) => {
    const seen = run(SEED + offset, [4, 16, 64, 256][offset], 20_000);
    expect(seen.hits).toBeGreaterThan(200);
    expect(seen.misses).toBeGreaterThan(200);
    expect(seen.expired).toBeGreaterThan(50);
    if (offset < 2) expect(seen.full).toBeGreaterThan(50);
  });

  it("lives through the wrap of the clock: alive a tick before its deadline, gone at it", () => {
    const table = new FlowTable(new ArrayBuffer(FlowTable.bytesFor(4)), 4, 1);
    const id = table.allocate();
    const base = id << FLOW_SHIFT;
    table.words.set([1, 2, 3, 4, 5, 6, 17], base);
    const deadline = (0x7fffffff + 1000) | 0;
    table.words[base + FlowWord.DEADLINE] = deadline;
    table.insert(id);
    const find = (now: number): number => table.lookup(table.hash(1, 2, 3, 17), 1, 2, 3, 17, now);
    expect(find(0x7fffffff)).toBe(id << 1);
    expect(find((deadline - 1) | 0)).toBe(id << 1);
    expect(find(deadline)).toBe(-1);
    expect(table.count).toBe(0);
  });
});
