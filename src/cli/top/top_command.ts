/** The command line of `tapir top`. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { ORDERS, type Order } from "../../control/top/flow_rates.ts";
import { socketPath } from "../client.ts";
import { addHelp } from "../help.ts";
import { type CommonOptions, talking } from "../talking.ts";

interface TopOptions extends CommonOptions {
  delay: number;
  number?: number;
  batch?: boolean;
  once?: boolean;
  sort: Order;
  flows: number;
}

/** Reads a whole or decimal number between two bounds. */
function between(least: number, most: number, isWhole: boolean): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= least && value <= most && (!isWhole || Number.isInteger(value))) return value;
    throw new InvalidArgumentError(`a ${isWhole ? "whole number" : "number"} from ${least} to ${most}.`);
  };
}

export function addTop(program: Command): void {
  const top = talking(program, "top", "a live view of rates: ports, flows, drops, stages, bursts, tables")
    .option("-d, --delay <seconds>", "time between two views", between(0.1, 3600, false), 2)
    .option("-n, --number <count>", "end after so many views", between(1, 1_000_000_000, true))
    .option("-b, --batch", "print one view after the other, for a file or a pipe")
    .option("--once", "print one view: the rates of one delay")
    .addOption(new Option("--sort <order>", "of the flows").choices(ORDERS).default("packets"))
    .option("--flows <count>", "how many of the busiest flows", between(0, 100, true), 20)
    .action(async ({ socket, json, delay, number, batch, once, sort, flows }: TopOptions) => {
      const { topInBatches, topOnTerminal } = await import("./top.ts");
      const times = once === true ? 1 : number;
      const wish = { socket: socketPath(socket), delaySeconds: delay, times, flows, order: sort };
      const isBatch = batch === true || once === true || json === true || process.stdout.isTTY !== true;
      if (!isBatch) return topOnTerminal(wish);
      return topInBatches(wish, json === true, (text) => process.stdout.write(`${text}\n`));
    });
  addHelp(
    top,
    [
      ["tapir top", "live, every 2 seconds"],
      ["tapir top -d 0.5 --sort bytes", "twice a second, the flows with most bytes first"],
      ["tapir top --once", "one view of 2 seconds, for a terminal's log"],
      ["tapir top -b -n 60 -d 1 -j", "a minute, a JSON object each second"],
    ],
    {
      notes:
        "Keys: q quit, p or space pause, s sort by packets or bytes.\n\nWhile it runs, the dataplane times the stages of one burst in 16. Where the output is no terminal, it prints as with -b.",
    },
  );
}
