/** Parts of Tapir without devices and system calls, each in a process of its own. */
import { join } from "node:path";
import { V8_FLAGS } from "../../src/control/dataplane_process.ts";
import { packageRoot } from "../../src/io/package_root.ts";
import type { LpmBenchmark } from "../lpm.ts";
import type { PipelineResult } from "../pipeline_memory.ts";
import { Started } from "../processes.ts";
import { copyWithoutHooks } from "../without_hooks.ts";
import { type Case, type Measure, plainNumber } from "./measure.ts";

const DIST = join(packageRoot(), "dist");

/** Calls a function of one of the bench's modules in a fresh process, with the dataplane's settings of V8. */
async function callInProcess<T>(dist: string, module: string, name: string, ...words: readonly unknown[]): Promise<T> {
  const file = join(dist, "bench", module);
  const call = `import { ${name} } from ${JSON.stringify(file)};
console.log(JSON.stringify(${name}(...${JSON.stringify(words)})));`;
  const program = new Started(process.execPath, [...V8_FLAGS, "--input-type=module", "-e", call]);
  const status = await program.ended;
  if (status !== 0) throw new Error(`${module} ended with ${status}: ${program.lastLines()}`);
  return JSON.parse(program.output) as T;
}

/** In one process: the first is the compiler's, and of the others a neighbour on the machine may have spoilt one. */
const RUNS = 4;
const QUICK_RUNS = 2;

function pipelineCase(flows: number): Case {
  return {
    name: `${plainNumber(flows)} flows`,
    flows: 0,
    seconds: 10,
    isLong: flows === 100_000,
    metrics: [
      { name: "rate", unit: "Mpps", better: "higher" },
      { name: "time", unit: "ns/packet", better: "lower" },
      { name: "new flows", unit: "M/s", better: "higher" },
      { name: "memory of a flow", unit: "B", better: "lower" },
    ],
    run: async ({ quick }) => {
      const runs = quick ? QUICK_RUNS : RUNS;
      const result = await callInProcess<PipelineResult>(DIST, "pipeline_memory.js", "bestPipeline", flows, runs);
      return {
        values: {
          rate: result.packetsPerSecond / 1e6,
          time: result.nanosecondsPerPacket,
          "new flows": result.newFlowsPerSecond / 1e6,
          "memory of a flow": result.bytesPerFlow,
        },
        problems: [],
      };
    },
  };
}

const common = { engines: ["memory"], placement: "unpinned", isLong: false, mostRounds: 3 } as const;

export const pipelineMeasure: Measure = {
  ...common,
  mostRounds: 2,
  name: "pipeline",
  title: "The whole pipeline in memory (L0)",
  method:
    "Full NAT and filter on 60-byte frames of known flows in random order, in bursts, without devices: absolute figures of one core, the best of four runs (two in a quick run). The harness's own time is measured and taken off.",
  cases: [1000, 100_000, 1_000_000].map(pipelineCase),
};

/** Pairs of processes, with and without, one after the other. */
const PAIRS = 8;

export const hooksMeasure: Measure = {
  ...common,
  mostRounds: 1,
  name: "hooks",
  title: "Captures and traces that nobody uses",
  method:
    "The pipeline in memory (1 000 flows) as it is, and the same code without the places that look whether a capture or a trace wants to see a frame: pairs of processes in turn, the best of each, since what else the machine does can only slow them, and the difference of the two. One in a hundred of the time of a small frame on TAPs (L1) is 10 ns and more.",
  isLong: true,
  cases: [
    {
      name: "1 000 flows",
      flows: 0,
      seconds: 45,
      metrics: [
        { name: "as it is", unit: "ns/packet", better: "lower" },
        { name: "without", unit: "ns/packet", better: "lower" },
        { name: "cost", unit: "ns/packet", better: "lower" },
      ],
      run: async () => {
        const { folder } = copyWithoutHooks();
        const time = async (dist: string) =>
          (await callInProcess<PipelineResult>(dist, "pipeline_memory.js", "bestPipeline", 1000, QUICK_RUNS))
            .nanosecondsPerPacket;
        let [best, without] = [Infinity, Infinity];
        for (let pair = 0; pair < PAIRS; pair++) {
          best = Math.min(best, await time(DIST));
          without = Math.min(without, await time(folder));
        }
        return { values: { "as it is": best, without, cost: best - without }, problems: [] };
      },
    },
  ],
};

function lpmCase(routes: number): Case {
  return {
    name: `${plainNumber(routes)} route${routes === 1 ? "" : "s"}`,
    flows: 0,
    seconds: 8,
    metrics: [
      { name: "look-ups", unit: "M/s", better: "higher" },
      { name: "memory", unit: "MB", better: "lower" },
      { name: "worst update", unit: "ms", better: "lower" },
      { name: "median update", unit: "us", better: "lower" },
    ],
    run: async () => {
      const result = await callInProcess<LpmBenchmark>(DIST, "lpm.js", "benchmarkLpm", routes);
      return {
        values: {
          "look-ups": result.lookupsPerSecond / 1e6,
          memory: result.memoryBytes / 1e6,
          "worst update": result.worstUpdateMs,
          "median update": result.medianUpdateUs,
        },
        problems: [],
      };
    },
  };
}

export const lpmMeasure: Measure = {
  ...common,
  name: "lpm",
  title: "Longest-prefix match in memory",
  method:
    "Prefixes as in a full Internet table, uniformly random addresses; absolute figures of one core. An update inserts or removes one route of the full table.",
  isLong: true,
  cases: [1, 10_000, 1_000_000].map(lpmCase),
};
