/** Round-trip time of a paced ping-pong on ordinary UDP sockets. */
import { finishProgram, runProgram, startProgram } from "../processes.ts";
import { OUTSIDE } from "../topology.ts";
import type { Context, Finding, Measure, Metric, WarmUp } from "./measure.ts";

interface PingReport {
  answered: number;
  lost: number;
  p50: number;
  p99: number;
  p999: number;
}

const metric = (name: string): Metric => ({ name, unit: "us", better: "lower" });

interface Questions {
  readonly pps: number;
  readonly count: number;
  readonly skip: number;
}

async function ask(context: Context, questions: Questions): Promise<PingReport> {
  const echo = await startProgram("pingpong", { netns: context.world.outside.path, echo: true, cpu: context.sinkCpu });
  try {
    const place = { netns: context.running.container.path, to: OUTSIDE, cpu: context.loadCpu };
    return await runProgram<PingReport>("pingpong", { ...place, ...questions });
  } finally {
    await finishProgram(echo);
  }
}

async function pingPong(context: Context): Promise<Finding> {
  // Short, and often: what else the machine does for some milliseconds is in few of them.
  const { answered, lost, p50, p99, p999 } = await ask(context, { pps: 1000, count: 1000, skip: 200 });
  const problems = lost === 0 ? [] : [`${lost} questions were not answered`];
  return { values: answered === 0 ? {} : { p50, p99, "p99.9": p999 }, problems };
}

/** One question after the other, which is as fast as it goes; some ten are answered in a millisecond. */
const pingPongWarmUp: WarmUp = {
  kind: "ping-pong",
  run: (context, milliseconds) => ask(context, { pps: 100_000, count: milliseconds * 5, skip: 0 }),
};

export const latency: Measure = {
  name: "latency",
  title: "Latency of a paced ping-pong",
  method:
    "1 000 questions in a second over ordinary UDP sockets, each answered at once; client and server share a processor, the engine has the other.",
  engines: ["forwarder", "forwarder-ring", "kernel", "tapir", "slirp4netns", "pasta", "ovs"],
  placement: "pinned",
  trials: 8,
  isLong: false,
  quickEngines: ["forwarder", "tapir"],
  warmUp: pingPongWarmUp,
  plot: "percentiles",
  cases: [
    {
      name: "1 000 a second",
      flows: 1,
      metrics: [metric("p50"), metric("p99"), metric("p99.9")],
      run: pingPong,
    },
  ],
};
