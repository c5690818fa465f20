/**
 * A rule from the words of a command. Options of matches and targets are known once these are named: `-m` and `-j` load
 * them, and an option of the rule's protocol loads that protocol's match.
 */
import type { Match, Range, Rule, Target, Wish } from "../rule_set.ts";
import { notSupported, UsageError } from "./errors.ts";
import { type Context, checkRequired, findOption, type Given, type OptionShape, type Reader, wish } from "./options.ts";
import { MATCHES, PROTOCOL_MATCHES } from "./read_matches.ts";
import { TARGETS } from "./read_targets.ts";
import type { SystemNames } from "./system_names.ts";
import { readPrefixes, readProtocol } from "./values.ts";
import { FOREIGN_TARGETS } from "./vocabulary.ts";

/** What a command says of a rule: `-s` and `-d` with several addresses stand for a rule each. */
export interface RuleSpec {
  rules: Rule[];
  /** All of it as one rule, as the configuration has such lists. */
  whole: Rule;
}

interface Loaded {
  name: string;
  reader: Reader<Match | Target>;
  given: Record<string, Given>;
  /** A match that an option of the rule's protocol has loaded. */
  isImplied: boolean;
}

/** An option of a match or target: the values that it takes, and where they go. */
export interface ExtensionOption {
  name: string;
  shape: OptionShape;
  owner: Loaded;
}

export class RuleReader {
  private readonly names: SystemNames;
  private readonly matches: Loaded[] = [];
  private target: Loaded | undefined;
  private jump: Target | undefined;
  private protocol: Wish<number> | undefined;
  private sources: Wish<Range[]> | undefined;
  private destinations: Wish<Range[]> | undefined;
  private readonly rule: Rule = { matches: [] };
  private readonly used = new Set<string>();

  constructor(names: SystemNames) {
    this.names = names;
  }

  /** Letters of the options that were taken. */
  get usedLetters(): ReadonlySet<string> {
    return this.used;
  }

  /** Takes an option that every rule may have: `-s -d -i -o -p -f -m -j -g`. */
  take(letter: string, value: string, not: true | undefined): void {
    const mayRepeat = letter === "m";
    const key = letter === "g" ? "j" : letter;
    if (this.used.has(key) && !mayRepeat) throw new UsageError(`multiple -${key} flags not allowed`);
    if (not === true && "mjg".includes(letter)) throw new UsageError(`cannot have ! before -${letter}`);
    this.used.add(key);
    switch (letter) {
      case "s":
        this.sources = wish(readPrefixes(value), not);
        break;
      case "d":
        this.destinations = wish(readPrefixes(value), not);
        break;
      case "i":
        this.takeInterface("in", value, not);
        break;
      case "o":
        this.takeInterface("out", value, not);
        break;
      case "p":
        this.takeProtocol(value, not);
        break;
      case "f":
        this.rule.fragment = wish(true, not);
        break;
      case "m":
        this.load(value);
        break;
      case "j":
        this.takeTarget(value);
        break;
      default:
        this.jump = { kind: "GOTO", chain: value };
    }
  }

  private takeInterface(side: "in" | "out", value: string, not: true | undefined): void {
    const names = value.split(",");
    if (names.some((name) => name === "" || /\s/.test(name))) throw new UsageError(`bad interface name \`${value}'`);
    if (names.includes("+") && not === undefined) return;
    this.rule[side] = wish(names, not);
  }

  private takeProtocol(value: string, not: true | undefined): void {
    const number = readProtocol(value, this.names);
    if (number !== 0) this.protocol = wish(number, not);
    else if (not === true) throw new UsageError("rule would never match protocol");
  }

  private takeTarget(value: string): void {
    if (FOREIGN_TARGETS.has(value)) throw notSupported(`the target ${value}`);
    if (Object.hasOwn(TARGETS, value))
      this.target = { name: value, reader: TARGETS[value], given: {}, isImplied: false };
    else this.jump = { kind: "JUMP", chain: value };
  }

  private load(name: string, isImplied = false): Loaded {
    if (!Object.hasOwn(MATCHES, name)) throw notSupported(`the match "${name}"`);
    const implied = this.matches.find((each) => each.name === name && each.isImplied);
    if (implied !== undefined) return implied;
    const loaded: Loaded = { name, reader: MATCHES[name as Match["kind"]], given: {}, isImplied };
    this.matches.push(loaded);
    return loaded;
  }

