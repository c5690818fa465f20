/** The output of `iptables -L` and `-S`, and of `iptables-save`. */
import type { ChainCounters } from "../compiled_rules.ts";
import type { Chain, Rule, RuleSet, TableName } from "../rule_set.ts";
import { describeMatch } from "./describe_matches.ts";
import { chainOfTarget } from "./edit.ts";
import { NO_CHAIN, RulesError } from "./errors.ts";
import { systemNames } from "./system_names.ts";
import { namesWord } from "./words.ts";
import { type PacketCount, ruleWords } from "./write_rule.ts";
import { describeTarget, targetName } from "./write_targets.ts";
import { prefixText } from "./write_values.ts";

export type RuleCounts = Record<TableName, ChainCounters[]>;

export interface ListStyle {
  verbose: boolean;
  numeric: boolean;
  exact: boolean;
  lineNumbers: boolean;
}

interface CountedChain {
  chain: Chain;
  counts: PacketCount[];
  references: number;
}

/** Chains with their counters, in iptables' order. BRIDGE is Tapir's own: it is there when it does something. */
export function countedChains(rules: RuleSet, counts: RuleCounts, table: TableName, wanted?: string): CountedChain[] {
  const { chains } = rules[table];
  const found = chains.flatMap((chain, index) => {
    if (wanted === undefined ? isSilent(chain) : chain.name !== wanted) return [];
    const { packets, bytes } = counts[table][index];
    const references = chains
      .flatMap((each) => each.rules)
      .filter(({ target }) => chainOfTarget(target) === chain.name).length;
    return [{ chain, counts: packets.map((each, rule) => ({ packets: each, bytes: bytes[rule] })), references }];
  });
  if (wanted !== undefined && found.length === 0) throw new RulesError(NO_CHAIN);
  return found;
}

function isSilent({ name, policy, rules }: Chain): boolean {
  return name === "BRIDGE" && policy === "ACCEPT" && rules.length === 0;
}

/** `-L`: chains as tables. `at`: only that rule, from 1. */
export function listChains(chains: readonly CountedChain[], style: ListStyle, at?: number): string {
  return chains.map((chain) => listChain(chain, style, at)).join(at === undefined ? "\n" : "");
}

function listChain({ chain, counts, references }: CountedChain, style: ListStyle, at: number | undefined): string {
  const rules = chain.rules.map((rule, index) => ruleLine(rule, index + 1, counts[index], style));
  if (at !== undefined) return rules.slice(at - 1, at).join("");
  const policyCounts = counts[chain.rules.length];
  const counted = style.verbose
    ? ` ${number(policyCounts.packets, style, 0)} packets, ${number(policyCounts.bytes, style, 0)} bytes`
    : "";
  const about = chain.policy === undefined ? `${references} references` : `policy ${chain.policy}${counted}`;
  return [`Chain ${chain.name} (${about})\n`, headerLine(style), ...rules].join("");
}

function headerLine({ verbose, exact, lineNumbers }: ListStyle): string {
  const wide = exact ? ["pkts".padStart(8), "bytes".padStart(10)] : ["pkts".padStart(5), "bytes".padStart(5)];
  return [
    lineNumbers ? "num  " : "",
    verbose ? `${wide.join(" ")} ` : "",
    `${"target".padEnd(9)}  prot opt`,
    verbose ? ` ${"in".padEnd(6)} ${"out".padEnd(6)} ` : "",
    ` ${"source".padEnd(19)}  ${"destination".padEnd(19)} \n`,
  ].join("");
}

function ruleLine(rule: Rule, index: number, counted: PacketCount, style: ListStyle): string {
  const { numeric, verbose } = style;
  const any = numeric ? "0.0.0.0/0" : "anywhere";
  const { protocol } = rule;
  const protocolText = protocol === undefined ? (numeric ? "0" : "all") : protocolName(protocol.is, numeric);
  const isOne = protocol !== undefined && protocol.not === undefined;
  const wording = { isNumeric: numeric, protocol: isOne ? systemNames().protocolName(protocol.is) : undefined };
  const details = [
    ...rule.matches.map((match) => describeMatch(match, wording)),
    ...(rule.name === undefined ? [] : [`/* ${rule.name} */`]),
    ...describeTarget(rule.target, numeric),
  ];
  return [
    style.lineNumbers ? `${String(index).padEnd(4)} ` : "",
    verbose ? `${number(counted.packets, style, 8)} ${number(counted.bytes, style, 8)} ` : "",
    `${targetName(rule.target).padEnd(9)} `,
    `${mark(protocol)}${protocolText.padEnd(4)} `,
    fragmentText(rule),
    verbose ? ` ${interfaceText(rule.in, numeric)} ${interfaceText(rule.out, numeric)} ` : "",
    `${mark(rule.source)}${addressText(rule.source, any).padEnd(19)} `,
    `${mark(rule.destination)}${addressText(rule.destination, any).padEnd(19)} `,
    rule.target?.kind === "GOTO" ? "[goto] " : "",
    ...details.map((text) => ` ${text}`),
    "\n",
  ].join("");
}

