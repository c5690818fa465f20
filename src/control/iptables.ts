/**
 * `iptables` against the running router. Commands change the rules in force, and with them the configuration in force:
 * its rules are from then on the text that `iptables-save` would write, in place of the keys that they came from. So what
 * edits the configuration later (attaching a container) keeps them, and a file that is read again replaces them.
 */
import type { RulesResult } from "../dataplane/messages.ts";
import { apply, checkPlace, isChange } from "../filter/iptables/apply.ts";
import { RuleEditor } from "../filter/iptables/edit.ts";
import { RulesError, UsageError } from "../filter/iptables/errors.ts";
import { countedChains, listChains, listWords, type RuleCounts, saveTable } from "../filter/iptables/list.ts";
import { type Command, readCommand } from "../filter/iptables/read_command.ts";
import { RestoreError, type RestoreOptions, restore } from "../filter/iptables/restore.ts";
import { ruleWords } from "../filter/iptables/write_rule.ts";
import { type Rule, type RuleSet, TABLE_NAMES, type TableName } from "../filter/rule_set.ts";
import type { PublishedByPort } from "./configuration/build_attached.ts";
import type { Configuration } from "./configuration/configuration.ts";
import { ExitCode, TapirError } from "./errors.ts";
import type { Cause } from "./history.ts";
import type { RunningRouter } from "./router.ts";

const LONGEST_DETAIL = 256;

/** Runs the words behind `iptables`; returns what it prints. */
export async function runIptables(router: RunningRouter, words: readonly string[]): Promise<string> {
  return translated("iptables", async () => {
    const command = readCommand(words);
    if (isChange(command)) {
      await router.changeRules(
        (present) => {
          const editor = new RuleEditor(present);
          apply(editor, command);
          return editor.finish();
        },
        causeOf("iptables", words),
      );
      return "";
    }
    return ask(router, command);
  });
}

/** The command is kept as it was typed, but no book. */
function causeOf(source: string, words: readonly string[]): Cause {
  return { source, detail: words.join(" ").slice(0, LONGEST_DETAIL) };
}

async function ask(router: RunningRouter, command: Command): Promise<string> {
  const { action, table } = command;
  switch (action.kind) {
    case "check":
      apply(new RuleEditor(rulesOf(router)), command);
      return "";
    case "zero":
      await zero(router, table, action.chain, action.at);
      return "";
    case "list":
    case "list-rules": {
      const chains = countedChains(rulesOf(router), await countsOf(router), table, action.chain);
      const text =
        action.kind === "list" ? listChains(chains, command, action.at) : listWords(chains, command.verbose, action.at);
      if (action.zero === true) await zero(router, table, action.chain, action.at);
      return text;
    }
    default:
      throw new UsageError(`--${action.kind} asks for no router`);
  }
}

async function zero(router: RunningRouter, table: TableName, chain?: string, at?: number): Promise<void> {
  checkPlace(rulesOf(router), table, chain, at);
  await router.zeroRules(table, chain, at === undefined ? undefined : at - 1);
}

/** The text that `iptables-save` writes: of all tables, or of one. */
export async function saveRules(
  router: RunningRouter,
  table: TableName | undefined,
  withCounters: boolean,
): Promise<string> {
  const counts = await countsOf(router);
  const now = new Date().toString().replace(/^(\w+ \w+) 0?(\d+) (\d+) ([\d:]+) .*$/, (_, day, date, year, time) => {
    return `${day} ${date.padStart(2)} ${time} ${year}`;
  });
  const tables = table === undefined ? TABLE_NAMES : [table];
  return tables
    .map((name) => saveTable(name, countedChains(rulesOf(router), counts, name), withCounters, now))
    .join("");
}

/** Takes rules as `iptables-restore` does, all or nothing. With `isTest`, only says whether it would. */
export async function restoreRules(
  router: RunningRouter,
  text: string,
  options: RestoreOptions,
  isTest: boolean,
): Promise<void> {
  await translated("iptables-restore", async () => {
    if (isTest) restore(rulesOf(router), text, options);
    else await router.changeRules((present) => restore(present, text, options), { source: "iptables-restore" });
  });
}

