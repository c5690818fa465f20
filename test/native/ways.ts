/** The two ways in which the engine reads and writes TAPs; what holds of one holds of the other. */
import type { Engine } from "../../src/io/native.ts";

export interface Way {
  readonly name: string;
  readonly ring: boolean;
}

export const WAYS: readonly Way[] = [
  { name: "one system call a frame", ring: false },
  { name: "io_uring", ring: true },
];

/** Throws where the kernel has no io_uring: the tests then say nothing of it. */
export function takeWay(engine: Engine, { ring }: Way): void {
  if (engine.useRing(ring) !== ring) throw new Error("this kernel has no io_uring, or forbids it");
}
