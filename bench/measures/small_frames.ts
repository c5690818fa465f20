/** Frames under overload: what arrives when more is offered than anything can carry. */
import { memoryBytes } from "../machine.ts";
import { datagramWarmUp, sendDatagrams, trialMs } from "./datagrams.ts";
import { type Case, type Context, type Finding, type Measure, type Metric, plainNumber, RATE } from "./measure.ts";

/** How fast a table is filled before a trial (RFC 9693: first the table, then the measurement). */
const FILL_PER_SECOND = 100_000;
const FILL_AGAIN_SHARE = 0.002;

/** Sends each flow's first datagram, and again where too many were lost. Returns false when flows are missing still. */
export async function fillTable(context: Context, flows: number): Promise<boolean> {
  if (context.running.isStateless) return true;
  const milliseconds = Math.ceil((flows / FILL_PER_SECOND) * 3000) + 500;
  for (let attempt = 0; attempt < 3; attempt++) {
    const trial = await sendDatagrams(context, {
      flows,
      count: flows,
      pps: Math.round(FILL_PER_SECOND / (attempt + 1)),
      milliseconds,
    });
    if (trial.loss <= FILL_AGAIN_SHARE) return true;
  }
  return false;
}

export const NOT_FILLED = "not all flows could be set up before the trial";

export interface Overload {
  readonly flows: number;
  readonly size?: number | "imix";
  readonly random?: boolean;
}

export async function overload(context: Context, load: Overload): Promise<Finding> {
  const isFilled = await fillTable(context, load.flows);
  const trial = await sendDatagrams(context, { ...load, milliseconds: trialMs(context) });
  const problems = isFilled ? trial.problems : [...trial.problems, NOT_FILLED];
  return { values: { rate: trial.receivedPerSecond / 1e6 }, problems };
}

export function flowsName(flows: number): string {
  return `${plainNumber(flows)} flow${flows === 1 ? "" : "s"}`;
}

/** About how long it takes to fill the table, in seconds. */
export function fillSeconds(flows: number): number {
  return flows / FILL_PER_SECOND + 0.3;
}

function flowsCase(flows: number): Case {
  return {
    name: flowsName(flows),
    flows,
    seconds: fillSeconds(flows) + 2,
    metrics: [RATE],
    run: (context) => overload(context, { flows }),
  };
}

export const smallFrames: Measure = {
  name: "small-frames",
  title: "Small frames (60 B), delivered under overload (L1)",
  method:
    "Raw UDP datagrams from the container as fast as the generator can; delivered in a second, over the middle of the trial. Flows in turn; the table is built before the trial. Generator on the first processor, engine on the second.",
  engines: ["forwarder", "forwarder-ring", "kernel", "kernel-tuned", "tapir", "tapir-packet"],
  placement: "pinned",
  trials: 5,
  isLong: false,
  warmUp: datagramWarmUp,
  cases: [{ ...flowsCase(64), isLong: true }, flowsCase(10_000)],
};

export const smallFramesUnpinned: Measure = {
  ...smallFrames,
  name: "small-frames-unpinned",
  title: "Small frames, no process pinned",
  method: "As above; the scheduler places generator, engine and receiver.",
  engines: ["forwarder", "kernel", "kernel-tuned", "tapir"],
  trials: 3,
  mostRounds: 1,
  placement: "unpinned",
  isLong: true,
};

export const smallFramesOthers: Measure = {
  ...smallFrames,
  name: "small-frames-others",
  title: "Small frames, the other user-space engines",
  method: "As above, with 64 flows: each takes a socket of slirp4netns and of pasta.",
  engines: ["slirp4netns", "pasta", "ovs", "tapir"],
  trials: 1,
  isLong: true,
  cases: [flowsCase(64)],
};

const BYTES_PER_FLOW: Metric = { name: "memory of a flow", unit: "B", better: "lower" };
const MANY = 1_000_000;

/** What a million flows do to the rate, and how much the engine's processes grow by them. */
async function manyFlows(context: Context): Promise<Finding> {
  const before = memoryBytes(context.running.pids);
  const isFilled = await fillTable(context, MANY);
  const grown = memoryBytes(context.running.pids) - before;
  const trial = await sendDatagrams(context, { flows: MANY, random: true, milliseconds: 1500 });
  return {
    values: {
      rate: trial.receivedPerSecond / 1e6,
      [BYTES_PER_FLOW.name]: grown > 0 && !context.running.isStateless ? grown / MANY : null,
    },
    problems: isFilled ? trial.problems : [...trial.problems, NOT_FILLED],
  };
}

export const manyFlowsMeasure: Measure = {
  ...smallFrames,
  name: "many-flows",
  title: "Small frames of 1 000 and 1 000 000 flows in random order",
  method:
    "As above. The memory of a flow is what the engine's processes grew by while the flows were set up (proportional set size); what Tapir had fetched of its table before, up to 64 MiB, is not in it. The kernel's table holds nf_conntrack_max flows, a limit of the whole host that the bench does not change.",
  engines: ["forwarder", "kernel", "tapir"],
  trials: 1,
  mostRounds: 3,
  needsOwnEngine: true,
  isLong: true,
  cases: [
    {
      name: flowsName(1000),
      flows: 1000,
      metrics: [RATE],
      run: (context) => overload(context, { flows: 1000, random: true }),
    },
    {
      name: flowsName(MANY),
      flows: MANY,
      seconds: fillSeconds(MANY) + 2,
      metrics: [RATE, BYTES_PER_FLOW],
      run: manyFlows,
    },
  ],
};
