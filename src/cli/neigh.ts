/** `tapir neigh`: next hops and their hardware addresses, in the words of `ip neigh`. */
import type { Command } from "commander";
import type { NeighbourOperation } from "../control/routing/schemas.ts";
import type { NeighbourRow } from "../dataplane/messages.ts";
import { ask, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";
import { type CommonOptions, talking } from "./talking.ts";
import { unsupported, Words, wrong } from "./words.ts";

export function addNeigh(program: Command): void {
  const command = talking(program, "neigh", "next hops and their hardware addresses, in the words of ip-neighbour(8)")
    .argument("[words...]", "show, add, replace, change or del")
    .allowUnknownOption();
  addHelp(
    command,
    [
      ["tapir neigh show", "all neighbours and their states"],
      ["tapir neigh add 203.0.113.9 lladdr 02:00:00:00:00:09 dev wan", "a permanent one, which is never asked for"],
      ["tapir neigh del 203.0.113.9 dev wan", "forget one, permanent or not"],
    ],
    { notes: "Neighbours that are made are permanent (nud permanent); other states are refused by name." },
  );
  command.action(async (words: string[], { socket, json }: CommonOptions) => {
    await neigh(words, socketPath(socket), json === true);
  });
}

async function neigh(words: readonly string[], socket: string, asJson: boolean): Promise<void> {
  const [verb = "show", ...rest] = words;
  if (["show", "list", "ls", "lst"].includes(verb)) return show(socket, rest, asJson);
  const op = { add: "add", replace: "replace", change: "change", chg: "change", del: "del", delete: "del" }[verb];
  if (op === undefined) throw wrong(`command "${verb}" is unknown, try "tapir neigh --help"`);
  await ask(socket, "POST", "/v1/routing/neighbours", readNeighbour(op as NeighbourOperation["op"], rest));
}

/** The words after the verb. */
export function readNeighbour(op: NeighbourOperation["op"], list: readonly string[]): NeighbourOperation {
  const words = new Words(list);
  let address: string | undefined;
  let dev: string | undefined;
  let lladdr: string | undefined;
  while (!words.isEmpty) {
    const word = words.next();
    if (word === "dev") dev = words.next(word);
    else if (word === "lladdr") lladdr = words.next(word);
    else if (word === "nud") checkState(words.next(word));
    else if (word === "to") address = words.next(word);
    else if (["proxy", "router", "extern_learn", "protocol", "use", "managed"].includes(word)) throw unsupported(word);
    else address = word;
  }
  if (address === undefined || dev === undefined) throw wrong("device and destination are required arguments");
  return { op, address, dev, ...(lladdr === undefined ? {} : { lladdr }) };
}

function checkState(state: string): void {
  if (state !== "permanent") throw unsupported(`nud ${state}`);
}

interface ShownNeighbour extends Omit<NeighbourRow, "interface"> {
  interface: string;
}

async function show(socket: string, list: readonly string[], asJson: boolean): Promise<void> {
  const { address, dev } = readChoice(list);
  const all = await ask<ShownNeighbour[]>(socket, "GET", "/v1/neighbours");
  const rows = all.filter((row) => {
    return (dev === undefined || row.interface === dev) && (address === undefined || row.address === address);
  });
  if (asJson) {
    process.stdout.write(`${JSON.stringify(rows.map((row) => neighbourJson(row, dev)))}\n`);
    return;
  }
  for (const { address: own, interface: name, mac, state } of rows) {
    const device = dev === undefined ? ` dev ${name}` : "";
    process.stdout.write(`${own}${device}${mac === null ? "" : ` lladdr ${mac}`} ${state.toUpperCase()} \n`);
  }
}

function readChoice(list: readonly string[]): { address?: string; dev?: string } {
  const words = new Words(list);
  const choice: { address?: string; dev?: string } = {};
  while (!words.isEmpty) {
    const word = words.next();
    if (word === "dev") choice.dev = words.next(word);
    else if (word === "to") choice.address = words.next(word);
    else if (/^\d/.test(word)) choice.address = word;
    else throw unsupported(word);
  }
  return choice;
}

function neighbourJson({ address, interface: dev, mac, state }: ShownNeighbour, asked: string | undefined): object {
  return {
    dst: address,
    ...(asked === undefined ? { dev } : {}),
    ...(mac === null ? {} : { lladdr: mac }),
    state: [state.toUpperCase()],
  };
}
