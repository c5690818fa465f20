/** What matches and targets have in common: long options with values, each given once. */
import type { Wish } from "../rule_set.ts";
import { UsageError } from "./errors.ts";
import type { SystemNames } from "./system_names.ts";

export interface OptionShape {
  /** Words that follow: 0, or 1 unless said. */
  values?: 0 | 2;
  /** Whether `!` may stand in front. */
  not?: true;
  /** Other names of the same. */
  aliases?: readonly string[];
}

export interface Given {
  values: string[];
  not?: true;
}

export type Options = Readonly<Record<string, Given>>;

/** What else of the rule, and of the machine, a match or target is read by. */
export interface Context {
  names: SystemNames;
  /** Of the rule's `-p`, when it stands for one protocol. */
  protocol: number | undefined;
}

export interface Reader<T> {
  options: Readonly<Record<string, OptionShape>>;
  /** Options that must be there. */
  required?: readonly string[];
  /** @throws UsageError */
  read(options: Options, context: Context): T;
}

/** The option of that name, with its own name. */
export function findOption(reader: Reader<unknown>, name: string): [string, OptionShape] | undefined {
  if (Object.hasOwn(reader.options, name)) return [name, reader.options[name]];
  return Object.entries(reader.options).find(([, { aliases = [] }]) => aliases.includes(name));
}

export function checkRequired(extension: string, reader: Reader<unknown>, options: Options): void {
  const missing = reader.required?.find((name) => options[name] === undefined);
  if (missing !== undefined) throw new UsageError(`${extension}: option "--${missing}" must be specified`);
}

/** What a given option asks for; `{}` when it is not given, to be spread. */
export function wishFor<Key extends string, T>(
  key: Key,
  given: Given | undefined,
  read: (text: string) => T,
): { [each in Key]?: Wish<T> } {
  if (given === undefined) return {};
  return { [key]: wish(read(given.values[0]), given.not) } as { [each in Key]?: Wish<T> };
}

export function wish<T>(is: T, not?: true): Wish<T> {
  return not === true ? { is, not } : { is };
}

/** To be spread into a match that is turned round as a whole. */
export function notOf({ not }: Given): { not?: true } {
  return not === true ? { not } : {};
}
