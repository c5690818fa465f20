/** `tapir completion`: prints a script for the shell; what it asks at each Tab is the hidden command `__complete`. */
import { readdirSync } from "node:fs";
import { Argument, type Command } from "commander";
import { ExitCode } from "../../control/errors.ts";
import type { RouterNames } from "../../control/names_api.ts";
import { ask, socketPath } from "../client.ts";
import { addHelp } from "../help.ts";
import { type Candidate, complete, type Source } from "./complete.ts";
import { SCRIPTS, type Shell } from "./scripts.ts";

/** A router that does not answer at once is not waited for: somebody has pressed a key. */
const PATIENCE_MS = 500;
const NAMESPACES = "/run/netns";

export function addCompletion(program: Command): void {
  const command = program
    .command("completion")
    .description("print a script that completes tapir's words in a shell")
    .addArgument(new Argument("<shell>", "which shell").choices(Object.keys(SCRIPTS)))
    .action((shell: Shell) => void process.stdout.write(SCRIPTS[shell]));
  addHelp(
    command,
    [
      ["source <(tapir completion bash)", "in this shell; also a line for ~/.bashrc"],
      ["tapir completion bash > /etc/bash_completion.d/tapir", "for everybody"],
      ['tapir completion zsh > "$fpath[1]/_tapir"', "zsh loads it by itself"],
    ],
    { exitCodes: [ExitCode.DONE, ExitCode.USAGE] },
  );
  program
    .command("__complete", { hidden: true })
    .argument("<index>", "which of the words the cursor is in", Number)
    .argument("[words...]")
    .action(async (index: number, words: string[]) => {
      process.stdout.write(await answer(program, words.slice(1, index), words[index] ?? ""));
    });
}

/** A line for each candidate: the word, a tab, what it means. `:files` leaves the word to the shell. */
async function answer(program: Command, words: string[], current: string): Promise<string> {
  const { candidates, source } = complete(program, words, current);
  if (source === "files") return ":files\n";
  const names = source === undefined ? [] : await namesOf(source, socketIn(words));
  const live = names.filter((word) => word.startsWith(current)).map((word) => ({ word, description: "" }));
  return [...candidates, ...live].map(line).join("");
}

const line = ({ word, description }: Candidate): string => `${word}\t${description}\n`;

/** The socket that the command line itself names. */
function socketIn(words: readonly string[]): string {
  const at = words.lastIndexOf("--socket");
  return socketPath(at < 0 ? undefined : words[at + 1]);
}

async function namesOf(source: Source, socket: string): Promise<string[]> {
  try {
    if (source === "namespaces") return readdirSync(NAMESPACES);
    const names = await ask<RouterNames>(socket, "GET", "/v1/names", undefined, PATIENCE_MS);
    if (source === "interfaces") return [...names.networks, ...names.uplinks, ...names.ports];
    return source === "files" ? [] : names[source];
  } catch {
    // No router, no names.
    return [];
  }
}
