/** TCP streams through the engine, from the container (up) and to it (down). */
import { finishProgram, runProgram, startProgram } from "../processes.ts";
import { OUTSIDE } from "../topology.ts";
import type { Case, Context, Finding, Measure, Metric, WarmUp } from "./measure.ts";

const GIGABITS: Metric = { name: "rate", unit: "Gbit/s", better: "higher" };

interface BulkReport {
  gigabitsPerSecond: number;
  damagedStreams: number;
  retransmitted: number;
}

export interface Bulk {
  readonly streams: number;
  readonly down: boolean;
  readonly ms: number;
}

export async function carry(context: Context, load: Bulk): Promise<BulkReport> {
  const server = await startProgram("tcpload", { netns: context.world.outside.path, server: true });
  try {
    const place = { netns: context.running.container.path, to: OUTSIDE };
    return await runProgram<BulkReport>("tcpload", { ...place, ...load });
  } finally {
    await finishProgram(server);
  }
}

async function bulk(context: Context, streams: number, down: boolean): Promise<Finding> {
  const report = await carry(context, { streams, down, ms: context.quick ? 1000 : 1300 });
  const problems = report.damagedStreams === 0 ? [] : [`${report.damagedStreams} streams did not arrive whole`];
  return { values: { rate: report.gigabitsPerSecond }, problems };
}

/** Longer than what the program leaves out at the beginning. */
const LEAST_MS = 400;

const bulkWarmUp: WarmUp = {
  kind: "TCP bulk",
  run: async (context, milliseconds) => {
    const ms = Math.max(LEAST_MS, milliseconds / 2);
    await carry(context, { streams: 1, down: false, ms });
    await carry(context, { streams: 1, down: true, ms });
  },
};

function bulkCase(streams: number, down: boolean): Case {
  const name = `${streams} stream${streams === 1 ? "" : "s"} ${down ? "down" : "up"}`;
  return {
    name,
    flows: streams,
    isLong: streams > 1,
    metrics: [GIGABITS],
    run: (context) => bulk(context, streams, down),
  };
}

export const tcpBulk: Measure = {
  name: "tcp-bulk",
  title: "TCP bulk, MTU 1500",
  method:
    "Ordinary sockets; bytes acknowledged (up) or read (down) in a second, without the first 300 ms. Nothing is pinned.",
  engines: ["forwarder", "forwarder-ring", "kernel", "kernel-tuned", "tapir", "slirp4netns", "pasta", "ovs"],
  quickEngines: ["forwarder", "kernel", "tapir", "slirp4netns"],
  placement: "unpinned",
  trials: 4,
  isLong: false,
  warmUp: bulkWarmUp,
  cases: [bulkCase(1, false), bulkCase(4, false), bulkCase(1, true), bulkCase(4, true)],
};
