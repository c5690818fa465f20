/** The rules of a router in memory, changed by iptables' words as the control process and the dataplane do it. */
import { CompiledRules } from "../../../src/filter/compiled_rules.ts";
import { apply, checkPlace, isChange } from "../../../src/filter/iptables/apply.ts";
import { RuleEditor, type RulesChange } from "../../../src/filter/iptables/edit.ts";
import { RulesError, UsageError } from "../../../src/filter/iptables/errors.ts";
import { countedChains, listChains, listWords, saveTable } from "../../../src/filter/iptables/list.ts";
import { type Command, readCommand } from "../../../src/filter/iptables/read_command.ts";
import { RestoreError, type RestoreOptions, restore } from "../../../src/filter/iptables/restore.ts";
import { splitWords } from "../../../src/filter/iptables/words.ts";
import { emptyRuleSet, type RuleSet, TABLE_NAMES, type TableName } from "../../../src/filter/rule_set.ts";
import { AROUND } from "../filter_key.ts";

export interface Answer {
  isDone: boolean;
  output: string;
}

export class MemoryTables {
  compiled = new CompiledRules(emptyRuleSet(), AROUND);

  get rules(): RuleSet {
    return this.compiled.ruleSet;
  }

  /** Words as a line; quotes as a shell has them. */
  run(line: string): Answer {
    return answered(() => {
      const command = readCommand(splitWords(line) ?? []);
      if (!isChange(command)) return this.ask(command);
      const editor = new RuleEditor(this.rules);
      apply(editor, command);
      this.take(editor.finish());
      return "";
    });
  }

  restore(text: string, options: RestoreOptions = {}): Answer {
    return answered(() => {
      this.take(restore(this.rules, text, options));
      return "";
    });
  }

  save(withCounters = false, tables: readonly TableName[] = TABLE_NAMES): string {
    const counts = this.compiled.counted();
    return tables.map((table) => saveTable(table, countedChains(this.rules, counts, table), withCounters)).join("");
  }

  private take({ rules, origins, counted }: RulesChange): void {
    const next = new CompiledRules(rules, { ...AROUND, sets: rules.sets });
    next.takeCounters(this.compiled, origins);
    next.setCounters(counted);
    this.compiled = next;
  }

  private ask(command: Command): string {
    const { action, table } = command;
    if (action.kind === "check") {
      apply(new RuleEditor(this.rules), command);
      return "";
    }
    if (action.kind === "zero") {
      checkPlace(this.rules, table, action.chain, action.at);
      this.compiled.zero(table, action.chain, action.at === undefined ? undefined : action.at - 1);
      return "";
    }
    if (action.kind !== "list" && action.kind !== "list-rules") return "";
    const chains = countedChains(this.rules, this.compiled.counted(), table, action.chain);
    return action.kind === "list"
      ? listChains(chains, command, action.at)
      : listWords(chains, command.verbose, action.at);
  }
}

function answered(run: () => string): Answer {
  try {
    return { isDone: true, output: run() };
  } catch (error) {
    if (error instanceof UsageError || error instanceof RulesError || error instanceof RestoreError)
      return { isDone: false, output: error.message };
    throw error;
  }
}
