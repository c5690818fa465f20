/**
 * The rate that passes with at most 0.1 % lost, found by search: many short trials, halving the interval between a rate
 * that held and one that did not. One trial that fails is tried again, since anything may disturb it.
 */
import { sendDatagrams, type Trial } from "./datagrams.ts";
import { type Case, type Context, type Finding, type Measure, RATE } from "./measure.ts";
import { fillTable, flowsName } from "./small_frames.ts";

const LOSS = 0.001;
const TRIAL_MS = 400;
/** The search ends when the interval is this share of its upper end. */
const RESOLUTION = 0.02;
/** A generator that cannot keep to its rate does not count as a trial of the rate. */
const KEPT_SHARE = 0.98;

async function holds(context: Context, flows: number, pps: number, problems: Set<string>): Promise<boolean> {
  for (let attempt = 0; attempt < 2; attempt++) {
    const trial: Trial = await sendDatagrams(context, { flows, pps: Math.round(pps), milliseconds: TRIAL_MS });
    for (const problem of trial.problems) problems.add(problem);
    if (trial.loss <= LOSS && trial.offeredPerSecond >= pps * KEPT_SHARE) return true;
  }
  return false;
}

async function search(context: Context, flows: number): Promise<Finding> {
  await fillTable(context, flows);
  const overloaded = await sendDatagrams(context, { flows, milliseconds: TRIAL_MS });
  const problems = new Set(overloaded.problems);
  let low = 0;
  let high = overloaded.receivedPerSecond * 1.15;
  while (high - low > high * RESOLUTION) {
    const pps = low === 0 ? high * 0.7 : (low + high) / 2;
    if (await holds(context, flows, pps, problems)) {
      low = pps;
    } else {
      high = pps;
    }
    if (high < 1000) break;
  }
  return { values: { rate: low / 1e6 }, problems: [...problems] };
}

function searchCase(flows: number): Case {
  return { name: flowsName(flows), flows, metrics: [RATE], run: (context) => search(context, flows) };
}

export const sustained: Measure = {
  name: "sustained",
  title: "Small frames (60 B), sustained at no more than 0.1 % loss",
  method: "Found by search over trials of 400 ms at a fixed rate; a rate counts when one of two trials holds.",
  engines: ["forwarder", "kernel", "tapir"],
  placement: "pinned",
  isLong: true,
  cases: [searchCase(64), searchCase(10_000)],
};
