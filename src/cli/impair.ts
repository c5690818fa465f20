/** `tapir impair`: what is done on purpose to the frames of a port, in the words of tc-netem(8). */
import { type Command, InvalidArgumentError, Option } from "commander";
import { ExitCode, TapirError } from "../control/errors.ts";
import type { ImpairmentView } from "../control/impair_api.ts";
import { ask, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";
import { formatTable } from "./table.ts";
import { type CommonOptions, talking } from "./talking.ts";

interface ImpairOptions extends CommonOptions {
  clear?: boolean;
  direction?: string;
  [setting: string]: unknown;
}

const COLUMNS = [
  "port",
  "direction",
  "settings",
  "frames",
  "lost",
  "duplicated",
  "corrupted",
  "reordered",
  "overLimit",
  "waiting",
];

function readInteger(text: string): number {
  if (!/^-?[0-9]{1,10}$/.test(text)) throw new InvalidArgumentError("an integer is needed.");
  return Number(text);
}

export function addImpair(program: Command): void {
  const command = talking(
    program,
    "impair",
    "delay, lose, reorder, duplicate, corrupt or shape the frames of a port, as tc-netem does",
  )
    .argument("[name]", "a port, an uplink, or a network (each of its ports); without one, show what is impaired")
    .option("--delay <time>", "how long each frame is held: 20ms, 1.5s, 300us")
    .option("--jitter <time>", "how far the delay varies")
    .addOption(new Option("--distribution <kind>", "of the jitter (default: uniform)").choices(["uniform", "normal"]))
    .option("--loss <percentage>", "frames that are lost: 1%")
    .option("--loss-correlation <percentage>", "how far the chance of a loss depends on the frame before")
    .option("--duplicate <percentage>", "frames that come twice")
    .option("--corrupt <percentage>", "frames of which one bit is turned over")
    .option("--reorder <percentage>", "frames that are sent at once, past those that are held")
    .option("--gap <number>", "only every so many-th frame may be sent at once (default: 1)", readInteger)
    .option("--rate <rate>", "bits per second: 10mbit, 500kbit")
    .option("--overhead <bytes>", "what the rate counts for each packet besides its Ethernet frame", readInteger)
    .option("--limit <frames>", "frames that may be held (default: 1000)", readInteger)
    .option("--seed <number>", "makes chance repeatable", readInteger)
    .addOption(
      new Option(
        "--direction <which>",
        "out: what the router sends by the port; in: what comes (default: out)",
      ).choices(["in", "out", "both"]),
    )
    .option("--clear", "end the impairment, in one direction or in both")
    .action(async (name: string | undefined, options: ImpairOptions) => {
      process.stdout.write(`${await impair(name, options)}\n`);
    });
  addHelp(
    command,
    [
      ["tapir impair c1 --delay 20ms --jitter 2ms --loss 1%", "what the router sends to c1"],
      ["tapir impair wan --rate 10mbit --limit 100", "10 Mbit/s out of the uplink"],
      ["tapir impair wan --direction in --rate 50mbit", "and 50 Mbit/s into it"],
      ["tapir impair lab --direction both --delay 5ms", "each port of the network, both ways"],
      ["tapir impair c1 --corrupt 0.1% --seed 7", "the same frames meet the same fate again"],
      ["tapir impair", "what is impaired, and what that has done"],
      ["tapir impair c1 --clear", "no more"],
    ],
    {
      notes:
        "Settings replace all those that the port had in the same direction, as tc qdisc replace does; counters go on.",
    },
  );
}

async function impair(name: string | undefined, options: ImpairOptions): Promise<string> {
  const { socket, json, clear, ...settings } = options;
  const views = await ask<ImpairmentView[]>(socketPath(socket), ...requestOf(name, clear === true, settings));
  if (json === true) return JSON.stringify(views, null, 2);
  if (views.length > 0) return formatTable(views as unknown as Record<string, unknown>[], COLUMNS);
  return name === undefined ? "nothing is impaired" : `${name}: nothing is impaired`;
}

function requestOf(
  name: string | undefined,
  isClear: boolean,
  settings: Record<string, unknown>,
): [method: string, path: string, body?: object] {
  const { direction, ...effects } = settings;
  const count = Object.keys(effects).length;
  if (name === undefined) {
    if (isClear || direction !== undefined || count > 0) throw new TapirError("impair: which port?", ExitCode.USAGE);
    return ["GET", "/v1/impairments"];
  }
  const path = `/v1/impairments/${encodeURIComponent(name)}`;
  if (isClear) {
    if (count > 0) throw new TapirError("impair: --clear takes no settings", ExitCode.USAGE);
    return ["DELETE", direction === undefined ? path : `${path}?direction=${direction}`];
  }
  if (count === 0) {
    throw new TapirError("impair: how? See tapir impair --help; --clear ends an impairment", ExitCode.USAGE);
  }
  return ["PUT", path, settings];
}
