/** Small frames under overload: what arrives when more is offered than anything can carry. */
import { type Load, sendDatagrams } from "./datagrams.ts";
import { type Case, type Context, ENGINES_THAT_ROUTE, type Finding, type Measure, RATE } from "./measure.ts";

function trialMilliseconds(context: Context): number {
  return context.quick ? 700 : 1500;
}

/** Sends the flows once at a moderate rate, so that the table is built before the trial (RFC 9693). */
async function build(context: Context, load: Load): Promise<void> {
  await sendDatagrams(context, { flows: load.flows, count: load.flows, pps: 200_000, milliseconds: 10_000 });
}

async function overload(context: Context, load: Omit<Load, "milliseconds">): Promise<Finding> {
  const milliseconds = trialMilliseconds(context);
  await build(context, { ...load, milliseconds });
  const trial = await sendDatagrams(context, { ...load, milliseconds });
  return { values: { rate: trial.receivedPerSecond / 1e6 }, problems: trial.problems };
}

function flowsCase(flows: number): Case {
  const name = `${flows.toLocaleString("en-US").replaceAll(",", " ")} flow${flows === 1 ? "" : "s"}`;
  return { name, metrics: [RATE], run: (context) => overload(context, { flows }) };
}

const common = {
  engines: ENGINES_THAT_ROUTE,
  flows: 262_144,
  freshEngine: false,
};

export const smallFrames: Measure = {
  ...common,
  name: "small-frames",
  title: "Small frames (60 B), delivered under overload",
  method:
    "Raw UDP datagrams from the container as fast as the generator can; delivered in a second, over the middle of the trial. Flows in turn; the table is built before the trial.",
  placement: "pinned",
  isLong: false,
  cases: [flowsCase(64), flowsCase(10_000)],
};

export const smallFramesUnpinned: Measure = {
  ...smallFrames,
  name: "small-frames-unpinned",
  title: "The same, no process pinned",
  placement: "unpinned",
  isLong: true,
};
