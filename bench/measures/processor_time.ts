/** What a million packets cost the whole machine, at a rate that every engine can carry. */
import { busySeconds } from "../machine.ts";
import { datagramWarmUp, sendDatagrams } from "./datagrams.ts";
import type { Context, Finding, Measure } from "./measure.ts";
import { fillTable } from "./small_frames.ts";

const FLOWS = 1000;
const RATE_PPS = 100_000;

async function processorTime(context: Context): Promise<Finding> {
  await fillTable(context, FLOWS);
  const before = busySeconds();
  const trial = await sendDatagrams(context, {
    flows: FLOWS,
    pps: RATE_PPS,
    milliseconds: context.quick ? 1000 : 2000,
  });
  const seconds = busySeconds() - before;
  const cost = trial.received === 0 ? null : (seconds / trial.received) * 1e6;
  return { values: { cost }, problems: trial.problems };
}

export const processorTimeMeasure: Measure = {
  name: "processor-time",
  title: "Processor time of a million small frames",
  method:
    "At 100 000 frames in a second, 1 000 flows: seconds that all processors worked, for generator, engine, receiver, interrupts and softirq together (part of kernel NAT runs inside the generator's system calls). Other work on the machine counts too.",
  engines: ["cable", "forwarder", "kernel", "tapir"],
  placement: "pinned",
  needsOwnEngine: true,
  isLong: true,
  warmUp: datagramWarmUp,
  cases: [
    {
      name: "100 000 a second",
      flows: FLOWS,
      metrics: [{ name: "cost", unit: "s per million", better: "lower" }],
      run: processorTime,
    },
  ],
};
