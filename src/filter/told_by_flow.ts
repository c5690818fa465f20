/**
 * What of a rule set can be told from a flow alone, without a packet of it: all that its rules ask for is in the tuples,
 * or not. And what names stand for in it: as long as that and the rules are the same, so are all verdicts.
 */
import { meaningOf, type Surroundings } from "./names.ts";
import type { Match, Rule, RuleSet, Target } from "./rule_set.ts";

/**
 * Whether no flow is taken for refused that packets of it would pass. A rule that refuses may ask for what only a packet
 * tells: it is taken not to match. One that lets pass, or leads elsewhere, may not.
 */
export function isToldByFlow({ filter }: RuleSet): boolean {
  return filter.chains.every(({ rules }) => rules.every((rule) => isHarmless(rule)));
}

function isHarmless({ target, matches }: Rule): boolean {
  const asked = matches.filter(needsPacket);
  if (asked.length === 0) return true;
  return isRefusal(target) ? asked.every((match) => match.kind !== "physdev" && !isNegated(match)) : !decides(target);
}

function isRefusal(target: Target | undefined): boolean {
  return target?.kind === "DROP" || target?.kind === "REJECT";
}

/** Targets after which the packet goes another way, or looks otherwise to the rules behind. */
function decides(target: Target | undefined): boolean {
  return target !== undefined && target.kind !== "LOG";
}

function needsPacket(match: Match): boolean {
  switch (match.kind) {
    case "tcp":
      return match.flags !== undefined || match.option !== undefined;
    case "mac":
    case "limit":
    case "mark":
    case "physdev":
      return true;
    default:
      return false;
  }
}

/** A mark is 0 as long as nobody has set it: that it is none is as uncertain as that it is one. */
function isNegated(match: Match): boolean {
  if (match.kind === "tcp") return match.flags?.not === true || match.option?.not === true;
  return match.kind === "mark" || ("not" in match && match.not === true);
}

/** Lists of names that rules have in `in` and `out`, each once, and the names that physdev has. */
function namesIn({ filter, nat }: RuleSet): { lists: string[][]; physical: string[] } {
  const lists = new Map<string, string[]>();
  const physical = new Set<string>();
  for (const { rules } of [...filter.chains, ...nat.chains]) {
    for (const rule of rules) {
      for (const wish of [rule.in, rule.out]) if (wish !== undefined) lists.set(wish.is.join(" "), wish.is);
      for (const match of rule.matches) {
        if (match.kind !== "physdev") continue;
        for (const wish of [match.in, match.out]) if (wish !== undefined) physical.add(wish.is);
      }
    }
  }
  return { lists: [...lists.values()], physical: [...physical] };
}

/** Whether rules name ports of networks, so that a packet's interface alone does not tell. */
export function namesPorts(ruleSet: RuleSet, around: Surroundings): boolean {
  const { lists, physical } = namesIn(ruleSet);
  return physical.length > 0 || lists.some((list) => meaningOf(list, around).ports.length > 0);
}

/** All that the names of a rule set stand for, as a text to compare. */
export function meaningsOf(ruleSet: RuleSet, around: Surroundings): string {
  const { lists, physical } = namesIn(ruleSet);
  const meant = lists.map((list) => {
    const { interfaces, ports, allPorts } = meaningOf(list, around);
    // The ports behind an interface matter only beside others.
    return [list, interfaces, ports, ports.length > 0 ? allPorts : []];
  });
  return JSON.stringify([meant, physical.map((name) => [name, meaningOf([name], around).allPorts])]);
}
