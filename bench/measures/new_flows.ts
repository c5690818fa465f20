/** New UDP flows: every datagram is the first of its flow. */
import { sendDatagrams } from "./datagrams.ts";
import type { Context, Finding, Measure } from "./measure.ts";

/** Before the trial, so that a just-in-time compiler has seen the path. */
const WARM_UP = 20_000;
/** All flows of a trial stay within the kernel's usual table (nf_conntrack_max 262 144). */
const TRIAL = 220_000;
/** Numbers of flows go on from here and do not come back. */
const ENDLESS = 4_000_000;

async function newFlows(context: Context): Promise<Finding> {
  await sendDatagrams(context, { flows: ENDLESS, count: WARM_UP, pps: 40_000, milliseconds: 2000 });
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
    "Every datagram begins a flow of its own; 220 000 at most, as fast as the generator can; flows whose datagram arrived, in a second.",
  engines: ["forwarder", "kernel", "kernel-tuned", "tapir"],
  placement: "pinned",
  isLong: false,
  cases: [
    {
      name: "every datagram",
      flows: 240_000,
      metrics: [{ name: "rate", unit: "M flows/s", better: "higher" }],
      run: newFlows,
    },
  ],
};
