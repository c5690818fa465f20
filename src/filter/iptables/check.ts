/** Whether a rule set is one that the kernel would take: chains that end, targets where they mean something. */
import {
  type Chain,
  type Match,
  type Rule,
  type RuleSet,
  TABLE_NAMES,
  type TableName,
  type Target,
} from "../rule_set.ts";
import { RulesError } from "./errors.ts";

const ALL_FILTER = ["INPUT", "FORWARD", "OUTPUT", "BRIDGE"];

/** Where targets may stand; those that are not here may stand anywhere. */
const PLACES: Partial<Record<Target["kind"], { table: TableName; hooks: readonly string[] }>> = {
  REJECT: { table: "filter", hooks: ALL_FILTER },
  MASQUERADE: { table: "nat", hooks: ["POSTROUTING"] },
  SNAT: { table: "nat", hooks: ["INPUT", "POSTROUTING"] },
  DNAT: { table: "nat", hooks: ["PREROUTING", "OUTPUT"] },
  REDIRECT: { table: "nat", hooks: ["PREROUTING", "OUTPUT"] },
};
/** The same for matches. */
const MATCH_HOOKS: Partial<Record<Match["kind"], readonly string[]>> = {
  mac: ["PREROUTING", "INPUT", "FORWARD", "BRIDGE"],
};

/** @throws RulesError */
export function checkRuleSet(rules: RuleSet): void {
  for (const table of TABLE_NAMES) {
    const { chains } = rules[table];
    for (const chain of chains) for (const rule of chain.rules) checkTable(table, rule);
    const checker = new TableChecker(chains);
    for (const chain of chains) if (chain.policy !== undefined) checker.checkFrom(chain.name, chain);
    checker.checkLoops();
  }
}

function checkTable(table: TableName, { target }: Rule): void {
  if (target === undefined) return;
  const place = PLACES[target.kind];
  if (place !== undefined && place.table !== table)
    throw new RulesError(`${target.kind} target: only valid in ${place.table} table, not ${table}`);
  if (table === "nat" && target.kind === "DROP")
    throw new RulesError('The "nat" table is not intended for filtering, the use of DROP is therefore inhibited.');
}

class TableChecker {
  private readonly chains: ReadonlyMap<string, Chain>;
  private readonly done = new Set<string>();
  private readonly open = new Set<string>();

  constructor(chains: readonly Chain[]) {
    this.chains = new Map(chains.map((chain) => [chain.name, chain]));
  }

  /** What a built-in chain leads to, once for each. */
  checkFrom(hook: string, start: Chain): void {
    const seen = new Set([start]);
    for (const chain of seen) {
      for (const rule of chain.rules) {
        checkHook(hook, rule);
        const next = this.next(rule);
        if (next !== undefined) seen.add(next);
      }
    }
  }

  checkLoops(): void {
    for (const chain of this.chains.values()) this.visit(chain);
  }

  private visit(chain: Chain): void {
    if (this.done.has(chain.name)) return;
    if (this.open.has(chain.name))
      throw new RulesError(`Too many levels of symbolic links: ${chain.name} leads to itself`);
    this.open.add(chain.name);
    for (const rule of chain.rules) {
      const next = this.next(rule);
      if (next !== undefined) this.visit(next);
    }
    this.open.delete(chain.name);
    this.done.add(chain.name);
  }

  private next({ target }: Rule): Chain | undefined {
    if (target?.kind !== "JUMP" && target?.kind !== "GOTO") return undefined;
    const chain = this.chains.get(target.chain);
    if (chain === undefined || chain.policy !== undefined)
      throw new RulesError(`Chain '${target.chain}' does not exist, or is built in: rules cannot lead there`);
    return chain;
  }
}

function checkHook(hook: string, { target, matches }: Rule): void {
  const hooks = target === undefined ? undefined : PLACES[target.kind]?.hooks;
  if (hooks !== undefined && !hooks.includes(hook))
    throw new RulesError(`${target?.kind} target: used from hooks ${hook}, but only usable from ${hooks.join("/")}`);
  for (const { kind } of matches) {
    const allowed = MATCH_HOOKS[kind];
    if (allowed !== undefined && !allowed.includes(hook))
      throw new RulesError(`${kind} match: used from hooks ${hook}, but only usable from ${allowed.join("/")}`);
  }
}
