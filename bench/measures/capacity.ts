/** How many flows an engine holds at once, counted by itself after each of some four million sent a datagram. */
import { memoryBytes } from "../machine.ts";
import { datagramWarmUp, sendDatagrams } from "./datagrams.ts";
import type { Context, Finding, Measure } from "./measure.ts";

/** A little more than the goal: what is lost on the way does not decide. */
const OFFERED = 4_050_000;
const PER_SECOND = 150_000;
/** What was lost on the way is sent again. */
/** Of what was offered; the rest is not worth another pass. */
const ENOUGH = 0.998;
const PASSES = 3;

async function fill(context: Context): Promise<Finding> {
  const { running } = context;
  if (running.countFlows === undefined) throw new Error("it cannot say how many flows it holds");
  const before = memoryBytes(running.pids);
  const problems = new Set<string>();
  let held = 0;
  for (let pass = 0; pass < PASSES && held < OFFERED * ENOUGH; pass++) {
    const load = { flows: OFFERED, count: OFFERED, pps: PER_SECOND, milliseconds: 40_000 };
    const trial = await sendDatagrams(context, load);
    for (const problem of trial.problems) problems.add(problem);
    held = await running.countFlows();
  }
  const grown = memoryBytes(running.pids) - before;
  return {
    values: { flows: held / 1e6, "memory of a flow": held === 0 ? null : grown / held },
    problems: [...problems],
  };
}

export const capacity: Measure = {
  name: "capacity",
  title: "Flows held at once",
  method:
    "4 050 000 flows send a datagram each, 150 000 in a second, and again where some were lost; then the engine counts its flows (at 30 s, conntrack's default, the first would be gone before the last came: UDP's timeout is 300 s here). The kernel's table holds nf_conntrack_max, a limit of the whole host that the bench does not change. The memory is what the engine's processes grew by; what Tapir had fetched of its table before, up to 64 MiB, is not in it.",
  engines: ["tapir"],
  placement: "pinned",
  isLong: true,
  mostRounds: 1,
  warmUp: datagramWarmUp,
  needsOwnEngine: true,
  cases: [
    {
      name: "4 050 000 offered",
      flows: 4_100_000,
      seconds: 60,
      metrics: [
        { name: "flows", unit: "M", better: "higher" },
        { name: "memory of a flow", unit: "B", better: "lower" },
      ],
      run: fill,
    },
  ],
};
