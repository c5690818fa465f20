import { describe, expect, it } from "vitest";
import { native } from "../../src/io/native.ts";
import { onCleanup } from "../support/netns.ts";

describe("memory", () => {
  it("is shared between two mappings of one descriptor", () => {
    const { fd, memory } = native().createMemory("tapir-test", 3 << 20);
    onCleanup(() => native().closeDescriptor(fd));
    const other = native().mapMemory(fd);
    expect(memory.byteLength).toBe(3 << 20);
    expect(other.byteLength).toBe(3 << 20);
    const [mine, theirs] = [new Int32Array(memory), new Int32Array(other)];
    expect(mine.every((word) => word === 0)).toBe(true);
    mine[7] = 0x1234;
    theirs[theirs.length - 1] = -5;
    expect(theirs[7]).toBe(0x1234);
    expect(mine[mine.length - 1]).toBe(-5);
  });

  it("stays mapped when its descriptor is closed", () => {
    const { fd, memory } = native().createMemory("tapir-test", 4096);
    const other = native().mapMemory(fd);
    native().closeDescriptor(fd);
    new Uint8Array(memory).fill(7);
    expect(new Uint8Array(other)[4095]).toBe(7);
  });

  it("comes zeroed", () => {
    const words = new Int32Array(native().allocateMemory((2 << 20) + 4096));
    expect(words.length).toBe(((2 << 20) + 4096) / 4);
    expect(words.every((word) => word === 0)).toBe(true);
  });

  it("refuses sizes and descriptors that are none", () => {
    for (const size of [0, -1, Number.NaN]) expect(() => native().allocateMemory(size)).toThrow("positive");
    expect(() => native().createMemory("x", 2 ** 62)).toThrow(/EFBIG|EINVAL|ENOMEM|EUNKNOWN/);
    expect(() => native().mapMemory(-1)).toThrow("EBADF");
  });

  it("has a clock that goes on", () => {
    const first = native().monotonicMilliseconds();
    expect(first).toBeGreaterThan(0);
    expect(native().monotonicMilliseconds()).toBeGreaterThanOrEqual(first);
  });
});
