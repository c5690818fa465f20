/** Address sets, and rules that come as iptables' own text. */
import { RestoreError, restore } from "../../filter/iptables/restore.ts";
import type { Range, RuleSet } from "../../filter/rule_set.ts";
import { rangeOf } from "../../packet/ipv4_address.ts";
import { readAddress, readPrefixOrAddress } from "./addresses.ts";
import { type Path, quote, type Report } from "./errors.ts";
import type { Configuration } from "./schema.ts";

/** `rules` with what the text adds to them; the text as it is wrong is reported with its line. */
export function withRuleText(rules: RuleSet, configuration: Configuration, report: Report): RuleSet {
  const written = configuration.filter?.iptables;
  if (written === undefined) return rules;
  const text = Array.isArray(written) ? written.join("\n") : written;
  try {
    return restore(rules, text, { noflush: true, keepLists: true }).rules;
  } catch (error) {
    if (!(error instanceof RestoreError)) throw error;
    const { line, message } = error;
    const path = ["filter", "iptables"];
    if (Array.isArray(written)) report([...path, Math.min(line, written.length) - 1], message);
    else report(path, `line ${line}: ${message}`, "value", line);
    return rules;
  }
}

export function buildSets(configuration: Configuration, report: Report): Record<string, Range[]> {
  const sets: Record<string, Range[]> = {};
  for (const [name, members] of Object.entries(configuration.filter?.sets ?? {})) {
    const path = ["filter", "sets", name];
    const ranges = Array.isArray(members)
      ? members.flatMap((text, index) => readMember(text, [...path, index], report) ?? [])
      : [readMember(members, path, report) ?? []].flat();
    Object.defineProperty(sets, name, { value: ranges, enumerable: true, configurable: true, writable: true });
  }
  return sets;
}

/** A prefix, an address, or `first-last`. */
function readMember(text: string, path: Path, report: Report): Range | undefined {
  const [firstText, lastText, ...rest] = text.split("-");
  if (lastText === undefined) {
    const prefix = readPrefixOrAddress(text, path, report);
    return prefix === undefined ? undefined : rangeOf(prefix);
  }
  const expected = "an IPv4 prefix, an address or a range of addresses";
  const first = readAddress(firstText, path, report, expected);
  const last = rest.length === 0 ? readAddress(lastText, path, report, expected) : undefined;
  if (rest.length > 0) report(path, `expected ${expected}, not ${quote(text)}`);
  if (first === undefined || last === undefined) return undefined;
  if (first >>> 0 <= last >>> 0) return { first, last };
  report(path, `${quote(text)} ends before it begins; did you mean "${lastText}-${firstText}"?`);
  return undefined;
}
