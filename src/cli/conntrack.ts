/** `tapir conntrack`: the flow table in conntrack(8)'s words. */
import { type FlowView, formatFlow } from "../conntrack/format.ts";
import { ExitCode, TapirError } from "../control/errors.ts";
import { ask, askEach } from "./client.ts";

export interface ConntrackOptions {
  list?: boolean;
  count?: boolean;
  protocol?: string;
  source?: string;
  destination?: string;
  json?: boolean;
}

export async function conntrack(
  socket: string,
  options: ConntrackOptions,
  print: (line: string) => void,
): Promise<void> {
  if ((options.list === true) === (options.count === true)) {
    throw new TapirError("conntrack: one of -L and -C is needed", ExitCode.USAGE);
  }
  if (options.count === true) {
    const { count } = await ask<{ count: number }>(socket, "GET", "/v1/conntrack/count");
    print(options.json === true ? JSON.stringify({ count }) : String(count));
    return;
  }
  const matches = matcher(options);
  let shown = 0;
  let separator = "[";
  for await (const flow of askEach<FlowView>(socket, "/v1/conntrack")) {
    if (!matches(flow)) continue;
    shown++;
    if (options.json !== true) {
      print(formatFlow(flow));
      continue;
    }
    print(`${separator}${JSON.stringify(flow)}`);
    separator = ",";
  }
  if (options.json === true) print(shown === 0 ? "[]" : "]");
  else process.stderr.write(`conntrack: ${shown} flow entries have been shown.\n`);
}

function matcher({ protocol, source, destination }: ConntrackOptions): (flow: FlowView) => boolean {
  return (flow) =>
    (protocol === undefined || flow.protocol === protocol || String(flow.protocolNumber) === protocol) &&
    (source === undefined || flow.original.source === source) &&
    (destination === undefined || flow.original.destination === destination);
}
