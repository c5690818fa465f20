/** `tapir conntrack`: the flow table in conntrack(8)'s words, to the letter of its version 1.4.7. */
import { type EventView, type FlowView, formatEvent, formatFlow } from "../conntrack/format.ts";
import { ExitCode } from "../control/errors.ts";
import { ask, askEach, askEvents } from "./client.ts";
import type { ConntrackWish } from "./conntrack_options.ts";

type Print = (line: string) => void;

/** How conntrack(8) begins what it says beside the flows. */
function say(message: string): void {
  process.stderr.write(`conntrack v1.4.7 (conntrack-tools): ${message}\n`);
}

/** Runs the command; returns the exit code. */
export async function conntrack(socket: string, wish: ConntrackWish, print: Print): Promise<ExitCode> {
  switch (wish.command) {
    case "list":
      say(`${await printFlows(socket, "GET", wish, print)} flow entries have been shown.`);
      return ExitCode.DONE;
    case "delete": {
      const removed = await printFlows(socket, "DELETE", wish, print);
      say(`${removed} flow entries have been deleted.`);
      return removed === 0 ? ExitCode.FAILED : ExitCode.DONE;
    }
    case "flush":
      await ask(socket, "DELETE", "/v1/flows?quiet");
      say("connection tracking table has been emptied.");
      return ExitCode.DONE;
    case "count": {
      const { count } = await ask<{ count: number }>(socket, "GET", "/v1/flows/count");
      print(wish.json ? JSON.stringify({ count }) : String(count));
      return ExitCode.DONE;
    }
    case "stats":
      print(formatCounters(await ask<Record<string, number>>(socket, "GET", "/v1/flows/stats"), wish.json));
      return ExitCode.DONE;
    case "event":
      await printEvents(socket, wish, print);
      return ExitCode.DONE;
  }
}

/** Prints flows as they come; returns how many. */
async function printFlows(socket: string, method: string, wish: ConntrackWish, print: Print): Promise<number> {
  let shown = 0;
  for await (const flow of askEach<FlowView>(socket, `/v1/flows?${wish.query}`, method)) {
    if (wish.json) print(`${shown === 0 ? "[" : ","}${JSON.stringify(flow)}`);
    else print(formatFlow(flow, wish.format));
    shown++;
  }
  if (wish.json) print(shown === 0 ? "[]" : "]");
  return shown;
}

/** A line for the one dataplane, as conntrack(8) has one for each processor. */
function formatCounters(counters: Record<string, number>, isJson: boolean): string {
  if (isJson) return JSON.stringify(counters);
  const parts = Object.entries(counters).map(([name, value]) => `${name}=${value} `);
  return `cpu=0   \t${parts.join("")}`;
}

/** Until Ctrl-C; throws when the router ends. */
async function printEvents(socket: string, wish: ConntrackWish, print: Print): Promise<void> {
  let shown = 0;
  const finish = (): never => {
    say(`${shown} flow events have been shown.`);
    process.exit(ExitCode.DONE);
  };
  process.once("SIGINT", finish).once("SIGTERM", finish);
  for await (const line of askEvents<EventView | { lost: number }>(socket, `/v1/flows/events?${wish.query}`)) {
    if ("lost" in line) {
      say(`WARNING: ${line.lost} flow events have been lost: they came faster than they could be read.`);
      if (wish.json) print(JSON.stringify(line));
      continue;
    }
    print(wish.json ? JSON.stringify(line) : formatEvent(line, wish.format));
    shown++;
  }
}
