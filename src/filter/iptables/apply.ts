/** What a command does to the rules. */
import type { RuleEditor } from "./edit.ts";
import { UsageError } from "./errors.ts";
import type { Command } from "./read_command.ts";

/** Whether a command changes rules; the others show them or zero their counters. */
export function isChange({ action: { kind } }: Command): boolean {
  return !["list", "list-rules", "zero", "help", "version", "check"].includes(kind);
}

/** Applies a command that changes rules, or checks for them. */
export function apply(editor: RuleEditor, { table, action }: Command): void {
  switch (action.kind) {
    case "append":
      return editor.append(table, action.chain, action.spec, action.counted);
    case "insert":
      return editor.insert(table, action.chain, action.at, action.spec, action.counted);
    case "replace":
      return editor.replace(table, action.chain, action.at, action.spec, action.counted);
    case "delete":
      return editor.delete(table, action.chain, action.spec);
    case "delete-at":
      return editor.deleteAt(table, action.chain, action.at);
    case "check":
      return editor.check(table, action.chain, action.spec);
    case "flush":
      return editor.flush(table, action.chain);
    case "new-chain":
      return editor.newChain(table, action.chain);
    case "delete-chain":
      return editor.deleteChain(table, action.chain);
    case "rename":
      return editor.rename(table, action.chain, action.to);
    case "policy":
      return editor.setPolicy(table, action.chain, action.policy);
    default:
      throw new UsageError("only commands that change rules are allowed here");
  }
}
