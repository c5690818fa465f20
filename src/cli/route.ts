/** `tapir route`: the router's routes, in the words of `ip route`. */
import type { Command } from "commander";
import { ExitCode, TapirError } from "../control/errors.ts";
import type { FoundRow, RouteOperation, RouteRow } from "../control/routing/schemas.ts";
import { readLines } from "./batch.ts";
import { ask, askEach, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";
import { formatFound, formatRoute, foundJson, NO_WAY, routeJson } from "./route_format.ts";
import { type RouteChoice, readChoice, readOperation, readQuery, verbOf } from "./route_words.ts";
import { type CommonOptions, talking } from "./talking.ts";
import { wrong } from "./words.ts";

/** Operations sent at once: the router takes them in some milliseconds. */
const OPERATIONS_AT_ONCE = 1000;

interface Done {
  done: number;
  errors: { index: number; error: string }[];
}

export function addRoute(program: Command): void {
  const command = talking(program, "route", "the router's routes, in the words of ip-route(8)")
    .argument("[words...]", "show, get, add, replace, change, append, prepend, del, flush, follow; or -batch FILE")
    .allowUnknownOption();
  addHelp(
    command,
    [
      ["tapir route show", "the table main, as ip route prints it"],
      ["tapir route get 198.51.100.7 from 10.55.66.2 iif lab", "which way a packet takes"],
      ["tapir route add 198.51.100.0/24 via 203.0.113.9 metric 10", "a route by a next hop"],
      ["tapir route add default nexthop via 203.0.113.2 nexthop via 203.0.113.9 weight 2", "two next hops, shared"],
      ["tapir route add unreachable 192.0.2.0/24", "refused with ICMP host unreachable"],
      ["tapir route replace default via 203.0.113.9 table 100", "in a table of its own"],
      ["tapir route flush proto bird", "all routes of a routing daemon"],
      ["tapir route -batch routes.txt", "a line each, - for standard input; -force goes on after errors"],
      ["tapir route follow", "routing tables of kernels that are followed"],
    ],
    {
      notes: `Words of ip-route(8) that are known: the types unicast, blackhole, unreachable, prohibit and throw; to, via, dev,
metric, table, proto, onlink, nexthop with weight; for show and flush also root, match, exact and type; for get from,
iif and mark. Others are refused by name. Routes that are added stay until the router ends.`,
    },
  );
  command.action(async (words: string[], { socket, json }: CommonOptions) => {
    await route(words, socketPath(socket), json === true);
  });
}

async function route(words: readonly string[], socket: string, asJson: boolean): Promise<void> {
  const [verb = "show", ...rest] = words;
  if (["show", "list", "ls", "lst"].includes(verb)) return show(socket, readChoice(rest), asJson);
  if (verb === "get") return get(socket, readQuery(rest), asJson);
  if (verb === "follow") return follow(socket, asJson);
  if (verb === "-batch" || verb === "-b" || verb === "-force") return batch(words, socket);
  const op = verbOf(verb);
  if (op === undefined) throw wrong(`command "${verb}" is unknown, try "tapir route --help"`);
  const { errors } = await operate(socket, [readOperation(op, rest)], false);
  if (errors.length > 0) throw new TapirError(errors[0].error);
}

function operate(socket: string, operations: readonly RouteOperation[], force: boolean): Promise<Done> {
  return ask<Done>(socket, "POST", "/v1/routing/routes", { operations, force });
}

async function show(socket: string, choice: RouteChoice, asJson: boolean): Promise<void> {
  // Reads prefixes as the configuration does: much to load for those who do not need it.
  const { isChosen } = await import("./route_choice.ts");
  const table = encodeURIComponent(choice.table ?? "main");
  const rows = askEach<RouteRow>(socket, `/v1/routing/routes?table=${table}`);
  let separator = "[";
  for await (const row of rows) {
    if (!isChosen(row, choice)) continue;
    if (asJson) process.stdout.write(separator + JSON.stringify(routeJson(row, choice)));
    else process.stdout.write(`${formatRoute(row, choice)}\n`);
    separator = ",";
  }
  if (asJson) process.stdout.write(separator === "[" ? "[]\n" : "]\n");
}

async function get(socket: string, query: Record<string, string> | object, asJson: boolean): Promise<void> {
  const found = await ask<FoundRow>(
    socket,
    "GET",
    `/v1/routing/lookup?${new URLSearchParams(query as Record<string, string>)}`,
  );
  const { type } = found;
  if (Object.hasOwn(NO_WAY, type)) throw new TapirError(NO_WAY[type]);
  const row = type === "local" ? { ...found, dst: `local ${found.dst}`, dev: "lo" } : found;
  process.stdout.write(`${asJson ? JSON.stringify([foundJson(row)]) : formatFound(row)}\n`);
}

interface Followed {
  name: string;
  table: number;
  into: number;
  state: string;
  reason?: string;
  routes: number;
  unusable: number;
  resynchronised: number;
}

async function follow(socket: string, asJson: boolean): Promise<void> {
  const followed = await ask<Followed[]>(socket, "GET", "/v1/routing/followed");
  if (asJson) process.stdout.write(`${JSON.stringify(followed)}\n`);
  for (const each of asJson ? [] : followed) {
    const { name, table, into, state, reason, routes, unusable, resynchronised } = each;
    const why = reason === undefined ? "" : ` (${reason})`;
    process.stdout.write(
      `${name} table ${table} into ${into}: ${state}${why}, ${routes} routes, ${unusable} without a usable next hop, ` +
        `read again ${resynchronised} times\n`,
    );
  }
}

/** Lines as `ip -batch` takes them, with or without the word `route` before. */
async function batch(words: readonly string[], socket: string): Promise<void> {
  const force = words.includes("-force");
  const [, file] = words.filter((word) => word !== "-force");
  if (file === undefined) throw wrong("-batch needs a file, or - for standard input");
  let hasFailed = false;
  let waiting: { line: number; operation: RouteOperation }[] = [];
  const send = async (): Promise<void> => {
    const sent = waiting;
    waiting = [];
    if (sent.length === 0) return;
    const { errors } = await operate(
      socket,
      sent.map(({ operation }) => operation),
      force,
    );
    for (const { index, error } of errors) fail(error, sent[index].line);
  };
  const fail = (error: string, line: number): void => {
    const message = `${error}\nCommand failed ${file}:${line}`;
    if (!force) throw new TapirError(message);
    hasFailed = true;
    process.stderr.write(`${message}\n`);
  };
  for await (const { line, words: list } of readLines(file)) {
    const operation = readLine(list, line, fail);
    if (operation !== undefined) waiting.push({ line, operation });
    if (waiting.length >= OPERATIONS_AT_ONCE) await send();
  }
  await send();
  if (hasFailed) process.exitCode = ExitCode.FAILED;
}

function readLine(
  list: readonly string[],
  line: number,
  fail: (error: string, line: number) => void,
): RouteOperation | undefined {
  const [verb = "", ...rest] = list[0] === "route" ? list.slice(1) : list;
  const op = verbOf(verb);
  try {
    if (op === undefined) throw wrong(`command "${verb}" is unknown in a batch of routes`);
    return readOperation(op, rest);
  } catch (error) {
    if (!(error instanceof TapirError)) throw error;
    fail(error.message, line);
    return undefined;
  }
}
