/** What stands below the options in every command's `--help`: examples, and the exit codes. */
import type { Command } from "commander";
import { ExitCode } from "../control/errors.ts";

const MEANINGS: Record<ExitCode, string> = {
  [ExitCode.DONE]: "done",
  [ExitCode.FAILED]: "failed",
  [ExitCode.USAGE]: "wrong usage",
  [ExitCode.CONFIGURATION]: "invalid configuration",
  [ExitCode.NO_ROUTER]: "no router answers",
  [ExitCode.PRIVILEGE]: "missing privilege or kernel feature",
  [ExitCode.ASSERTION]: "an assertion does not hold",
};

/** Exit codes of commands that ask a router that runs. */
export const TALKING = [ExitCode.DONE, ExitCode.FAILED, ExitCode.USAGE, ExitCode.NO_ROUTER, ExitCode.PRIVILEGE];

/** An example is a command and what it is good for. */
export type Example = readonly [command: string, meaning: string];

export interface HelpOptions {
  exitCodes?: readonly ExitCode[];
  /** Paragraphs before the examples. */
  notes?: string;
  /** Other words than usual for an exit code. */
  meanings?: Partial<Record<ExitCode, string>>;
}

/** Adds the two blocks, in the form that the man page and a test of all commands know. */
export function addHelp(command: Command, examples: readonly Example[], options: HelpOptions = {}): Command {
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, meaning]) => `  ${line.padEnd(width)}  ${meaning}`);
  const meanings = { ...MEANINGS, ...options.meanings };
  const codes = (options.exitCodes ?? TALKING).map((code) => `${code} ${meanings[code]}`);
  const notes = options.notes === undefined ? "" : `${options.notes}\n\n`;
  return command.addHelpText("after", `\n${notes}Examples:\n${lines.join("\n")}\n\nExit codes: ${codes.join(", ")}`);
}
