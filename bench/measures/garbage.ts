/** Collections of garbage while the dataplane works: code that allocates nothing for a packet needs none. */
import { collectionsBetween, sinceStartMs } from "../garbage_trace.ts";
import { sendDatagrams } from "./datagrams.ts";
import type { Context, Finding, Measure } from "./measure.ts";

const WARM_UP_MS = 4000;
const FLOWS = 10_000;

async function underLoad(context: Context): Promise<Finding> {
  const { running } = context;
  const dataplane = running.pids.at(-1);
  if (dataplane === undefined || running.output === undefined) throw new Error("it does not trace");
  await sendDatagrams(context, { flows: FLOWS, milliseconds: WARM_UP_MS });
  const begin = sinceStartMs(dataplane);
  const seconds = context.quick ? 10 : 60;
  const trial = await sendDatagrams(context, { flows: FLOWS, milliseconds: seconds * 1000 });
  const end = sinceStartMs(dataplane);
  // What it wrote may wait in a buffer until it ends.
  await running.stop();
  const trace = collectionsBetween(running.output(), begin, end);
  const problems =
    trace.all === 0 ? [...trial.problems, "V8 reported no collection at all, not even at the start"] : trial.problems;
  return {
    values: {
      collections: trace.all === 0 ? null : trace.within,
      "packets carried": trial.received / 1e6,
    },
    problems,
  };
}

export const garbage: Measure = {
  name: "garbage",
  title: "Garbage collections under load",
  method:
    "The dataplane runs with V8's --trace-gc; after 4 s of warm-up, small frames of 10 000 flows as fast as the generator can, for 60 s (10 s in a quick run). Collections within that time are counted, of all kinds.",
  engines: ["tapir-traced"],
  quickEngines: ["tapir-traced"],
  placement: "pinned",
  isLong: false,
  mostRounds: 1,
  needsOwnEngine: true,
  cases: [
    {
      name: "small frames",
      flows: FLOWS,
      seconds: 66,
      quickSeconds: 15,
      metrics: [
        { name: "collections", unit: "count", better: "lower" },
        { name: "packets carried", unit: "M", better: "higher" },
      ],
      run: underLoad,
    },
  ],
};
