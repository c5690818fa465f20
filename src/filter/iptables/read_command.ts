/** The words of `iptables` to a command: what it does to which chain, and the rule that it speaks of. */
import type { TableName } from "../rule_set.ts";
import {
  COMMAND_LETTERS,
  checkChainName,
  LIST_LETTERS,
  LONG,
  RULE_LETTERS,
  readTable,
  SHAPES,
} from "./command_options.ts";
import { notSupported, UsageError } from "./errors.ts";
import { RuleReader, type RuleSpec } from "./read_rule.ts";
import { systemNames } from "./system_names.ts";
import { readNumber } from "./values.ts";
import type { PacketCount } from "./write_rule.ts";

export type Action =
  | { kind: "append"; chain: string; spec: RuleSpec; counted?: PacketCount }
  /** `at` counts from 1, here and below. */
  | { kind: "insert" | "replace"; chain: string; at: number; spec: RuleSpec; counted?: PacketCount }
  | { kind: "delete" | "check"; chain: string; spec: RuleSpec }
  | { kind: "delete-at"; chain: string; at: number }
  | { kind: "list" | "list-rules"; chain?: string; at?: number; zero?: true }
  | { kind: "flush" | "delete-chain"; chain?: string }
  | { kind: "zero"; chain?: string; at?: number }
  | { kind: "new-chain"; chain: string }
  | { kind: "rename"; chain: string; to: string }
  | { kind: "policy"; chain: string; policy: string }
  | { kind: "help" }
  | { kind: "version" };

export interface Command {
  table: TableName;
  action: Action;
  verbose: boolean;
  numeric: boolean;
  exact: boolean;
  lineNumbers: boolean;
}

/** @throws UsageError */
export function readCommand(words: readonly string[]): Command {
  return new CommandReader(words).read();
}

class CommandReader {
  private readonly words: readonly string[];
  private at = 0;
  private not: true | undefined;
  private readonly rule = new RuleReader(systemNames());
  private table: TableName | undefined;
  /** Command letters as they were given, with their words. */
  private readonly commands: { letter: string; operands: string[] }[] = [];
  private readonly flags = new Set<string>();
  private counted: PacketCount | undefined;

  constructor(words: readonly string[]) {
    this.words = words;
  }

  read(): Command {
    while (this.at < this.words.length) {
      const word = this.words[this.at++];
      if (word === "!") {
        if (this.not === true) throw new UsageError("multiple consecutive ! not allowed");
        this.not = true;
        if (this.at === this.words.length) throw new UsageError("nothing appropriate following !");
      } else if (word.startsWith("--") && word.length > 2) this.takeLong(word.slice(2));
      else if (word.startsWith("-") && word.length > 1) this.takeCluster(word.slice(1));
      else throw new UsageError(`Bad argument \`${word}'`);
    }
    const action = this.action();
    const { flags } = this;
    return {
      table: this.table ?? "filter",
      action,
      verbose: flags.has("v"),
      numeric: flags.has("n"),
      exact: flags.has("x"),
      lineNumbers: flags.has("0"),
    };
  }

  private takeLong(text: string): void {
    const [name, ...rest] = text.split("=");
    const attached = rest.length === 0 ? undefined : rest.join("=");
    if (Object.hasOwn(LONG, name)) {
      this.takeOption(LONG[name][0], attached, `--${name}`);
      return;
    }
    const whole = this.rule.find(name) === undefined ? this.unabbreviated(name) : name;
    if (whole === undefined) throw new UsageError(`unknown option "--${name}"`);
    const known = this.rule.find(whole);
    if (known === undefined) {
      this.takeOption(LONG[whole][0], attached, `--${name}`);
      return;
    }
    const count = known.shape.values ?? 1;
    const values = count === 0 || attached === undefined ? [] : [attached];
    while (values.length < count) values.push(this.valueOf(`--${name}`));
    this.rule.give(known, values, this.takeNot());
  }

  /** The one option that begins so. */
  private unabbreviated(name: string): string | undefined {
    const known = [...Object.keys(LONG), ...this.rule.optionNames()].filter((each) => each.startsWith(name));
    const begins = known.length > 0 ? known : this.rule.protocolOptions().filter((each) => each.startsWith(name));
    const meanings = new Set(begins.map((each) => LONG[each] ?? each));
    return meanings.size === 1 ? begins[0] : undefined;
  }

  private takeCluster(letters: string): void {
    for (let at = 0; at < letters.length; at++) {
      const letter = letters[at];
      const shape = SHAPES[letter];
      if (shape === undefined || letter === "0") throw new UsageError(`unknown option "-${letter}"`);
      const rest = letters.slice(at + 1);
      this.takeOption(letter, shape === "" || rest === "" ? undefined : rest, `-${letter}`);
      if (shape !== "") return;
    }
  }

  /** `attached`: a value in the same word. */
  private takeOption(letter: string, attached: string | undefined, spelling: string): void {
    const shape = SHAPES[letter];
    const value = attached ?? (shape === ":" ? this.valueOf(spelling) : shape === "?" ? this.optional() : undefined);
    if (letter === "6") throw notSupported("IPv6");
    if (RULE_LETTERS.includes(letter)) {
      this.rule.take(letter, value ?? "", this.takeNot());
      return;
    }
    if (this.takeNot() === true) throw new UsageError(`cannot have ! before ${spelling}`);
    if (COMMAND_LETTERS.includes(letter)) this.takeCommand(letter, value);
    else if (letter === "t") this.table = readTable(value ?? "");
    else if (letter === "c") this.takeCounters(value ?? "");
    else if (letter === "w" || letter === "W") this.checkWait(value, spelling);
    else this.flags.add(letter);
  }

  private takeNot(): true | undefined {
    const { not } = this;
    this.not = undefined;
    return not;
  }

