/**
 * `tapir iptables`, `iptables-save` and `iptables-restore`. The words are iptables' own, `-j` and all: this program's
 * option parser has no part in them but for `--socket` and `--json`. They are read here once, so that wrong words are said to be so
 * whether a router runs or not, and once more where the router is.
 */
import { readFileSync } from "node:fs";
import type { Command as Program } from "commander";
import { ExitCode, TapirError } from "../control/errors.ts";
import { RulesError, UsageError } from "../filter/iptables/errors.ts";
import { readCommand } from "../filter/iptables/read_command.ts";
import { ask, socketPath } from "./client.ts";
import { addHelp, TALKING } from "./help.ts";
import { addRestore } from "./iptables_restore.ts";
import { addSave } from "./iptables_save.ts";

/** Ten thousand rules take some time to compile. */
export const PATIENCE_MS = 120_000;

interface Options {
  socket?: string;
  json?: boolean;
}

export function addIptables(program: Program): void {
  const command = program
    .command("iptables")
    .description("policy and NAT of the running router, in iptables' words and with its output")
    .usage("[--socket PATH] [-t filter|nat] COMMAND [rule]")
    .option("--socket <path>", "the router's socket (default: $TAPIR_SOCKET or /run/tapir/tapir.sock)")
    .option("--json", "print all tables as JSON")
    .argument("[words...]", "as iptables has them: -A, -I, -D, -R, -C, -L, -S, -F, -N, -X, -E, -P, -Z and their rules")
    .allowUnknownOption()
    .helpOption("--help", "display help for command")
    .action(async (words: string[], { socket, json }: Options) => {
      if (json === true) await printJson(socketPath(socket), words);
      else await run(command, socketPath(socket), words);
    });
  addHelp(
    command,
    [
      ["tapir iptables -t nat -I POSTROUTING -s 10.55.66.2/32 -o eth0 -j MASQUERADE", "hide a container"],
      ["tapir iptables -P FORWARD DROP", "forward nothing that no rule accepts"],
      ["tapir iptables -I FORWARD -i hwchiu0 -o eth0 -j ACCEPT", "but this"],
      ["tapir iptables -L -n -v --line-numbers", "the rules, with what they have met"],
      ["tapir iptables -t nat -S", "the same as commands"],
    ],
    {
      exitCodes: TALKING,
      meanings: { [ExitCode.FAILED]: "no such rule or chain, or refused" },
      notes: "Interfaces are the router's networks, ports and uplinks, by their names. docs/iptables.md has the rest.",
    },
  );
  addSave(program);
  addRestore(program);
}

async function run(command: Program, socket: string, words: readonly string[]): Promise<void> {
  const { action } = read("iptables", () => readCommand(words));
  if (action.kind === "help") command.outputHelp();
  else if (action.kind === "version") process.stdout.write("iptables v1.8.9 (tapir)\n");
  else {
    const { output } = await ask<{ output: string }>(socket, "POST", "/v1/iptables", { words }, PATIENCE_MS);
    process.stdout.write(output);
  }
}

async function printJson(socket: string, words: readonly string[]): Promise<void> {
  const { action } = read("iptables", () => readCommand(words.length === 0 ? ["-L"] : words));
  if (action.kind !== "list" && action.kind !== "list-rules") {
    throw new TapirError("iptables: --json goes with -L and -S", ExitCode.USAGE);
  }
  process.stdout.write(`${JSON.stringify(await ask<object>(socket, "GET", "/v1/iptables"), null, 2)}\n`);
}

/** Reads words; what is wrong with them becomes wrong usage of the command. */
export function read<T>(name: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof UsageError || error instanceof RulesError)
      throw new TapirError(`${name}: ${error.message}`, ExitCode.USAGE);
    throw error;
  }
}

/** Standard input, or a file. */
export function readInput(name: string, file: string | undefined): string {
  try {
    return readFileSync(file ?? 0, "utf8");
  } catch (error) {
    throw new TapirError(`${name}: ${file ?? "standard input"}: cannot be read (${(error as Error).message})`);
  }
}
