import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { PageFetcher } from "../../src/dataplane/page_fetcher.ts";
import { native } from "../../src/io/native.ts";
import { onCleanup } from "../support/netns.ts";

/** KiB that this process has of a mapping of `bytes`. */
function residentOf(bytes: number): number {
  const mappings = readFileSync("/proc/self/smaps", "utf8").split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/);
  const found = mappings.find((each) => each.includes(" rw-s ") && each.includes(` ${bytes >> 10} kB\n`));
  return Number(/^Rss: +(\d+) kB$/m.exec(found as string)?.[1]);
}

it("has the kernel provide shared memory, 2 MiB a turn, and no more than 64 MiB", () => {
  const bytes = (70 << 20) + 4096;
  const { fd, memory } = native().createMemory("tapir-test", bytes);
  onCleanup(() => native().closeDescriptor(fd));
  const fetcher = new PageFetcher(memory);
  expect(residentOf(bytes)).toBe(0);
  fetcher.run();
  expect(residentOf(bytes)).toBe(2 << 10);
  for (let turn = 0; turn < 40; turn++) fetcher.run();
  expect(residentOf(bytes)).toBe(64 << 10);
  expect(new Int32Array(memory).every((word) => word === 0)).toBe(true);
});
