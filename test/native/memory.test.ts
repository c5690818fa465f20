import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { native } from "../../src/io/native.ts";
import { packageRoot } from "../../src/io/package_root.ts";
import { must, onCleanup, requireSystem } from "../support/netns.ts";

const canDrop = requireSystem(["setpriv"], "shared memory without rights");

const CREATOR = `
  const { native } = await import(${JSON.stringify(join(packageRoot(), "dist/src/io/native.js"))});
  const { readFileSync, readlinkSync } = await import("node:fs");
  const made = [3 << 20, 4096].map((length) => native().createMemory("tapir-test", length));
  const names = made.map(({ fd }) => readlinkSync("/proc/self/fd/" + fd).replace(/[0-9]+/, "N"));
  const shared = readFileSync("/proc/self/smaps", "utf8").split(/\\n(?=[0-9a-f]+-)/).filter((each) => each.includes(" rw-s "));
  console.log(JSON.stringify({ names, advised: shared.filter((each) => /^VmFlags:.* hg( |$)/m.test(each)).length }));
`;

/** The files of 3 MiB and 4 KiB of shared memory, and how many mappings are to be on huge pages, in a process of its own. */
function made(...privileges: string[]): unknown {
  return JSON.parse(
    must(undefined, "setpriv", [...privileges, process.execPath, "--input-type=module", "-e", CREATOR]),
  );
}

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

  it.skipIf(!canDrop)(
    "of the size of huge pages may be on them, with the right to mount a file system; without it is a memfd",
    () => {
      const memfd = "/memfd:tapir-test (deleted)";
      expect(made()).toEqual({ names: ["/#N (deleted)", memfd], advised: 1 });
      expect(made("--bounding-set", "-sys_admin")).toEqual({ names: [memfd, memfd], advised: 1 });
    },
  );

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
