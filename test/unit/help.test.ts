/** Every command explains itself: what it does, examples of it, and what it ends with. */
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { createProgram } from "../../src/cli/main.ts";

function textOf(command: Command): string {
  let text = "";
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
    getOutHelpWidth: () => 100,
  });
  command.outputHelp();
  return text;
}

interface Named {
  words: string;
  command: Command;
}

/** The program and all commands below it that help shows. */
function everyCommand(command: Command = createProgram(), before: string[] = []): Named[] {
  const words = [...before, command.name()];
  const inner = command.createHelp().visibleCommands(command);
  const below = inner.filter((each) => each.name() !== "help").flatMap((each) => everyCommand(each, words));
  return [{ words: words.join(" "), command }, ...below];
}

describe("--help", () => {
  it("knows the commands that this test walks", () => {
    const words = everyCommand().map((each) => each.words);
    for (const name of ["run", "check", "lab", "attach", "detach", "show", "conntrack", "doctor", "completion"]) {
      expect(words).toContain(`tapir ${name}`);
    }
  });

  it.each(everyCommand())("of $words says what it does, with examples and exit codes", ({ words, command }) => {
    const text = textOf(command);
    expect(command.description(), "a description").not.toBe("");
    // Missing? `addHelp` in src/cli/help.ts writes both blocks.
    expect(text, "an example of the command itself").toMatch(
      new RegExp(`^Examples:\n(  .*\n)*  .*\\b${words}\\b`, "m"),
    );
    expect(text, "exit codes").toMatch(/^Exit codes: 0 .*\b2 |^Exit codes: 0 .*, 1 /m);
    for (const option of command.createHelp().visibleOptions(command)) expect(option.description).not.toBe("");
    for (const argument of command.registeredArguments) expect(argument.description).not.toBe("");
  });
});
