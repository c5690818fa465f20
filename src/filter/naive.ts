/** What rules mean, the slow and obvious way: the oracle of the tests. */
import type { FilterKey } from "./key.ts";
import type { Surroundings } from "./names.ts";
import {
  type Chain,
  type Match,
  type Range,
  type Rule,
  StatusBit,
  type Table,
  type Target,
  type Wish,
} from "./rule_set.ts";

export interface Walk {
  target: Target;
  isPolicy: boolean;
  /** Rules that matched, in order, as chain and index; the policy as its chain and the number of its rules. */
  met: { chain: string; index: number }[];
}

/** Walks a built-in chain; `key` is not changed. Limits and marks that rules set are not modelled. */
export function walkNaive(table: Table, name: string, key: FilterKey, around: Surroundings): Walk {
  const met: Walk["met"] = [];
  const chainOf = (wanted: string): Chain => table.chains.find((chain) => chain.name === wanted) as Chain;
  const walk = (chain: Chain): Target | undefined => {
    for (const [index, rule] of chain.rules.entries()) {
      if (!matchesNaive(rule, key, around)) continue;
      met.push({ chain: chain.name, index });
      const { target } = rule;
      if (target === undefined || ["LOG", "MARK", "CONNMARK"].includes(target.kind)) continue;
      if (target.kind === "RETURN") return undefined;
      if (target.kind === "GOTO") return walk(chainOf(target.chain));
      if (target.kind !== "JUMP") return target;
      const verdict = walk(chainOf(target.chain));
      if (verdict !== undefined) return verdict;
    }
    return undefined;
  };
  const builtIn = chainOf(name);
  const target = walk(builtIn);
  if (target !== undefined) return { target, isPolicy: false, met };
  met.push({ chain: name, index: builtIn.rules.length });
  return { target: { kind: builtIn.policy ?? "ACCEPT" }, isPolicy: true, met };
}

export function matchesNaive(rule: Rule, key: FilterKey, around: Surroundings): boolean {
  return (
    isWished(rule.source, (ranges) => holds(ranges, key.source)) &&
    isWished(rule.destination, (ranges) => holds(ranges, key.destination)) &&
    isWished(rule.in, (names) => isAmong(names, key.inInterface, key.inPort, around)) &&
    isWished(rule.out, (names) => isAmong(names, key.outInterface, key.outPort, around)) &&
    isWished(rule.protocol, (number) => number === key.protocol) &&
    isWished(rule.fragment, () => false) &&
    rule.matches.every((match) => matches(match, key, around))
  );
}

function isWished<T>(wish: Wish<T> | undefined, test: (value: T) => boolean): boolean {
  return wish === undefined || test(wish.is) !== (wish.not === true);
}

function isAmong(names: readonly string[], interfaceIndex: number, port: number, around: Surroundings): boolean {
  const fits = (name: string | undefined): boolean =>
    name !== undefined &&
    names.some((wanted) => (wanted.endsWith("+") ? name.startsWith(wanted.slice(0, -1)) : wanted === name));
  return (
    fits(around.interfaces.find(({ index }) => index === interfaceIndex)?.name) ||
    fits(around.ports.find(({ index }) => index === port)?.name)
  );
}

const within = (value: number, { first, last }: Range): boolean =>
  value >>> 0 >= first >>> 0 && value >>> 0 <= last >>> 0;
const holds = (ranges: readonly Range[], value: number): boolean => ranges.some((range) => within(value, range));

function matches(match: Match, key: FilterKey, around: Surroundings): boolean {
  switch (match.kind) {
    case "tcp":
      return (
        key.protocol === 6 &&
        isWished(match.sourcePort, (range) => within(key.sourcePort, range)) &&
        isWished(match.destinationPort, (range) => within(key.destinationPort, range)) &&
        isWished(match.flags, ({ mask, set }) => (key.tcpFlags & mask) === set)
      );
    case "udp":
      return (
        key.protocol === 17 &&
        isWished(match.sourcePort, (range) => within(key.sourcePort, range)) &&
        isWished(match.destinationPort, (range) => within(key.destinationPort, range))
      );
    case "icmp":
      return (
        key.protocol === 1 &&
        isWished(match.types, (types) =>
          types.some(({ type, codes }) => type === 255 || (type === key.icmp >> 8 && within(key.icmp & 0xff, codes))),
        )
      );
    case "multiport": {
      const sides = { source: [key.sourcePort], destination: [key.destinationPort] };
      const asked = match.side === "either" ? [key.sourcePort, key.destinationPort] : sides[match.side];
      return key.sourcePort >= 0 && isWished(match.ports, (ports) => asked.some((port) => holds(ports, port)));
    }
    case "iprange":
      return (
        isWished(match.source, (range) => within(key.source, range)) &&
        isWished(match.destination, (range) => within(key.destination, range))
      );
    case "conntrack":
      return (
        isWished(match.states, (states) => (states & key.states) !== 0) &&
        isWished(match.status, (bits) => hasStatus(bits, key.status)) &&
        (match.direction === undefined || (match.direction === "ORIGINAL") === (key.direction === 0)) &&
        isWished(match.protocol, (number) => number === key.protocol) &&
        isWished(match.originalSource, (range) => within(key.originalSource, range)) &&
        isWished(match.originalDestination, (range) => within(key.originalDestination, range)) &&
        isWished(match.replySource, (range) => within(key.replySource, range)) &&
        isWished(match.replyDestination, (range) => within(key.replyDestination, range)) &&
        isWished(match.originalSourcePort, (range) => within(key.originalPorts >>> 16, range)) &&
        isWished(match.originalDestinationPort, (range) => within(key.originalPorts & 0xffff, range))
      );
    case "state":
      return isWished(match.states, (states) => (states & key.states) !== 0);
    case "mark":
      return ((key.mark & match.mask) >>> 0 === match.value >>> 0) !== (match.not === true);
    case "connmark":
      return ((key.connmark & match.mask) >>> 0 === match.value >>> 0) !== (match.not === true);
    case "mac":
      return (key.frame?.sourceMacHigh === match.high && key.frame.sourceMacLow === match.low) !== (match.not === true);
    case "set": {
      const value = match.sides[0] === "src" ? key.source : key.destination;
      return holds(around.sets[match.name], value) !== (match.not === true);
    }
    case "addrtype":
      return (
        isWished(match.source, (types) => types.includes(around.addressTypeOf(key.source))) &&
        isWished(match.destination, (types) => types.includes(around.addressTypeOf(key.destination)))
      );
    case "physdev":
      return (
        isWished(match.in, (name) => isPort(name, key.inPort, around)) &&
        isWished(match.out, (name) => isPort(name, key.outPort, around)) &&
        isWished(match.bridged, () => key.isBridged)
      );
    case "comment":
      return true;
    case "limit":
      throw new Error("limits are not modelled");
  }
}

/** A port by its own name or its interface's. */
function isPort(name: string, port: number, around: Surroundings): boolean {
  const found = around.ports.find(({ index }) => index === port);
  return found !== undefined && isAmong([name], found.interface, port, around);
}

function hasStatus(wanted: number, status: number): boolean {
  return (wanted & status) !== 0 || ((wanted & StatusBit.NONE) !== 0 && status === 0);
}
