/** What filter rules cost: flows that are established, and new ones, with rules in front that none of them matches. */

import { datagramWarmUp } from "./datagrams.ts";
import type { Context, Measure, WarmUp } from "./measure.ts";
import { RATE } from "./measure.ts";
import { newFlows, newFlowsWarmUp } from "./new_flows.ts";
import { overload } from "./small_frames.ts";

const warmUp: WarmUp = {
  kind: "new flows, datagrams",
  run: async (context: Context, milliseconds: number) => {
    await datagramWarmUp.run(context, milliseconds / 2);
    await newFlowsWarmUp.run(context, milliseconds / 2);
  },
};

export const rules: Measure = {
  name: "rules",
  title: "Filter rules",
  method:
    "Tapir with 0, 1 000 and 10 000 rules before the one that accepts: each drops UDP from the containers to a network of its own and a port of its own, and none matches the load. Established: 10 000 flows under overload. New: every datagram begins a flow.",
  engines: ["tapir", "tapir-1000-rules", "tapir-10000-rules"],
  placement: "pinned",
  mostRounds: 3,
  isLong: true,
  warmUp,
  cases: [
    {
      name: "established flows",
      flows: 10_000,
      metrics: [RATE],
      run: (context) => overload(context, { flows: 10_000 }),
    },
    {
      name: "new flows",
      flows: 260_000,
      metrics: [{ name: "rate", unit: "M flows/s", better: "higher" }],
      run: newFlows,
    },
  ],
};
