/**
 * A rule set compiled: its chains, what their rules do, and how often each was met.
 *
 * Evaluation walks the matching rules of a built-in chain as iptables does: a rule with a verdict ends it, LOG, MARK and
 * rules without a target go on with the next, a jump remembers where to come back to, and the end of a user's chain (or
 * RETURN) comes back. No chain can reach itself, so the stack has room for every chain. What was met is kept in `trace`
 * until the next question: the caller decides whether it counts.
 *
 * Rules are numbered through all chains; behind the rules of each chain comes the number of its policy.
 */
import type { Journal } from "../packet/journal.ts";
import { CompiledChain } from "./compiled_chain.ts";
import type { FilterKey } from "./key.ts";
import type { Surroundings } from "./names.ts";
import { Paths } from "./paths.ts";
import { BUILT_IN_CHAINS, type Chain, type RuleSet, TABLE_NAMES, type TableName, type Target } from "./rule_set.ts";

/** What becomes of the walk at a rule. */
const Step = { NEXT: 0, VERDICT: 1, JUMP: 2, GOTO: 3, RETURN: 4, LOG: 5, MARK: 6, CONNMARK: 7 } as const;

/** Met rules that are remembered of one walk; what comes behind is not counted. */
const LONGEST_TRACE = 4096;

export interface LoggedRule {
  target: Extract<Target, { kind: "LOG" }>;
  table: TableName;
  chain: string;
}

export interface ChainCounters {
  name: string;
  /** Packets and bytes that met each rule, in the rules' order; then those that met the policy (the chain's end). */
  packets: number[];
  bytes: number[];
}

export class CompiledRules {
  readonly ruleSet: RuleSet;
  readonly paths = new Paths();
  /** Packets and bytes of each rule and policy, in turn; not settled with `paths`. */
  private readonly counters: Float64Array;
  readonly input: CompiledChain;
  readonly forward: CompiledChain;
  readonly output: CompiledChain;
  readonly bridge: CompiledChain;
  readonly prerouting: CompiledChain;
  readonly postrouting: CompiledChain;
  /** The rules that the last question met, in order, and how many. */
  readonly trace = new Int32Array(LONGEST_TRACE);
  traced = 0;
  /** The rule that decided, or the number of the policy. */
  decided = 0;
  /** Whether it was the policy. */
  isPolicy = false;
  /** Told of each rule with LOG that a packet meets. */
  onLog: (rule: LoggedRule, key: FilterKey) => void = () => {};

  private readonly chains: CompiledChain[] = [];
  private readonly tables: Record<TableName, CompiledChain[]> = { filter: [], nat: [] };
  private readonly steps: Uint8Array;
  private readonly targets: (Target | undefined)[];
  private readonly logged: (LoggedRule | undefined)[];
  /** For a rule that jumps: the index of the chain. */
  private readonly jumps: Int32Array;
  private readonly stackChain: Int32Array;
  private readonly stackRule: Int32Array;
  private depth = 0;

  /** @throws RangeError for a rule set that no packet could meet: bad values, chains that are not there, loops. */
  constructor(ruleSet: RuleSet, around: Surroundings) {
    this.ruleSet = ruleSet;
    let count = 0;
    for (const name of TABLE_NAMES) {
      for (const chain of ruleSet[name].chains) {
        const compiled = new CompiledChain(chain, count, around);
        this.tables[name].push(compiled);
        this.chains.push(compiled);
        count += chain.rules.length + 1;
      }
    }
    this.counters = new Float64Array(count * 2);
    this.steps = new Uint8Array(count);
    this.targets = new Array(count).fill(undefined);
    this.logged = new Array(count).fill(undefined);
    this.jumps = new Int32Array(count).fill(-1);
    for (const name of TABLE_NAMES) for (const chain of this.tables[name]) this.link(name, chain);
    for (const name of TABLE_NAMES) this.refuseLoops(name);
    this.stackChain = new Int32Array(this.chains.length + 1);
    this.stackRule = new Int32Array(this.chains.length + 1);
    const builtIn = (table: TableName, name: string): CompiledChain => {
      const found = this.tables[table].find(({ chain }) => chain.name === name && chain.policy !== undefined);
      if (found === undefined) throw new RangeError(`the table ${table} has no chain ${name}`);
      return found;
    };
    [this.input, this.forward, this.output, this.bridge] = BUILT_IN_CHAINS.filter.map((name) =>
      builtIn("filter", name),
    );
    this.prerouting = builtIn("nat", "PREROUTING");
    this.postrouting = builtIn("nat", "POSTROUTING");
  }

  /** Notes the counters, to be put back when the journal is undone. */
  rehearse(journal: Journal): void {
    journal.copy(this.counters);
    this.paths.rehearse(journal);
  }

