/**
 * What may stand at the cursor of a `tapir` command line: taken from the command tree itself, so that every command
 * is covered. Names that only a running router knows are left to the caller, as a source.
 */
import type { Argument, Command, Option } from "commander";

export interface Candidate {
  word: string;
  description: string;
}

/** Where words come from that no command tree holds. */
export type Source = "files" | "namespaces" | "networks" | "ports" | "uplinks" | "interfaces";

export interface Completion {
  candidates: Candidate[];
  source?: Source;
}

const NOTHING: Completion = { candidates: [] };

/** Sources by what stands between the brackets of an option or an argument. */
const SOURCES: Record<string, Source> = {
  file: "files",
  path: "files",
  pcap: "files",
  netns: "namespaces",
  namespace: "namespaces",
  network: "networks",
  port: "ports",
  uplink: "uplinks",
  interface: "interfaces",
};

/** Those that the words in brackets do not tell, by command and option or argument. */
const PARTICULAR: Record<string, Source | undefined> = {
  "attach --netns": "namespaces",
  "detach name": "ports",
  "impair name": "interfaces",
  // Numbers, not devices.
  "conntrack --sport": undefined,
  "conntrack --dport": undefined,
  "conntrack --reply-port-src": undefined,
  "conntrack --reply-port-dst": undefined,
  "conntrack --orig-port-src": undefined,
  "conntrack --orig-port-dst": undefined,
};

function sourceOf(command: Command, name: string, placeholder: string): Source | undefined {
  const key = `${command.name()} ${name}`;
  return Object.hasOwn(PARTICULAR, key) ? PARTICULAR[key] : SOURCES[placeholder.toLowerCase()];
}

/** `words` stand between `tapir` and the cursor, `current` is what has been typed of the word at the cursor. */
export function complete(program: Command, words: readonly string[], current: string): Completion {
  const place = new Place(program);
  // Bash makes a word of its own of an equals sign.
  for (const word of words) if (word !== "=") place.take(word);
  const typed = current === "=" ? "" : current;
  const { candidates, source } = place.completion(typed);
  return {
    candidates: candidates.filter(({ word }) => word.startsWith(typed)),
    ...(source === undefined ? {} : { source }),
  };
}

/** How far the words before the cursor lead into the command tree. */
class Place {
  private command: Command;
  /** An option that waits for its value. */
  private pending: Option | undefined;
  private position = 0;
  /** After `--`, or inside another program's command line. */
  private isForeign = false;

  constructor(program: Command) {
    this.command = program;
  }

  take(word: string): void {
    if (this.pending !== undefined) {
      this.pending = undefined;
    } else if (word === "--") {
      this.isForeign = true;
    } else if (word.startsWith("-") && !this.isForeign) {
      this.takeOption(word);
    } else {
      this.takeOperand(word);
    }
  }

  private takeOption(word: string): void {
    const [name, value] = word.split("=", 2);
    const option = this.command.options.find(({ long, short }) => long === name || short === name);
    if (option?.required === true && value === undefined) this.pending = option;
  }

  private takeOperand(word: string): void {
    const inner = this.position === 0 ? this.command.commands.find((each) => isCalled(each, word)) : undefined;
    if (inner === undefined) {
      this.position++;
      return;
    }
    this.command = inner;
    this.position = 0;
  }

  completion(typed: string): Completion {
    const { command, pending } = this;
    if (pending !== undefined) return this.valueOf(pending);
    if (typed.startsWith("-") && !this.isForeign) return { candidates: optionsOf(command) };
    const inner = this.position === 0 ? visible(command) : [];
    const { registeredArguments } = command;
    const last = registeredArguments.at(-1);
    const argument = registeredArguments[this.position] ?? (last?.variadic === true ? last : undefined);
    const own = argument === undefined ? NOTHING : this.argumentOf(argument);
    return { ...own, candidates: [...inner, ...own.candidates] };
  }

  private valueOf(option: Option): Completion {
    if (option.argChoices !== undefined) return { candidates: option.argChoices.map(plain) };
    const placeholder = /[<[]([\w-]+)/.exec(option.flags)?.[1] ?? "";
    return fromSource(sourceOf(this.command, option.long ?? "", placeholder));
  }

  private argumentOf(argument: Argument): Completion {
    if (argument.argChoices !== undefined) return { candidates: argument.argChoices.map(plain) };
    return fromSource(sourceOf(this.command, argument.name(), argument.name()));
  }
}

function fromSource(source: Source | undefined): Completion {
  return source === undefined ? NOTHING : { candidates: [], source };
}

const plain = (word: string): Candidate => ({ word, description: "" });

function isCalled(command: Command, word: string): boolean {
  return command.name() === word || command.aliases().includes(word);
}

function visible(command: Command): Candidate[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .map((inner) => ({ word: inner.name(), description: inner.description() }));
}

function optionsOf(command: Command): Candidate[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .flatMap(({ long, short, description }) =>
      [long, short].flatMap((word) => (word === undefined ? [] : { word, description })),
    );
}
