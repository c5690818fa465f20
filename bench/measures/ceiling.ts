/** What the generator and the receiver can do without a router: no figure of an engine means more than this. */
import { sendDatagrams } from "./datagrams.ts";
import { type Case, type Measure, RATE } from "./measure.ts";

function sizeCase(size: number | "imix"): Case {
  return {
    name: size === "imix" ? "IMIX" : `${size} B`,
    flows: 64,
    isLong: size !== 60,
    metrics: [RATE],
    run: async (context) => {
      const trial = await sendDatagrams(context, { flows: 64, size, milliseconds: context.quick ? 700 : 1500 });
      return { values: { rate: trial.receivedPerSecond / 1e6 }, problems: trial.problems };
    },
  };
}

export const ceiling: Measure = {
  name: "ceiling",
  title: "The generator's own ceiling",
  method: "Generator and receiver with nothing but a veth pair between them, each on a processor of its own.",
  engines: ["cable"],
  quickEngines: ["cable"],
  placement: "pinned",
  isLong: false,
  mostRounds: 2,
  needsOwnEngine: true,
  cases: [sizeCase(60), sizeCase(512), sizeCase(1514), sizeCase("imix")],
};