  /** The target that decides about the packet of `key`: a verdict's, or the policy's. Marks of `key` may change. */
  evaluate(builtIn: CompiledChain, key: FilterKey): Target {
    let chain = builtIn;
    let from = 0;
    this.traced = 0;
    this.depth = 0;
    this.isPolicy = false;
    chain.begin(key);
    for (;;) {
      const index = chain.next(key, from);
      if (index < 0) {
        if (this.depth === 0) return this.endAtPolicy(builtIn);
        this.depth--;
        chain = this.chains[this.stackChain[this.depth]];
        from = this.stackRule[this.depth];
        continue;
      }
      const rule = chain.firstRule + index;
      if (this.traced < LONGEST_TRACE) this.trace[this.traced++] = rule;
      from = index + 1;
      switch (this.steps[rule]) {
        case Step.VERDICT:
          this.decided = rule;
          return this.targets[rule] as Target;
        case Step.JUMP:
          this.stackChain[this.depth] = this.chains.indexOf(chain);
          this.stackRule[this.depth++] = from;
          chain = this.chains[this.jumps[rule]];
          chain.begin(key);
          from = 0;
          break;
        case Step.GOTO:
          chain = this.chains[this.jumps[rule]];
          chain.begin(key);
          from = 0;
          break;
        case Step.RETURN:
          from = chain.size;
          break;
        case Step.LOG:
          if (!key.isDry) this.onLog(this.logged[rule] as LoggedRule, key);
          break;
        case Step.MARK:
        case Step.CONNMARK:
          mark(this.targets[rule] as Target, key);
          break;
      }
    }
  }

  /** Counts what the last question met. */
  count(bytes: number): void {
    for (let i = 0; i < this.traced; i++) {
      this.counters[this.trace[i] * 2]++;
      this.counters[this.trace[i] * 2 + 1] += bytes;
    }
  }

  /** The path of what the last question met. */
  path(): number {
    return this.paths.intern(this.trace, this.traced);
  }

  /** The policy has not decided after all: something else has let the packet pass. */
  forgetPolicy(): void {
    if (this.isPolicy && this.traced > 0) this.traced--;
  }

  /** Chain and index of a rule; the policy's is the number of its chain's rules. */
  placeOf(rule: number): { chain: string; index: number } {
    const chain = this.ownerOf(rule);
    return { chain: chain.chain.name, index: rule - chain.firstRule };
  }

  /** The chain that a rule's or policy's number belongs to. */
  ownerOf(rule: number): CompiledChain {
    return this.chains.findLast(({ firstRule }) => firstRule <= rule) as CompiledChain;
  }

  /** The chain that a rule jumps or goes to. */
  jumpOf(rule: number): CompiledChain | undefined {
    return this.jumps[rule] < 0 ? undefined : this.chains[this.jumps[rule]];
  }

  tableOf(chain: CompiledChain): TableName {
    return this.tables.filter.includes(chain) ? "filter" : "nat";
  }

  targetOf(rule: number): Target | undefined {
    return this.targets[rule];
  }

  /** Numbers of rules and policies. */
  get size(): number {
    return this.targets.length;
  }

  /** Counters of every chain. */
  counted(): Record<TableName, ChainCounters[]> {
    this.paths.settle(this.counters);
    const of = (name: TableName): ChainCounters[] =>
      this.tables[name].map((chain) => {
        const packets: number[] = [];
        const bytes: number[] = [];
        for (let rule = chain.firstRule; rule <= chain.firstRule + chain.size; rule++) {
          packets.push(this.counters[rule * 2]);
          bytes.push(this.counters[rule * 2 + 1]);
        }
        return { name: chain.chain.name, packets, bytes };
      });
    return { filter: of("filter"), nat: of("nat") };
  }

  /** Sets counters to zero: of a table, of one chain of it, or of one rule (from 0; the policy's behind the last). */
  zero(table: TableName, chainName?: string, index?: number): void {
    this.paths.settle(this.counters);
    for (const chain of this.tables[table]) {
      if (chainName !== undefined && chain.chain.name !== chainName) continue;
      const first = chain.firstRule + (index ?? 0);
      const end = index === undefined ? chain.firstRule + chain.size + 1 : first + 1;
      this.counters.fill(0, first * 2, end * 2);
    }
  }

  /** Gives rules and policies, by their numbers, counters, as `iptables-restore -c` does. */
  setCounters(counted: readonly { number: number; packets: number; bytes: number }[]): void {
    this.paths.settle(this.counters);
    for (const { number, packets, bytes } of counted) {
      if (number < this.size) this.counters.set([packets, bytes], number * 2);
    }
  }

  /** Takes over the counts of rules that were in the same chain of a former set in the same words; of twins, in order. */
  carryCounters(former: CompiledRules): void {
    former.paths.settle(former.counters);
    for (const table of TABLE_NAMES) {
      for (const chain of this.tables[table]) {
        const before = former.tables[table].find((each) => each.chain.name === chain.chain.name);
        if (before !== undefined) this.carryChain(chain, former, before);
      }
    }
  }