function mark(wish: { not?: true } | undefined): string {
  return wish?.not === true ? "!" : " ";
}

function protocolName(number: number, isNumeric: boolean): string {
  return (isNumeric ? undefined : systemNames().protocolName(number)) ?? String(number);
}

function fragmentText({ fragment }: Rule): string {
  return `${fragment?.not === true ? "!" : "-"}${fragment === undefined ? "-" : "f"} `;
}

function interfaceText(wish: Rule["in"], isNumeric: boolean): string {
  const text = wish === undefined ? (isNumeric ? "*" : "any") : namesWord(wish.is);
  return `${wish?.not === true ? "!" : ""}${text}`.padEnd(6);
}

function addressText(wish: Rule["source"], any: string): string {
  return wish === undefined ? any : wish.is.map((range) => prefixText(range, "")).join(",");
}

/** As iptables shortens them: in thousands from 100 000 on; `width` of the exact form. */
function number(count: number, { exact }: ListStyle, width: number): string {
  if (exact) return String(count).padStart(width);
  const narrow = width === 0 ? 0 : 5;
  if (count <= 99_999) return String(count).padStart(narrow);
  let rest = count;
  for (const unit of ["K", "M", "G"]) {
    rest = Math.floor((rest + 500) / 1000);
    if (rest <= 9999) return `${rest}${unit}`.padStart(narrow);
  }
  return `${Math.floor((rest + 500) / 1000)}T`.padStart(narrow);
}

/** `-S`: the commands that make these chains; with counters where `verbose`. */
export function listWords(chains: readonly CountedChain[], verbose: boolean, at?: number): string {
  const lines = at === undefined ? chains.map((each) => declaration(each, verbose)) : [];
  for (const { chain, counts } of chains) {
    for (const [index, rule] of chain.rules.entries()) {
      if (at === undefined || index === at - 1)
        lines.push(ruleCommand(chain, rule, verbose ? counts[index] : undefined));
    }
  }
  return lines.map((line) => `${line}\n`).join("");
}

function declaration({ chain: { name, policy, rules }, counts }: CountedChain, verbose: boolean): string {
  if (policy === undefined) return `-N ${name}`;
  const { packets, bytes } = counts[rules.length];
  return `-P ${name} ${policy}${verbose ? ` -c ${packets} ${bytes}` : ""}`;
}

function ruleCommand(chain: Chain, rule: Rule, counted: PacketCount | undefined): string {
  return `-A ${chain.name} ${ruleWords(rule, counted)}`.trimEnd();
}

/** A table as `iptables-save` writes it. `now` is what the comments say; without it there are none. */
export function saveTable(
  table: TableName,
  chains: readonly CountedChain[],
  withCounters: boolean,
  now?: string,
): string {
  const lines = [`*${table}`];
  for (const { chain, counts } of chains) {
    const { packets, bytes } = chain.policy === undefined ? { packets: 0, bytes: 0 } : counts[chain.rules.length];
    lines.push(`:${chain.name} ${chain.policy ?? "-"} [${packets}:${bytes}]`);
  }
  for (const { chain, counts } of chains) {
    for (const [index, rule] of chain.rules.entries()) {
      const { packets, bytes } = counts[index];
      lines.push(`${withCounters ? `[${packets}:${bytes}] ` : ""}${ruleCommand(chain, rule, undefined)}`);
    }
  }
  lines.push("COMMIT", "");
  if (now === undefined) return lines.join("\n");
  return `# Generated by iptables-save v1.8.9 (tapir) on ${now}\n${lines.join("\n")}# Completed on ${now}\n`;
}