  /** The option of a loaded match or target (the one loaded last is asked first), or of the protocol's match. */
  find(name: string): ExtensionOption | undefined {
    for (const owner of this.loaded()) {
      const found = findOption(owner.reader, name);
      if (found !== undefined) return { name: found[0], shape: found[1], owner };
    }
    const kind = this.protocolMatch();
    const found = kind === undefined ? undefined : findOption(MATCHES[kind], name);
    if (kind === undefined || found === undefined) return undefined;
    return { name: found[0], shape: found[1], owner: this.load(kind, true) };
  }

  /** The match of the rule's protocol, while it is not loaded. */
  private protocolMatch(): Match["kind"] | undefined {
    const kind = this.protocol?.not === undefined ? PROTOCOL_MATCHES[this.protocol?.is ?? -1] : undefined;
    return kind === undefined || this.matches.some((each) => each.name === kind) ? undefined : kind;
  }

  protocolOptions(): string[] {
    const kind = this.protocolMatch();
    return kind === undefined ? [] : namesOf(MATCHES[kind]);
  }

  /** Names of all options that are known by now, for those that are abbreviated. */
  optionNames(): string[] {
    return this.loaded().flatMap(({ reader }) => namesOf(reader));
  }

  give({ name, shape, owner }: ExtensionOption, values: string[], not: true | undefined): void {
    if (owner.given[name] !== undefined) {
      throw new UsageError(`${owner.name}: option "--${name}" can only be used once.`);
    }
    if (not === true && shape.not !== true)
      throw new UsageError(`${owner.name}: option "--${name}" cannot be inverted.`);
    owner.given[name] = not === true ? { values, not } : { values };
  }

  private loaded(): Loaded[] {
    return [...(this.target === undefined ? [] : [this.target]), ...[...this.matches].reverse()];
  }

  /** @throws UsageError */
  finish(): RuleSpec {
    const isOne = this.protocol !== undefined && this.protocol.not === undefined;
    const context: Context = { names: this.names, protocol: isOne ? this.protocol?.is : undefined };
    const { rule } = this;
    if (this.protocol !== undefined) rule.protocol = this.protocol;
    rule.matches = this.matches.map((each) => readLoaded(each, context) as Match);
    if (this.target !== undefined) rule.target = readLoaded(this.target, context) as Target;
    else if (this.jump !== undefined) rule.target = this.jump;
    if (rule.target?.kind === "REJECT" && rule.target.answer === "tcp-reset" && context.protocol !== 6)
      throw new UsageError("REJECT with tcp-reset needs -p tcp");
    const several = [this.sources, this.destinations].some((each) => each?.not === true && each.is.length > 1);
    if (several) throw new UsageError("! not allowed with multiple source or destination IP addresses");
    const rules = each(this.sources).flatMap((source) =>
      each(this.destinations).map((destination) => ({ ...rule, ...addresses(source, destination) })),
    );
    return { rules, whole: { ...rule, ...addresses(this.sources, this.destinations) } };
  }
}

function namesOf({ options }: Reader<unknown>): string[] {
  return Object.entries(options).flatMap(([name, { aliases = [] }]) => [name, ...aliases]);
}

function readLoaded({ name, reader, given }: Loaded, context: Context): Match | Target {
  checkRequired(name, reader, given);
  return reader.read(given, context);
}

function each(wanted: Wish<Range[]> | undefined): (Wish<Range[]> | undefined)[] {
  return wanted === undefined ? [undefined] : wanted.is.map((range) => wish([range], wanted.not));
}

/** All addresses are no wish. */
function addresses(source: Wish<Range[]> | undefined, destination: Wish<Range[]> | undefined): Partial<Rule> {
  return {
    ...(source === undefined || isAll(source) ? {} : { source }),
    ...(destination === undefined || isAll(destination) ? {} : { destination }),
  };
}

function isAll({ is, not }: Wish<Range[]>): boolean {
  return not === undefined && is.some(({ first, last }) => first === 0 && last === -1);
}