  /** Takes over the counts that each rule had under its number in a former set; -1: it begins with none. */
  takeCounters(former: CompiledRules, origins: readonly number[]): void {
    former.paths.settle(former.counters);
    for (let rule = 0; rule < this.size; rule++) {
      const from = origins[rule] ?? -1;
      if (from < 0 || from >= former.size) continue;
      this.counters[rule * 2] = former.counters[from * 2];
      this.counters[rule * 2 + 1] = former.counters[from * 2 + 1];
    }
  }

  private carryChain(chain: CompiledChain, former: CompiledRules, before: CompiledChain): void {
    const places = new Map<string, number[]>();
    const take = (to: number, from: number): void => {
      this.counters[to * 2] = former.counters[from * 2];
      this.counters[to * 2 + 1] = former.counters[from * 2 + 1];
    };
    for (const [index, rule] of before.chain.rules.entries()) {
      const text = JSON.stringify(rule);
      const found = places.get(text);
      if (found === undefined) places.set(text, [index]);
      else found.push(index);
    }
    for (const found of places.values()) found.reverse();
    for (const [index, rule] of chain.chain.rules.entries()) {
      const from = places.get(JSON.stringify(rule))?.pop();
      if (from !== undefined) take(chain.firstRule + index, before.firstRule + from);
    }
    if (chain.chain.policy === before.chain.policy) take(chain.firstRule + chain.size, before.firstRule + before.size);
  }

  /** The policy of a built-in chain decides, whatever its rules say. */
  takePolicy(builtIn: CompiledChain): Target {
    this.traced = 0;
    return this.endAtPolicy(builtIn);
  }

  private endAtPolicy(builtIn: CompiledChain): Target {
    this.decided = builtIn.firstRule + builtIn.size;
    this.isPolicy = true;
    if (this.traced < LONGEST_TRACE) this.trace[this.traced++] = this.decided;
    return this.targets[this.decided] as Target;
  }

  private link(table: TableName, compiled: CompiledChain): void {
    const { chain, firstRule } = compiled;
    this.targets[firstRule + compiled.size] = { kind: chain.policy ?? "ACCEPT" };
    for (const [index, { target }] of chain.rules.entries()) {
      const rule = firstRule + index;
      this.targets[rule] = target;
      this.steps[rule] = stepOf(target);
      if (target?.kind === "LOG") this.logged[rule] = { target, table, chain: chain.name };
      if (target?.kind !== "JUMP" && target?.kind !== "GOTO") continue;
      const next = this.tables[table].find((each) => each.chain.name === target.chain);
      if (next === undefined || next.chain.policy !== undefined)
        throw new RangeError(`${chain.name}, rule ${index + 1}: there is no chain called "${target.chain}"`);
      this.jumps[rule] = this.chains.indexOf(next);
    }
  }

  /** Depth first; a chain that is met while it is open can reach itself. */
  private refuseLoops(table: TableName): void {
    const open = new Set<string>();
    const done = new Set<string>();
    const visit = (chain: Chain): void => {
      if (done.has(chain.name)) return;
      if (open.has(chain.name)) throw new RangeError(`the chain ${chain.name} of the table ${table} leads to itself`);
      open.add(chain.name);
      for (const { target } of chain.rules) {
        if (target?.kind !== "JUMP" && target?.kind !== "GOTO") continue;
        visit(this.tables[table].find((each) => each.chain.name === target.chain)?.chain as Chain);
      }
      open.delete(chain.name);
      done.add(chain.name);
    };
    for (const { chain } of this.tables[table]) visit(chain);
  }
}

function stepOf(target: Target | undefined): number {
  switch (target?.kind) {
    case undefined:
      return Step.NEXT;
    case "JUMP":
      return Step.JUMP;
    case "GOTO":
      return Step.GOTO;
    case "RETURN":
      return Step.RETURN;
    case "LOG":
      return Step.LOG;
    case "MARK":
      return Step.MARK;
    case "CONNMARK":
      return Step.CONNMARK;
    default:
      return Step.VERDICT;
  }
}

/** As the kernel's xt_MARK and xt_connmark: clear what the mask says, then exclusive-or. */
function mark(target: Target, key: FilterKey): void {
  if (target.kind === "MARK") {
    key.mark = (key.mark & ~target.mask) ^ target.value;
  } else if (target.kind === "CONNMARK") {
    if (target.action === "set") key.connmark = (key.connmark & ~target.mask) ^ target.value;
    else if (target.action === "save")
      key.connmark = (key.connmark & ~target.flowMask) ^ (key.mark & target.packetMask);
    else key.mark = (key.mark & ~target.packetMask) ^ (key.connmark & target.flowMask);
  }
}
