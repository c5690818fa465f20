/** What every step of the lab is made of: ask, look at both sides, compare with the claim. */
import type { Shown } from "../show.ts";
import { Capture, type Sight } from "./capture.ts";
import { type LabSettings, policyLines } from "./configuration.ts";
import type { Place } from "./places.ts";
import type { Finished, Processes } from "./processes.ts";
import type { Report } from "./report.ts";
import type { RouterProcess } from "./router_process.ts";
import { packetsIn, type SeenPacket } from "./seen.ts";

export interface Lab {
  processes: Processes;
  router: RouterProcess;
  report: Report;
}

export interface Step {
  /** As in the tutorial. */
  number: string;
  claim: string;
  run(lab: Lab): Promise<void>;
}

/** One echo request that waits a second for its answer. */
export const PING = "ping -n -c1 -W1";

/** Gives the router other settings, and shows what they say. */
export async function configure(lab: Lab, settings: LabSettings): Promise<void> {
  lab.report.note("the router's configuration says:");
  lab.report.block(policyLines(settings));
  await lab.router.configure(settings);
}

/** Lines of a ping that say whether and how it was answered. */
const TELLING = /bytes from|transmitted|nreachable|exceeded|rohibited|Filtered/;

/** Runs a command in a namespace and prints what it says; of a ping only what matters. */
export async function ask(lab: Lab, netns: string, command: string): Promise<Finished> {
  const [file, ...args] = command.split(" ");
  const finished = await lab.processes.run(netns, file, ...args);
  const printed = `${finished.stdout}${finished.stderr}`;
  const lines = printed.split("\n");
  const shown = file === "ping" ? lines.filter((line) => TELLING.test(line)) : lines;
  lab.report.command(netns, command, shown.join("\n"));
  return finished;
}

/** Like `ask`, while captures run at the places; prints what was seen there. */
export async function askAndLook(
  lab: Lab,
  netns: string,
  command: string,
  places: readonly Place[],
): Promise<Finished & { at: (place: Place) => SeenPacket[] }> {
  const { result, at } = await look(lab, places, () => ask(lab, netns, command));
  return { ...result, at };
}

/** Runs `body` while captures run at the places, and prints what was seen there, at most `most` packets each. */
export async function look<T>(
  lab: Lab,
  places: readonly Place[],
  body: () => Promise<T>,
  most?: number,
): Promise<{ result: T; at: (place: Place) => SeenPacket[] }> {
  const capture = new Capture(places);
  let sight: Sight;
  let result: T;
  try {
    result = await body();
    sight = capture.finish();
  } finally {
    capture.close();
  }
  for (const [place, packets] of sight) lab.report.seen(place, packets, most);
  return { result, at: (place) => sight.get(place) ?? [] };
}

/** Runs a `tapir` command against the lab's router and prints what it says. */
export async function askTapir(lab: Lab, ...words: string[]): Promise<Finished> {
  const finished = await lab.router.tapir(...words);
  lab.report.command(undefined, `tapir ${words.join(" ")}`, `${finished.stdout}${finished.stderr}`);
  return finished;
}

/** Prints a table of the router, as `tapir show` does, and returns it. */
export async function askTable(lab: Lab, table: Shown): Promise<string> {
  const text = await lab.router.show(table);
  lab.report.command(undefined, `tapir show ${table}`, text);
  return text;
}

/** Packets that a reason names. */
const NAMED_PACKETS = 3;

/** What is said where a claim does not hold: the packets that were there instead, without their IP headers. */
export function instead(packets: readonly SeenPacket[]): string {
  const named = packetsIn(packets).slice(0, NAMED_PACKETS);
  if (named.length === 0) return "no packet was seen";
  return `seen instead: ${named.map(({ line, ip }) => `TTL ${ip?.ttl}, ${line.replace(/^.*?\) (?=\d)/, "")}`).join("; ")}`;
}
