/**
 * `iptables-restore`: text as `iptables-save` writes it. The whole text is one change: what is wrong in any of its lines
 * leaves all rules as they are.
 */
import { type RuleSet, TABLE_NAMES, type TableName } from "../rule_set.ts";
import { apply } from "./apply.ts";
import { checkChainName, isBuiltIn, readTable } from "./command_options.ts";
import { RuleEditor, type RulesChange } from "./edit.ts";
import { RulesError, UsageError } from "./errors.ts";
import { readCommand } from "./read_command.ts";
import { splitWords } from "./words.ts";
import type { PacketCount } from "./write_rule.ts";

export interface RestoreOptions {
  /** Leaves what there is, and adds to it. */
  noflush?: boolean;
  /** Takes the counters of the text. */
  counters?: boolean;
  /** Only this table of the text. */
  table?: TableName;
  /** A list of addresses is one rule, as in the configuration, and not one for each address. */
  keepLists?: boolean;
}

/** Where in the text it is wrong; the line counts from 1. */
export class RestoreError extends Error {
  readonly line: number;
  readonly isUsage: boolean;

  constructor(line: number, message: string, isUsage: boolean) {
    super(message);
    this.line = line;
    this.isUsage = isUsage;
  }
}

/** @throws RestoreError */
export function restore(former: RuleSet, text: string, options: RestoreOptions): RulesChange {
  const restorer = new Restorer(former, options);
  const lines = text.split("\n");
  let at = 0;
  try {
    for (; at < lines.length; at++) restorer.take(lines[at].replace(/\r$/, ""));
    at--;
    return restorer.finish();
  } catch (error) {
    if (!(error instanceof UsageError) && !(error instanceof RulesError)) throw error;
    throw new RestoreError(at + 1, error.message, error instanceof UsageError);
  }
}

class Restorer {
  private readonly editor: RuleEditor;
  private readonly options: RestoreOptions;
  private table: TableName | undefined;
  /** The table is not the wanted one. */
  private isSkipped = false;

  constructor(former: RuleSet, options: RestoreOptions) {
    this.editor = new RuleEditor(former);
    this.options = options;
  }

  take(line: string): void {
    const text = line.trim();
    if (text === "" || text.startsWith("#")) return;
    if (text.startsWith("*")) this.begin(text.slice(1).trim());
    else if (this.table === undefined)
      throw new UsageError("a table (*filter or *nat) is expected before anything else");
    else if (text === "COMMIT") this.table = undefined;
    else if (!this.isSkipped) {
      if (text.startsWith(":")) this.declare(text.slice(1), this.table);
      else this.command(text, this.table);
    }
  }

  finish(): RulesChange {
    if (this.table !== undefined) throw new RulesError("COMMIT expected");
    return this.editor.finish();
  }

  private begin(name: string): void {
    if (this.table !== undefined) throw new UsageError("COMMIT expected before the next table");
    const { table, noflush } = this.options;
    if (table !== undefined && table !== name) {
      this.isSkipped = true;
      this.table = TABLE_NAMES[0];
      return;
    }
    this.isSkipped = false;
    this.table = readTable(name);
    if (noflush !== true) this.editor.clear(this.table);
  }

  /** `CHAIN POLICY [packets:bytes]`; the policy of users' chains is `-`. */
  private declare(text: string, table: TableName): void {
    const [name, policy, counters, ...rest] = text.split(/\s+/);
    if (name === "" || policy === undefined || rest.length > 0)
      throw new UsageError(`\`:${text}' is no chain with its policy`);
    const counted = counters === undefined ? undefined : readCounters(counters);
    if (!isBuiltIn(table, name)) {
      checkChainName(name, true);
      if (this.editor.hasChain(table, name)) this.editor.flush(table, name);
      else this.editor.newChain(table, name);
      if (policy !== "-") throw new RulesError(`Can't set policy \`${policy}' on \`${name}': Bad built-in chain name`);
    } else if (policy !== "-") {
      this.editor.setPolicy(table, name, policy, this.options.counters === true ? counted : undefined);
    }
  }

  private command(text: string, table: TableName): void {
    const [, counters, rest] = /^(\[[^\]]*\])?\s*(.*)$/.exec(text) as unknown as [string, string | undefined, string];
    const counted = counters === undefined ? undefined : readCounters(counters);
    const words = splitWords(rest);
    if (words === undefined) throw new UsageError("a quote is not closed");
    if (words.some((word) => /^(-t|--table)/.test(word)))
      throw new UsageError("The -t option cannot be used in iptables-restore.");
    const withCounters = this.options.counters === true && counted !== undefined;
    const given = withCounters ? ["-c", String(counted.packets), String(counted.bytes)] : [];
    // The table comes first: what a rule may say depends on it.
    const command = readCommand(["-t", table, ...words, ...given]);
    if (this.options.keepLists === true && "spec" in command.action)
      command.action.spec.rules = [command.action.spec.whole];
    apply(this.editor, command);
  }
}

function readCounters(text: string): PacketCount {
  const found = /^\[(\d{1,20}):(\d{1,20})\]$/.exec(text);
  if (found === null) throw new UsageError(`invalid counters \`${text}'`);
  return { packets: Number(found[1]), bytes: Number(found[2]) };
}
