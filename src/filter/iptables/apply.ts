/** What a command does to the rules. */
import type { RuleSet, TableName } from "../rule_set.ts";
import type { RuleEditor } from "./edit.ts";
import { NO_CHAIN, RulesError, UsageError } from "./errors.ts";
import type { Command } from "./read_command.ts";

/** Whether a command changes rules; the others show them or zero their counters. */
export function isChange({ action: { kind } }: Command): boolean {
  return !["list", "list-rules", "zero", "help", "version", "check"].includes(kind);
}

/** Whether there is a chain, and a rule at that place of it (from 1), whose counters could be set to zero. */
export function checkPlace(rules: RuleSet, table: TableName, chain?: string, at?: number): void {
  const found = rules[table].chains.find(({ name }) => name === chain);
  if (chain !== undefined && found === undefined) throw new RulesError(NO_CHAIN);
  if (at !== undefined && at > (found?.rules.length ?? 0)) throw new RulesError("Index of replacement too big.");
}

/** Applies a command that changes rules, or checks for them. */
export function apply(editor: RuleEditor, { table, action }: Command): void {
  switch (action.kind) {
    case "append":
      editor.append(table, action.chain, action.spec, action.counted);
      break;
    case "insert":
      editor.insert(table, action.chain, action.at, action.spec, action.counted);
      break;
    case "replace":
      editor.replace(table, action.chain, action.at, action.spec, action.counted);
      break;
    case "delete":
      editor.delete(table, action.chain, action.spec);
      break;
    case "delete-at":
      editor.deleteAt(table, action.chain, action.at);
      break;
    case "check":
      editor.check(table, action.chain, action.spec);
      break;
    case "flush":
      editor.flush(table, action.chain);
      break;
    case "new-chain":
      editor.newChain(table, action.chain);
      break;
    case "delete-chain":
      editor.deleteChain(table, action.chain);
      break;
    case "rename":
      editor.rename(table, action.chain, action.to);
      break;
    case "policy":
      editor.setPolicy(table, action.chain, action.policy);
      break;
    default:
      throw new UsageError("only commands that change rules are allowed here");
  }
}