/** All tables as data. */
export async function describeRules(router: RunningRouter): Promise<object> {
  const counts = await countsOf(router);
  const describe = (table: TableName): object[] =>
    countedChains(rulesOf(router), counts, table).map(({ chain, counts: counted, references }) => ({
      name: chain.name,
      ...(chain.policy === undefined ? { references } : { policy: chain.policy, ...counted[chain.rules.length] }),
      rules: chain.rules.map((rule, index) => ({ rule: ruleWords(rule), ...counted[index] })),
    }));
  return { filter: describe("filter"), nat: describe("nat") };
}

/**
 * The configuration with these rules in place of its own. What ports publish stays with the ports, unless a rule of it
 * is not there any more: then the port does not publish it, and what else is left of it is a rule like any other.
 */
export function withRules(
  configuration: Configuration,
  rules: RuleSet,
  published: readonly PublishedByPort[] = [],
): Configuration {
  const { sets } = configuration.filter ?? {};
  const { masquerade: _, snat: __, publish: ___, ...nat } = configuration.nat ?? {};
  const { gone, rest } = withoutPublished(rules, published);
  return {
    ...configuration,
    ...(published.length === 0 ? {} : { networks: withPublished(configuration.networks, gone) }),
    nat,
    filter: { ...(sets === undefined ? {} : { sets }), iptables: ruleLines(rest) },
  };
}

const placeOf = ({ network, port, index }: Omit<PublishedByPort, "rule">): string => `${network}/${port}/${index}`;

/** In words: a rule that has been saved and restored has a comment in place of a name. */
const keyOf = (rule: Rule): string => ruleWords(rule);

/** The places of what ports do not publish any more, or not all of it; and the rules that are no port's. */
function withoutPublished(rules: RuleSet, published: readonly PublishedByPort[]): { gone: Set<string>; rest: RuleSet } {
  const isPrerouting = ({ name }: { name: string }): boolean => name === "PREROUTING";
  const present = new Set(rules.nat.chains.find(isPrerouting)?.rules.map(keyOf));
  const gone = new Set(published.filter(({ rule }) => !present.has(keyOf(rule))).map(placeOf));
  const whole = published.filter((each) => !gone.has(placeOf(each)));
  const theirs = new Set(whole.map(({ rule }) => keyOf(rule)));
  const chains = rules.nat.chains.map((chain) =>
    isPrerouting(chain) ? { ...chain, rules: chain.rules.filter((rule) => !theirs.has(keyOf(rule))) } : chain,
  );
  return { gone, rest: { ...rules, nat: { ...rules.nat, chains } } };
}

function withPublished(
  networks: Configuration["networks"] = {},
  gone: ReadonlySet<string>,
): NonNullable<Configuration["networks"]> {
  const next = structuredClone(networks);
  for (const [network, { ports = {} }] of Object.entries(next)) {
    for (const [name, port] of Object.entries(ports)) {
      if (port.publish === undefined) continue;
      port.publish = port.publish.filter((_, index) => !gone.has(placeOf({ network, port: name, index })));
    }
  }
  return next;
}

/** Rules alone, as lines of text: so a change of one is one line in the history. */
function ruleLines(rules: RuleSet): string[] {
  const counts = Object.fromEntries(
    TABLE_NAMES.map((table) => [
      table,
      rules[table].chains.map(({ name, rules: all }) => ({
        name,
        packets: new Array<number>(all.length + 1).fill(0),
        bytes: new Array<number>(all.length + 1).fill(0),
      })),
    ]),
  ) as RuleCounts;
  const text = TABLE_NAMES.map((table) => saveTable(table, countedChains(rules, counts, table), false)).join("");
  return text.trimEnd().split("\n");
}

function rulesOf(router: RunningRouter): RuleSet {
  return router.resolved.plan.rules;
}

async function countsOf(router: RunningRouter): Promise<RulesResult> {
  return (await router.show("rules")) as RulesResult;
}

/** What is wrong with the words becomes the command's error. */
async function translated<T>(program: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw errorOf(program, error);
  }
}

export function errorOf(program: string, error: unknown): unknown {
  if (error instanceof RestoreError) {
    const exitCode = error.isUsage ? ExitCode.USAGE : ExitCode.FAILED;
    return new TapirError(`${program}: line ${error.line}: ${error.message}`, exitCode);
  }
  if (error instanceof UsageError) return new TapirError(`${program}: ${error.message}`, ExitCode.USAGE);
  return error instanceof RulesError ? new TapirError(`${program}: ${error.message}`) : error;
}
