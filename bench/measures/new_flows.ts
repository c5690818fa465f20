/** New UDP flows: every datagram is the first of its flow. */
import { sendDatagrams } from "./datagrams.ts";
import type { Context, Finding, Measure, WarmUp } from "./measure.ts";

/** Those of the warm-up and of the trial together stay within the kernel's usual table (nf_conntrack_max 262 144). */
const WARM_UP = 60_000;
const TRIAL = 180_000;
/** Numbers of flows go on from here and do not come back. */
const ENDLESS = 4_000_000;

/** At a rate that leaves time for the compiler. */
export const newFlowsWarmUp: WarmUp = {
  kind: "new flows",
  run: (context, milliseconds) =>
    sendDatagrams(context, {
      flows: ENDLESS,
      count: WARM_UP,
      pps: Math.round(WARM_UP / (milliseconds / 1000)),
      milliseconds: 2 * milliseconds,
    }),
};

export async function newFlows(context: Context): Promise<Finding> {
  const trial = await sendDatagrams(context, {
    flows: ENDLESS,
    firstFlow: WARM_UP,
    count: TRIAL,
    milliseconds: 600,
  });
  const rate = trial.receivedSeconds === 0 ? null : trial.received / trial.receivedSeconds / 1e6;
  return { values: { rate }, problems: trial.problems };
}

export const newFlowsMeasure: Measure = {
  name: "new-flows",
  title: "New UDP flows",
  method:
    "Every datagram begins a flow of its own; 180 000 at most, after 60 000 that do not count, as fast as the generator can; flows whose datagram arrived, in a second.",
  engines: ["forwarder", "forwarder-ring", "kernel", "kernel-tuned", "tapir"],
  placement: "pinned",
  isLong: false,
  warmUp: newFlowsWarmUp,
  cases: [
    {
      name: "every datagram",
      flows: 240_000,
      metrics: [{ name: "rate", unit: "M flows/s", better: "higher" }],
      run: newFlows,
    },
  ],
};
