/** The command line of `tapir conntrack`: conntrack(8)'s commands, filters and output options. */
import { type Command, Option } from "commander";
import { parseKinds } from "../conntrack/event_kinds.ts";
import { FILTER_NAMES, FilterError, type FilterName, parseFilter } from "../conntrack/filter.ts";
import type { FormatOptions } from "../conntrack/format.ts";
import { ExitCode, TapirError } from "../control/errors.ts";

const COMMANDS = {
  list: ["-L, --list", "list the flows"],
  event: ["-E, --event", "print what happens to flows, until Ctrl-C"],
  delete: ["-D, --delete", "end the flows of the filter, and print them"],
  flush: ["-F, --flush", "end all flows"],
  count: ["-C, --count", "count the flows"],
  stats: ["-S, --stats", "print counters"],
} as const;

export type ConntrackCommand = keyof typeof COMMANDS;

/** Filters: flags, other names of the same, and what they mean. */
const FILTERS: Record<FilterName, readonly [flags: string, aliases: readonly string[], description: string]> = {
  src: ["-s, --src <prefix>", ["orig-src", "source"], "original source: an address or a prefix"],
  dst: ["-d, --dst <prefix>", ["orig-dst", "destination"], "original destination"],
  "reply-src": ["-r, --reply-src <prefix>", [], "source of the answers"],
  "reply-dst": ["-q, --reply-dst <prefix>", [], "destination of the answers"],
  proto: ["-p, --proto <protocol>", ["protonum", "protocol"], "protocol, by name or number"],
  sport: ["--sport <port>", ["orig-port-src"], "original source port; needs -p"],
  dport: ["--dport <port>", ["orig-port-dst"], "original destination port; needs -p"],
  "reply-port-src": ["--reply-port-src <port>", [], "source port of the answers; needs -p"],
  "reply-port-dst": ["--reply-port-dst <port>", [], "destination port of the answers; needs -p"],
  state: ["--state <state>", [], "TCP state; needs -p tcp"],
  status: ["-u, --status <status>", [], "ASSURED, SEEN_REPLY, UNREPLIED, or several with commas: all of them"],
  mark: ["-m, --mark <mark>", [], "mark, or mark/mask"],
  "src-nat": ["-n, --src-nat [address]", [], "source is translated (to this)"],
  "dst-nat": ["-g, --dst-nat [address]", [], "destination is translated (to this)"],
  "any-nat": ["--any-nat [address]", [], "source or destination is translated (to this)"],
  family: ["-f, --family <family>", [], "ipv4; there are no flows of another"],
  "icmp-type": ["--icmp-type <type>", [], "needs -p icmp"],
  "icmp-code": ["--icmp-code <code>", [], "needs -p icmp"],
  "icmp-id": ["--icmp-id <identifier>", [], "needs -p icmp"],
};

const OUTPUTS = ["extended", "id", "timestamp"] as const;

/** What the user asks for, checked. */
export interface ConntrackWish {
  command: ConntrackCommand;
  /** The filter as the API takes it. */
  query: URLSearchParams;
  format: FormatOptions;
  json: boolean;
}

export function addConntrackOptions(command: Command): Command {
  command.argument("[table]", "conntrack, the only one");
  for (const [flags, description] of Object.values(COMMANDS)) command.option(flags, description);
  command.option("--dump", "another name of --list").option("--eventmask <kinds>", "another name of --event-mask");
  for (const [flags, aliases, description] of Object.values(FILTERS)) {
    command.option(flags, description);
    const value = flags.slice(flags.lastIndexOf(" "));
    for (const alias of aliases) command.addOption(new Option(`--${alias}${value}`).hideHelp());
  }
  return command
    .option("-o, --output <types>", `with commas: ${OUTPUTS.join(", ")}`)
    .option("-e, --event-mask <kinds>", "with -E, and commas: NEW, UPDATES, DESTROY, ALL");
}

type Values = Readonly<Record<string, string | boolean | undefined>>;

/** Reads what commander has found; throws in one line what cannot be. */
export function readConntrackWish(values: Values, table: string | undefined): ConntrackWish {
  if (table !== undefined && table !== "conntrack") throw usage(`there is no table '${table}'`);
  const command = readCommand(values);
  const words = readFilter(values);
  const takesFilter = command === "list" || command === "event" || command === "delete";
  const first = Object.keys(words)[0];
  if (first !== undefined && !takesFilter) throw usage(`--${first}: not with --${command}`);
  const query = new URLSearchParams(words);
  const kinds = values.eventMask ?? values.eventmask;
  if (kinds !== undefined && command !== "event") throw usage(`--event-mask: not with --${command}`);
  if (values.output !== undefined && !takesFilter) throw usage(`--output: not with --${command}`);
  try {
    parseFilter(words);
    if (kinds !== undefined) parseKinds(String(kinds));
  } catch (error) {
    throw error instanceof FilterError ? usage(error.message) : error;
  }
  if (kinds !== undefined) query.set("kinds", String(kinds));
  return { command, query, format: readOutput(values.output), json: values.json === true };
}

function usage(message: string): TapirError {
  return new TapirError(`conntrack: ${message}`, ExitCode.USAGE);
}

function readCommand(values: Values): ConntrackCommand {
  const names = Object.keys(COMMANDS) as ConntrackCommand[];
  const given = names.filter((name) => values[name] === true || (name === "list" && values.dump === true));
  if (given.length === 1) return given[0];
  throw usage(`${given.length === 0 ? "one" : "only one"} of -L, -E, -D, -F, -C and -S is needed`);
}

function readFilter(values: Values): Record<string, string> {
  const words: Record<string, string> = {};
  for (const name of FILTER_NAMES) {
    for (const each of [name, ...FILTERS[name][1]]) {
      const value = values[each.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())];
      if (value === undefined) continue;
      if (words[name] !== undefined) throw usage(`--${name} is given twice`);
      // A flag without its optional address.
      words[name] = value === true ? "" : String(value);
    }
  }
  return words;
}

function readOutput(value: string | boolean | undefined): FormatOptions {
  const format: FormatOptions = {};
  for (const name of value === undefined ? [] : String(value).split(",")) {
    const known = OUTPUTS.find((each) => each === name);
    if (known === undefined) throw usage(`--output: '${name}' is none of ${OUTPUTS.join(", ")}`);
    format[known] = true;
  }
  return format;
}
