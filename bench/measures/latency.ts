/** Round-trip time of a paced ping-pong on ordinary UDP sockets. */
import { finishProgram, runProgram, startProgram } from "../processes.ts";
import { OUTSIDE } from "../topology.ts";
import type { Context, Finding, Measure, Metric } from "./measure.ts";

interface PingReport {
  answered: number;
  lost: number;
  p50: number;
  p99: number;
  p999: number;
}

const metric = (name: string): Metric => ({ name, unit: "us", better: "lower" });

async function pingPong(context: Context): Promise<Finding> {
  const echo = await startProgram("pingpong", { netns: context.world.outside.path, echo: true, cpu: context.sinkCpu });
  try {
    const { answered, lost, p50, p99, p999 } = await runProgram<PingReport>("pingpong", {
      netns: context.running.container.path,
      to: OUTSIDE,
      pps: 1000,
      count: context.quick ? 1000 : 3000,
      skip: 300,
      cpu: context.loadCpu,
    });
    const problems = lost === 0 ? [] : [`${lost} questions were not answered`];
    return { values: answered === 0 ? {} : { p50, p99, "p99.9": p999 }, problems };
  } finally {
    await finishProgram(echo);
  }
}

export const latency: Measure = {
  name: "latency",
  title: "Latency of a paced ping-pong",
  method:
    "1 000 questions in a second over ordinary UDP sockets, each answered at once; client and server share a processor, the engine has the other.",
  engines: ["forwarder", "kernel", "tapir", "slirp4netns", "pasta", "ovs"],
  placement: "pinned",
  isLong: false,
  cases: [
    { name: "1 000 a second", flows: 1, metrics: [metric("p50"), metric("p99"), metric("p99.9")], run: pingPong },
  ],
};
