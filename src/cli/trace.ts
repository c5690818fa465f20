/** `tapir trace`: the walks of live packets, as they come. */
import { type Command, InvalidArgumentError } from "commander";
import type { Walk } from "../dataplane/explain/steps.ts";
import { askEvents, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";
import { type CommonOptions, talking } from "./talking.ts";
import { formatWalk } from "./walk_text.ts";

interface TraceOptions extends CommonOptions {
  port?: string;
  count?: number;
  rate?: number;
}

function readCount(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new InvalidArgumentError("a whole number from 1 on is needed.");
  return Number(text);
}

export function addTrace(program: Command): void {
  const command = talking(program, "trace", "show what live packets meet in the router, stage by stage")
    .argument("[expression...]", "which packets, as tcpdump takes it; every one unless said")
    .option("-i, --port <port>", "only what comes in by this port")
    .option("-c, --count <number>", "end after so many packets", readCount)
    .option("--rate <number>", "record at most so many a second (default: 100)", readCount)
    .action(async (words: string[], options: TraceOptions) => {
      await trace(words.join(" "), options);
    });
  addHelp(
    command,
    [
      ["tapir trace icmp", "each ping, on its way in and on its way back"],
      ["tapir trace -i c1 -c 5 'tcp[tcpflags] & tcp-syn != 0'", "the next five connections of a container"],
      ["tapir trace 'udp port 53' -j", "a JSON object a line"],
    ],
    {
      notes: `The expression is about the frame as it comes in: an answer to a translated packet comes to the router's own address.
What is more than --rate is not recorded, but counted and told.`,
    },
  );
}

async function trace(filter: string, { socket, port, count, rate, json }: TraceOptions): Promise<void> {
  const query = new URLSearchParams({ filter });
  if (port !== undefined) query.set("port", port);
  if (rate !== undefined) query.set("rate", String(rate));
  let shown = 0;
  const finish = (): never => {
    process.stderr.write(`${shown} packets have been shown.\n`);
    process.exit(0);
  };
  process.once("SIGINT", finish).once("SIGTERM", finish);
  for await (const line of askEvents<Walk | { lost: number }>(socketPath(socket), `/v1/trace?${query}`)) {
    if ("lost" in line) {
      process.stderr.write(`${line.lost} packets matched and were not recorded: they came faster than --rate.\n`);
      continue;
    }
    process.stdout.write(json === true ? `${JSON.stringify(line)}\n` : `${formatWalk(line)}\n`);
    if (++shown === count) finish();
  }
}
