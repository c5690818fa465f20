import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    // Much of a test's time is waiting for devices and processes: a file for each processor, though vitest keeps one free.
    maxWorkers: Math.max(2, Math.min(4, availableParallelism())),
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