  private valueOf(spelling: string): string {
    if (this.at >= this.words.length) throw new UsageError(`option "${spelling}" requires an argument`);
    return this.words[this.at++];
  }

  /** The next word, where it is no option. */
  private optional(): string | undefined {
    const word = this.words[this.at];
    if (word === undefined || word.startsWith("-") || word === "!") return undefined;
    this.at++;
    return word;
  }

  private checkWait(value: string | undefined, spelling: string): void {
    if (value !== undefined && readNumber(value, 0, 2 ** 31) === undefined)
      throw new UsageError(`wait seconds not numeric: ${spelling} ${value}`);
  }

  private takeCounters(value: string): void {
    const [packets, bytes = this.optional() ?? ""] = value.split(",");
    if (!/^\d{1,20}$/.test(packets) || !/^\d{1,20}$/.test(bytes)) throw new UsageError("-c packet counter not numeric");
    this.counted = { packets: Number(packets), bytes: Number(bytes) };
  }

  private takeCommand(letter: string, value: string | undefined): void {
    const operands = value === undefined ? [] : [value];
    const others = { D: 1, I: 1, L: 1, S: 1, Z: 1, R: 1, E: 1, P: 1 }[letter] ?? 0;
    if (operands.length > 0 && others > 0) {
      const next = letter === "E" || letter === "P" || letter === "R" ? this.required(letter) : this.optional();
      if (next !== undefined) operands.push(next);
    }
    const other = this.commands[0];
    const isListing = other !== undefined && /^[LS]Z$|^Z[LS]$/.test(other.letter + letter);
    if (other !== undefined && !isListing) throw new UsageError(`Cannot use -${letter} with -${other.letter}`);
    this.commands.push({ letter, operands });
  }

  private required(letter: string): string {
    const word = this.optional();
    const needs = { E: "old-chain-name and new-chain-name", P: "a chain and a policy", R: "a chain and a rule number" };
    if (word === undefined) throw new UsageError(`-${letter} requires ${needs[letter as "E"]}`);
    return word;
  }

  private action(): Action {
    const [first, second] = this.commands;
    if (first === undefined) throw new UsageError("no command specified");
    const isZeroed = second !== undefined;
    const { letter, operands } = isZeroed && first.letter === "Z" ? second : first;
    this.refuseOptions(letter, operands);
    const [chain, operand] = operands;
    if (chain !== undefined) checkChainName(chain, letter === "N");
    switch (letter) {
      case "A":
        return { kind: "append", chain, spec: this.spec(chain), ...this.counters() };
      case "I":
        return { kind: "insert", chain, at: ruleNumber(operand ?? "1"), spec: this.spec(chain), ...this.counters() };
      case "R":
        return { kind: "replace", chain, at: ruleNumber(operand), spec: this.spec(chain), ...this.counters() };
      case "D":
        if (operand !== undefined) return { kind: "delete-at", chain, at: ruleNumber(operand) };
        return { kind: "delete", chain, spec: this.spec(chain) };
      case "C":
        return { kind: "check", chain, spec: this.spec(chain) };
      case "L":
      case "S":
        return {
          kind: letter === "L" ? "list" : "list-rules",
          ...place(chain, operand),
          ...(isZeroed ? { zero: true } : {}),
        };
      case "Z":
        return { kind: "zero", ...place(chain, operand) };
      case "F":
        return { kind: "flush", ...place(chain, undefined) };
      case "X":
        return { kind: "delete-chain", ...place(chain, undefined) };
      case "N":
        return { kind: "new-chain", chain };
      case "E":
        checkChainName(operand, true);
        return { kind: "rename", chain, to: operand };
      case "P":
        return { kind: "policy", chain, policy: operand };
      case "h":
        return { kind: "help" };
      default:
        return { kind: "version" };
    }
  }

  private counters(): { counted?: PacketCount } {
    return this.counted === undefined ? {} : { counted: this.counted };
  }

  private spec(chain: string): RuleSpec {
    const { usedLetters } = this.rule;
    const noIngress = ["OUTPUT", "POSTROUTING"];
    const noEgress = ["INPUT", "PREROUTING"];
    if (usedLetters.has("i") && noIngress.includes(chain)) throw new UsageError(`Can't use -i with ${chain}`);
    if (usedLetters.has("o") && noEgress.includes(chain)) throw new UsageError(`Can't use -o with ${chain}`);
    const spec = this.rule.finish();
    if (this.table === "nat" && spec.whole.target?.kind === "DROP")
      throw new UsageError('The "nat" table is not intended for filtering, the use of DROP is therefore inhibited.');
    return spec;
  }

  /** As iptables has it: which options go with which command. */
  private refuseOptions(letter: string, operands: readonly string[]): void {
    const takesRule = "ACIR".includes(letter) || (letter === "D" && operands.length < 2);
    const refused = takesRule ? undefined : [...this.rule.usedLetters][0];
    const listing = letter === "L" ? undefined : [...this.flags].find((flag) => LIST_LETTERS.includes(flag));
    const counting = "AIR".includes(letter) || this.counted === undefined ? undefined : "c";
    const illegal = refused ?? listing ?? counting;
    if (illegal === undefined) return;
    throw new UsageError(`Illegal option \`${illegal === "0" ? "--line-numbers" : `-${illegal}`}' with this command`);
  }
}

function place(chain: string | undefined, operand: string | undefined): { chain?: string; at?: number } {
  return {
    ...(chain === undefined ? {} : { chain }),
    ...(operand === undefined ? {} : { at: ruleNumber(operand) }),
  };
}

function ruleNumber(text: string): number {
  const number = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (number < 1) throw new UsageError(`Invalid rule number \`${text}'`);
  return number;
}
