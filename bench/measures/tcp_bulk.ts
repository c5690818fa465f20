/** TCP streams through the engine, from the container (up) and to it (down). */
import { finishProgram, runProgram, startProgram } from "../processes.ts";
import { OUTSIDE } from "../topology.ts";
import type { Case, Context, Finding, Measure, Metric } from "./measure.ts";

const GIGABITS: Metric = { name: "rate", unit: "Gbit/s", better: "higher" };

interface BulkReport {
  gigabitsPerSecond: number;
  damagedStreams: number;
  retransmitted: number;
}

async function bulk(context: Context, streams: number, down: boolean): Promise<Finding> {
  const server = await startProgram("tcpload", { netns: context.world.outside.path, server: true });
  try {
    const report = await runProgram<BulkReport>("tcpload", {
      netns: context.running.container.path,
      to: OUTSIDE,
      streams,
      down,
      ms: context.quick ? 1000 : 2000,
    });
    const problems = report.damagedStreams === 0 ? [] : [`${report.damagedStreams} streams did not arrive whole`];
    return { values: { rate: report.gigabitsPerSecond }, problems };
  } finally {
    await finishProgram(server);
  }
}

function bulkCase(streams: number, down: boolean): Case {
  const name = `${streams} stream${streams === 1 ? "" : "s"} ${down ? "down" : "up"}`;
  return { name, flows: streams, metrics: [GIGABITS], run: (context) => bulk(context, streams, down) };
}

export const tcpBulk: Measure = {
  name: "tcp-bulk",
  title: "TCP bulk, MTU 1500",
  method:
    "Ordinary sockets; bytes acknowledged (up) or read (down) in a second, without the first 300 ms. Nothing is pinned.",
  engines: ["forwarder", "kernel", "kernel-tuned", "tapir", "slirp4netns", "pasta", "ovs"],
  quickEngines: ["forwarder", "kernel", "tapir", "slirp4netns"],
  placement: "unpinned",
  isLong: false,
  cases: [bulkCase(1, false), bulkCase(4, false), bulkCase(1, true), bulkCase(4, true)],
};
