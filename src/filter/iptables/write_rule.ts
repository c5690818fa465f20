/** A rule in the words of `iptables -S`. Rules are the same when their words are. */
import type { Rule } from "../rule_set.ts";
import { systemNames } from "./system_names.ts";
import { namesWord, quoteWord } from "./words.ts";
import { matchWords } from "./write_matches.ts";
import { targetWords } from "./write_targets.ts";
import { not, optionText, prefixesText } from "./write_values.ts";

export interface PacketCount {
  packets: number;
  bytes: number;
}

/** All that follows `-A CHAIN`; with `-c packets bytes` in front of the target where they are given. */
export function ruleWords(rule: Rule, counted?: PacketCount): string {
  const { source, destination, protocol, fragment, target } = rule;
  const words = [
    ...(source === undefined ? [] : [`${not(source)}-s ${prefixesText(source.is)}`]),
    ...(destination === undefined ? [] : [`${not(destination)}-d ${prefixesText(destination.is)}`]),
    ...(rule.in === undefined ? [] : [`${not(rule.in)}-i ${namesWord(rule.in.is)}`]),
    ...(rule.out === undefined ? [] : [`${not(rule.out)}-o ${namesWord(rule.out.is)}`]),
    ...(protocol === undefined ? [] : [`${not(protocol)}-p ${protocolWord(protocol.is)}`]),
    ...(fragment === undefined ? [] : [`${not(fragment)}-f`]),
    ...rule.matches.map(matchWords),
    ...(rule.name === undefined ? [] : [`-m comment ${optionText("comment", { is: rule.name }, quoteWord)[0]}`]),
    ...(counted === undefined ? [] : [`-c ${counted.packets} ${counted.bytes}`]),
    ...(target === undefined ? [] : [targetWords(target)]),
  ];
  return words.join(" ");
}

function protocolWord(number: number): string {
  return systemNames().protocolName(number) ?? String(number);
}
