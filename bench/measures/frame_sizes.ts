/**
 * Frame sizes and numbers of flows: what is delivered under overload, and the rate that passes with at most 0.1 % lost.
 *
 * That rate is found by search: many short trials, halving the interval between a rate that held and one that did not.
 * One trial that fails is tried again, since anything may disturb it.
 */
import { datagramWarmUp, sendDatagrams } from "./datagrams.ts";
import type { Case, Context, Finding, Measure, Metric } from "./measure.ts";
import { searchRate } from "./search.ts";
import { fillSeconds, fillTable, flowsName, NOT_FILLED } from "./small_frames.ts";

const LOSS = 0.001;
const TRIAL_MS = 300;
/** A generator that cannot keep to its rate does not count as a trial of the rate. */
const KEPT_SHARE = 0.98;
const ATTEMPTS = 2;
const FLOWS = [1, 64, 10_000, 1_000_000];
const DELIVERED: Metric = { name: "delivered", unit: "Mpps", better: "higher" };
const SUSTAINED: Metric = { name: "sustained", unit: "Mpps", better: "higher" };

interface Load {
  readonly flows: number;
  readonly size: number | "imix";
}

async function sizesAndFlows(context: Context, load: Load): Promise<Finding> {
  const isFilled = await fillTable(context, load.flows);
  const overloaded = await sendDatagrams(context, { ...load, milliseconds: 2 * TRIAL_MS });
  const problems = new Set(isFilled ? overloaded.problems : [...overloaded.problems, NOT_FILLED]);
  const holds = async (pps: number): Promise<boolean> => {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const trial = await sendDatagrams(context, { ...load, pps: Math.round(pps), milliseconds: TRIAL_MS });
      for (const problem of trial.problems) problems.add(problem);
      if (trial.loss <= LOSS && trial.offeredPerSecond >= pps * KEPT_SHARE) return true;
    }
    return false;
  };
  const sustained = await searchRate(overloaded.receivedPerSecond, holds);
  return {
    values: { delivered: overloaded.receivedPerSecond / 1e6, sustained: sustained / 1e6 },
    problems: [...problems],
  };
}

function flowsCase(flows: number, size: number | "imix"): Case {
  return {
    name: flowsName(flows),
    flows,
    seconds: fillSeconds(flows) + 7,
    metrics: [DELIVERED, SUSTAINED],
    run: (context) => sizesAndFlows(context, { flows, size }),
  };
}

function sizeMeasure(size: number | "imix", title: string): Measure {
  return {
    name: `frames-${size}`,
    title,
    method:
      "Delivered: as fast as the generator can. Sustained: the highest rate at which no more than 0.1 % is lost, found by search over trials of 300 ms; a rate counts when one of two trials holds. Flows in turn, the table is built before.",
    engines: ["forwarder", "kernel", "tapir"],
    placement: "pinned",
    isLong: true,
    warmUp: datagramWarmUp,
    cases: FLOWS.map((flows) => flowsCase(flows, size)),
  };
}

export const frameSizes: readonly Measure[] = [
  sizeMeasure(60, "Frames of 60 B (L1)"),
  sizeMeasure(512, "Frames of 512 B (L1)"),
  sizeMeasure(1514, "Frames of 1 514 B (L1)"),
  sizeMeasure("imix", "IMIX: frames of 60, 590 and 1 514 B, 7:4:1 (L1)"),
];
