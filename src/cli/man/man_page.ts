/** tapir(8), made from the command tree: what `--help` says of every command, as man(7) has it. */
import type { Command } from "commander";
import { ownVersion } from "../../io/package_root.ts";

const ENVIRONMENT: readonly [name: string, meaning: string][] = [
  ["TAPIR_SOCKET", "The router's socket, where no command line names one."],
  ["TAPIR_LOG", "The level of the log: error, warn, info or debug."],
  ["TAPIR_DEBUG", "With the value 1, errors that have a stack show it."],
];

const FILES: readonly [name: string, meaning: string][] = [
  ["/run/tapir/tapir.sock", "The router's socket, unless its configuration or a command line names another."],
  ["/run/netns/", "Where network namespaces have their names (ip-netns(8))."],
];

const EXIT_CODES: readonly [code: string, meaning: string][] = [
  ["0", "Done."],
  ["1", "Failed."],
  ["2", "Wrong usage."],
  ["3", "Invalid configuration."],
  ["4", "No router answers."],
  ["5", "Missing privilege or kernel feature; the message names it and the cure."],
  ["6", "An assertion does not hold (tapir assert)."],
];

/** The whole page. */
export function manPage(program: Command): string {
  const commands = visibleBelow(program);
  const summary = program.description();
  const parts = [
    `.\\" Made from the commands by npm run man: edit those.`,
    `.TH TAPIR 8 "" "tapir ${ownVersion()}" "System Administration"`,
    section("NAME", [`tapir \\- ${escapeText(summary[0].toLowerCase() + summary.slice(1))}`]),
    section("SYNOPSIS", [".B tapir", ".RI [ options ]", ".I command", ".RI [ arguments ]"]),
    section("DESCRIPTION", [
      "Tapir takes the place of what a container host borrows from the kernel: the bridge with a gateway address, ARP,",
      "routing, policy, address translation and connection tracking. One command runs a router",
      "(\\fBtapir run\\fR); the others talk to it over its socket.",
      ".PP",
      ...described(program),
    ]),
    section("COMMANDS", commands.flatMap(commandLines)),
    section(
      "EXIT STATUS",
      EXIT_CODES.flatMap(([code, meaning]) => item(bold(code), meaning)),
    ),
    section(
      "ENVIRONMENT",
      ENVIRONMENT.flatMap(([name, meaning]) => item(bold(name), meaning)),
    ),
    section(
      "FILES",
      FILES.flatMap(([name, meaning]) => item(italic(name), meaning)),
    ),
    section("SEE ALSO", [
      "\\fBip\\-netns\\fR(8), \\fBconntrack\\fR(8), \\fBiptables\\fR(8), and the folder \\fIdocs\\fR of the package.",
    ]),
  ];
  return `${parts.join("\n")}\n`;
}

interface Named {
  words: string;
  command: Command;
}

/** All commands below one that help shows, each with the words that call it. */
function visibleBelow(command: Command, before = command.name()): Named[] {
  const inner = command.createHelp().visibleCommands(command);
  return inner
    .filter((each) => each.name() !== "help")
    .flatMap((each) => {
      const words = `${before} ${each.name()}`;
      return [{ words, command: each }, ...visibleBelow(each, words)];
    });
}

const section = (title: string, lines: readonly string[]): string => [`.SH ${title}`, ...lines].join("\n");
const item = (tag: string, text: string): string[] => [".TP", tag, escapeLine(text)];
const bold = (text: string): string => `\\fB${escapeText(text)}\\fR`;
const italic = (text: string): string => `\\fI${escapeText(text)}\\fR`;

/** Hyphens that people copy, and the one character that troff reads. */
function escapeText(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-");
}

/** A line of text may not begin like a request. */
function escapeLine(text: string): string {
  return escapeText(text).replace(/^([.'])/, "\\&$1");
}

function commandLines({ words, command }: Named): string[] {
  const help = command.createHelp();
  return [
    `.SS ${bold(words)} ${italic(command.usage())}`,
    escapeLine(sentence(command.description())),
    ...help
      .visibleArguments(command)
      .flatMap((each) => item(italic(each.name()), sentence(help.argumentDescription(each)))),
    ...help.visibleOptions(command).flatMap((each) => item(bold(each.flags), sentence(help.optionDescription(each)))),
    ...described(command),
  ];
}

/** Notes, examples and exit codes of a command's help. */
function described(command: Command): string[] {
  return helpBelow(command)
    .split(/\n\n+/)
    .filter((block) => block.trim() !== "")
    .flatMap((block) => {
      const [first, ...rest] = block.split("\n");
      if (rest.length === 0 || !rest[0].startsWith("  ")) return [".PP", ...block.split("\n").map(escapeLine)];
      return [".PP", escapeLine(first), ".RS 2", ".nf", ...rest.map((line) => escapeLine(line.slice(2))), ".fi", ".RE"];
    });
}

/** What stands below the options. */
function helpBelow(command: Command): string {
  const pieces: string[] = [];
  const before = command.configureOutput();
  command.configureOutput({ ...before, writeOut: (text) => void pieces.push(text) });
  command.outputHelp();
  command.configureOutput(before);
  return pieces.slice(1).join("").trim();
}

function sentence(text: string): string {
  const line = text.replaceAll("\n", " ").trim();
  if (line === "") return "";
  const first = /^[a-z]+[A-Z]/.test(line) ? line[0] : line[0].toUpperCase();
  return `${first}${line.slice(1)}${/[.)…]$/.test(line) ? "" : "."}`;
}
