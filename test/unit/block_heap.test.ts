import { describe, expect, it } from "vitest";
import { BlockHeap, LARGEST_BLOCK_UNITS, UNIT_WORDS } from "../../src/routing/block_heap.ts";
import { SEEDS } from "../support/seeds.ts";

const START = 3;
const UNITS = 4_000;

function heapOf(units: number): { heap: BlockHeap; words: Int32Array } {
  const words = new Int32Array(units * UNIT_WORDS);
  return { heap: new BlockHeap(words, START), words };
}

/** A seeded generator of numbers below a limit (xorshift). */
function randomSource(seed: number): (below: number) => number {
  let state = seed | 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

describe("block heap", () => {
  it("joins a freed block with its neighbours, in whatever order they are freed", () => {
    for (const order of [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ]) {
      const { heap } = heapOf(UNITS);
      const blocks = [heap.allocate(5), heap.allocate(7), heap.allocate(9)];
      const behind = heap.allocate(1);
      for (const index of order) heap.free(blocks[index], [5, 7, 9][index]);
      expect(heap.allocate(21), `order ${order}`).toBe(START);
      expect(heap.top, `order ${order}`).toBe(behind + 1);
    }
  });

  it("takes the smallest free block that is large enough, and keeps what is left of it", () => {
    const { heap } = heapOf(UNITS);
    const large = heap.allocate(40);
    heap.allocate(1);
    const small = heap.allocate(10);
    heap.allocate(1);
    const top = heap.top;
    heap.free(large, 40);
    heap.free(small, 10);
    expect(heap.allocate(8)).toBe(small);
    expect(heap.allocate(2)).toBe(small + 8);
    expect(heap.allocate(11)).toBe(large);
    expect(heap.allocate(29)).toBe(large + 11);
    expect(heap.top).toBe(top);
  });

  it("gives everything back when all is freed, also more than one free block can hold", () => {
    const { heap } = heapOf(UNITS);
    const blocks = Array.from({ length: 10 }, () => heap.allocate(100));
    for (const block of blocks) heap.free(block, 100);
    expect(heap.top).toBe(START);
    expect(heap.highWater).toBe(START + 1_000);
    expect(heap.allocate(LARGEST_BLOCK_UNITS)).toBe(START);
  });

  it("refuses what does not fit, and goes on", () => {
    const { heap } = heapOf(START + 10);
    const block = heap.allocate(10);
    expect(() => heap.allocate(1)).toThrow(RangeError);
    heap.free(block, 10);
    expect(heap.allocate(1)).toBe(START);
  });

  it.each(SEEDS)("never hands a unit out twice (seed %i)", (seed) => {
    const random = randomSource(seed);
    const { heap, words } = heapOf(200_000);
    const held: { block: number; units: number; mark: number }[] = [];
    for (let step = 0; step < 20_000; step++) {
      if (random(1_000) < (step % 4_000 < 2_000 ? 700 : 300)) {
        const units = 1 + random(random(10) === 0 ? LARGEST_BLOCK_UNITS : 12);
        const block = heap.allocate(units);
        words.fill(step, block * UNIT_WORDS, (block + units) * UNIT_WORDS);
        held.push({ block, units, mark: step });
      } else if (held.length > 0) {
        const [{ block, units, mark }] = held.splice(random(held.length), 1);
        const content = words.subarray(block * UNIT_WORDS, (block + units) * UNIT_WORDS);
        expect(
          content.every((word) => word === mark),
          `seed ${seed}, step ${step}`,
        ).toBe(true);
        heap.free(block, units);
      }
    }
    for (const { block, units } of held) heap.free(block, units);
    expect(heap.top, `seed ${seed}`).toBe(START);
  });
});
