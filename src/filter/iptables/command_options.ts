/** The options of `iptables` itself, and the names that its commands are given. */
import { BUILT_IN_CHAINS, TABLE_NAMES, type TableName } from "../rule_set.ts";
import { notSupported, UsageError } from "./errors.ts";
import { TARGETS } from "./read_targets.ts";

/** Options with their long names. Behind the letter: `:` a value, `?` one that may be left out. */
export const LONG: Readonly<Record<string, string>> = {
  append: "A:",
  check: "C:",
  delete: "D:",
  insert: "I:",
  replace: "R:",
  list: "L?",
  "list-rules": "S?",
  flush: "F?",
  zero: "Z?",
  "new-chain": "N:",
  "delete-chain": "X?",
  "rename-chain": "E:",
  policy: "P:",
  source: "s:",
  src: "s:",
  destination: "d:",
  dst: "d:",
  protocol: "p:",
  proto: "p:",
  "in-interface": "i:",
  "out-interface": "o:",
  match: "m:",
  jump: "j:",
  goto: "g:",
  fragments: "f",
  table: "t:",
  verbose: "v",
  numeric: "n",
  exact: "x",
  "line-numbers": "0",
  "set-counters": "c:",
  wait: "w?",
  "wait-interval": "W:",
  modprobe: "M:",
  ipv4: "4",
  ipv6: "6",
  help: "h",
  version: "V",
};

export const SHAPES: Readonly<Record<string, string>> = Object.fromEntries(
  Object.values(LONG).map((shape) => [shape[0], shape.slice(1)]),
);
export const COMMAND_LETTERS = "ACDIRLSFZNXEPhV";
export const RULE_LETTERS = "sdpiomjgf";
export const LIST_LETTERS = "nx0";
/** Tables of iptables that Tapir does not have. */
const FOREIGN_TABLES = ["mangle", "raw", "security", "broute"];
const LONGEST_CHAIN_NAME = 28;

export function readTable(name: string): TableName {
  const table = TABLE_NAMES.find((each) => each === name);
  if (table !== undefined) return table;
  if (FOREIGN_TABLES.includes(name)) throw notSupported(`the table ${name}`);
  throw new UsageError(`table '${name}' does not exist`);
}

/** `isNew`: one that a chain is to be called by. */
export function checkChainName(name: string, isNew: boolean): void {
  if (name.length > LONGEST_CHAIN_NAME)
    throw new UsageError(`chain name \`${name}' too long (must be under ${LONGEST_CHAIN_NAME + 1} chars)`);
  if (!isNew) return;
  if (/^[-!]/.test(name)) throw new UsageError(`chain name not allowed to start with \`${name[0]}'`);
  if (Object.hasOwn(TARGETS, name)) throw new UsageError("chain name may not clash with target name");
  if (name === "" || !/^[\x21-\x7e]+$/.test(name)) throw new UsageError(`Invalid chain name \`${name}'`);
}

export function isBuiltIn(table: TableName, chain: string): boolean {
  return (BUILT_IN_CHAINS[table] as readonly string[]).includes(chain);
}
