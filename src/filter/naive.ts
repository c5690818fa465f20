/** What a rule means, the slow and obvious way: the oracle of the tests. */
import type { FilterKey } from "./key.ts";
import type { Chain, PortRange, Prefix, Rule } from "./rule.ts";

/** Index of the first rule that matches, -1 when the policy decides. */
export function matchNaive(chain: Chain, key: FilterKey): number {
  return chain.rules.findIndex((rule) => matches(rule, key));
}

function matches(rule: Rule, key: FilterKey): boolean {
  return (
    listed(rule.inInterfaces, key.inInterface) &&
    listed(rule.inPorts, key.inPort) &&
    listed(rule.outInterfaces, key.outInterface) &&
    listed(rule.outPorts, key.outPort) &&
    covered(rule.sources, key.source) &&
    covered(rule.destinations, key.destination) &&
    (rule.protocol === undefined || rule.protocol === key.protocol) &&
    ranged(rule.sourcePorts, key.sourcePort) &&
    ranged(rule.destinationPorts, key.destinationPort) &&
    ranged(rule.icmpTypes, key.icmpType) &&
    (rule.states === undefined || (rule.states & key.state) !== 0)
  );
}

function listed(values: readonly number[] | undefined, value: number): boolean {
  return values === undefined || values.includes(value);
}

function covered(prefixes: readonly Prefix[] | undefined, address: number): boolean {
  if (prefixes === undefined) return true;
  return prefixes.some(({ address: network, length }) => length === 0 || (address ^ network) >>> (32 - length) === 0);
}

function ranged(ranges: readonly PortRange[] | undefined, value: number): boolean {
  return ranges === undefined || ranges.some(({ low, high }) => value >= low && value <= high && value >= 0);
}
