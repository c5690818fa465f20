/**
 * What a rule wants of each field of the key, as sets of values, and the tests that no set of values of one field can
 * say. A rule matches when every field is in its set and every test says yes.
 */
import { Protocol } from "../packet/ipv4.ts";
import type { Interval } from "./dimension.ts";
import { complement, intersect, shifted, valuesThat } from "./intervals.ts";
import type { FilterKey } from "./key.ts";
import { meaningOf, type Surroundings } from "./names.ts";
import { type Match, type Range, type Rule, RuleState, StatusBit, type Wish } from "./rule_set.ts";
import { type Test, testOf } from "./tests.ts";

export const Field = {
  IN_INTERFACE: 0,
  OUT_INTERFACE: 1,
  SOURCE: 2,
  DESTINATION: 3,
  PROTOCOL: 4,
  SOURCE_PORT: 5,
  DESTINATION_PORT: 6,
  ICMP: 7,
  STATES: 8,
  IN_PORT: 9,
  OUT_PORT: 10,
  TCP_FLAGS: 11,
  STATUS: 12,
  COUNT: 13,
} as const;

/** Value of a field of the key. */
export function fieldOf(key: FilterKey, field: number): number {
  switch (field) {
    case 0:
      return key.inInterface;
    case 1:
      return key.outInterface;
    case 2:
      return key.source ^ 0x80000000;
    case 3:
      return key.destination ^ 0x80000000;
    case 4:
      return key.protocol;
    case 5:
      return key.sourcePort;
    case 6:
      return key.destinationPort;
    case 7:
      return key.icmp;
    case 8:
      return key.states;
    case 9:
      return key.inPort;
    case 10:
      return key.outPort;
    case 11:
      return key.tcpFlags;
    default:
      return key.status;
  }
}

const ALL_STATES = 128;
const ALL_STATUS = 32;
const ANY_ICMP_TYPE = 255;
const NEVER: Interval[] = [];

export class Wishes {
  /** For each field the values that the rule takes; undefined for any. */
  readonly fields: (Interval[] | undefined)[] = new Array(Field.COUNT).fill(undefined);
  readonly tests: Test[] = [];
  private readonly around: Surroundings;

  /** @throws RangeError for a rule with a field out of range, or that names a set which is not there. */
  constructor(rule: Rule, around: Surroundings) {
    this.around = around;
    this.addresses(Field.SOURCE, rule.source);
    this.addresses(Field.DESTINATION, rule.destination);
    if (rule.in !== undefined) this.ingress(rule.in);
    if (rule.out !== undefined) this.egress(rule.out);
    if (rule.protocol !== undefined) this.want(Field.PROTOCOL, [single(rule.protocol.is)], rule.protocol.not);
    if (rule.fragment !== undefined && rule.fragment.not === undefined) this.want(Field.PROTOCOL, NEVER);
    for (const match of rule.matches) this.match(match);
  }

  private want(field: number, values: Interval[], not?: true): void {
    const wanted = not === true ? complement(values) : values;
    const before = this.fields[field];
    this.fields[field] = before === undefined ? wanted : intersect(before, wanted);
  }

  private addresses(field: number, wish: Wish<Range[]> | undefined): void {
    if (wish !== undefined) this.want(field, wish.is.map(addressInterval), wish.not);
  }

  private ports(field: number, wish: Wish<Range> | undefined): void {
    if (wish !== undefined) this.want(field, [portInterval(wish.is)], wish.not);
  }

  private ingress({ is, not }: Wish<string[]>): void {
    const { interfaces, ports, allPorts } = meaningOf(is, this.around);
    if (ports.length === 0) this.want(Field.IN_INTERFACE, interfaces.map(single), not);
    else this.want(Field.IN_PORT, allPorts.map(single), not);
  }

  /** By which port a routed packet leaves is not known yet: then only interfaces match. */
  private egress({ is, not }: Wish<string[]>): void {
    const { interfaces, ports } = meaningOf(is, this.around);
    if (ports.length === 0) this.want(Field.OUT_INTERFACE, interfaces.map(single), not);
    else
      this.tests.push(
        (key) => (interfaces.includes(key.outInterface) || ports.includes(key.outPort)) !== (not === true),
      );
  }

  private match(match: Match): void {
    switch (match.kind) {
      case "tcp":
        this.want(Field.PROTOCOL, [single(Protocol.TCP)]);
        this.ports(Field.SOURCE_PORT, match.sourcePort);
        this.ports(Field.DESTINATION_PORT, match.destinationPort);
        if (match.flags !== undefined) {
          const { mask, set } = match.flags.is;
          this.want(
            Field.TCP_FLAGS,
            valuesThat(256, (flags) => (flags & mask) === set),
            match.flags.not,
          );
        }
        break;
      case "udp":
        this.want(Field.PROTOCOL, [single(Protocol.UDP)]);
        this.ports(Field.SOURCE_PORT, match.sourcePort);
        this.ports(Field.DESTINATION_PORT, match.destinationPort);
        break;
      case "icmp":
        this.icmp(match);
        break;
      case "multiport":
        if (match.side !== "either") {
          const field = match.side === "source" ? Field.SOURCE_PORT : Field.DESTINATION_PORT;
          // "Not these ports" is not said of packets that have none.
          this.want(field, [{ low: 0, high: 65_535 }]);
          this.want(field, match.ports.is.map(portInterval), match.ports.not);
        }
        break;
      case "iprange":
        if (match.source !== undefined) this.want(Field.SOURCE, [addressInterval(match.source.is)], match.source.not);
        if (match.destination !== undefined)
          this.want(Field.DESTINATION, [addressInterval(match.destination.is)], match.destination.not);
        break;
      case "conntrack":
        this.states(match.states);
        if (match.status !== undefined) this.want(Field.STATUS, statusValues(match.status.is), match.status.not);
        break;
      case "state":
        this.states(match.states);
        break;
      case "set":
        this.set(match);
        break;
      case "physdev":
        this.physical(match);
        break;
    }
    const test = testOf(match, this.around);
    if (test !== undefined) this.tests.push(test);
  }

  private icmp({ types }: Extract<Match, { kind: "icmp" }>): void {
    this.want(Field.PROTOCOL, [single(Protocol.ICMP)]);
    if (types.is.some(({ type }) => type === ANY_ICMP_TYPE)) {
      if (types.not === true) this.want(Field.PROTOCOL, NEVER);
      return;
    }
    const values = types.is.map(({ type, codes }) => {
      check("an ICMP type", type, 0, 255);
      check("an ICMP code", codes.first, 0, 255);
      check("an ICMP code", codes.last, codes.first, 255);
      return { low: (type << 8) | codes.first, high: (type << 8) | codes.last };
    });
    this.want(Field.ICMP, values, types.not);
  }

  private states(wish: Wish<number> | undefined): void {
    if (wish === undefined) return;
    check("the states", wish.is, 1, ALL_STATES - 1);
    this.want(
      Field.STATES,
      valuesThat(ALL_STATES, (states) => (states & wish.is) !== 0),
      wish.not,
    );
  }

  private set({ name, sides, not }: Extract<Match, { kind: "set" }>): void {
    const ranges = Object.hasOwn(this.around.sets, name) ? this.around.sets[name] : undefined;
    if (ranges === undefined) throw new RangeError(`there is no set called "${name}"`);
    const field = sides[0] === "src" ? Field.SOURCE : Field.DESTINATION;
    this.want(field, ranges.map(addressInterval), not);
  }

  private physical({ in: ingress, out: egress, bridged }: Extract<Match, { kind: "physdev" }>): void {
    const portsOf = (name: string): Interval[] =>
      this.around.ports.filter((port) => meaningOf([name], this.around).allPorts.includes(port.index)).map(portOf);
    if (ingress !== undefined) this.want(Field.IN_PORT, portsOf(ingress.is), ingress.not);
    if (egress !== undefined) this.want(Field.OUT_PORT, portsOf(egress.is), egress.not);
    if (bridged !== undefined) this.tests.push((key) => key.isBridged !== (bridged.not === true));
  }
}

function statusValues(wanted: number): Interval[] {
  check("the status", wanted, 1, ALL_STATUS - 1);
  const hasNone = (wanted & StatusBit.NONE) !== 0;
  return valuesThat(ALL_STATUS, (status) => (status & wanted & ~StatusBit.NONE) !== 0 || (hasNone && status === 0));
}

const single = (value: number): Interval => {
  check("a number", value, 0, 255 * 256);
  return { low: value, high: value };
};

const portOf = ({ index }: { index: number }): Interval => ({ low: index, high: index });

function addressInterval({ first, last }: Range): Interval {
  const [low, high] = [shifted(first), shifted(last)];
  if (low > high || first !== (first | 0) || last !== (last | 0)) throw new RangeError("addresses are out of range");
  return { low, high };
}

function portInterval({ first, last }: Range): Interval {
  check("a port", first, 0, 65_535);
  check("a port", last, first, 65_535);
  return { low: first, high: last };
}

function check(what: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) throw new RangeError(`${what} is out of range`);
}

/** The states of conntrack proper, without SNAT and DNAT. */
export const CONNTRACK_STATES = RuleState.NEW | RuleState.ESTABLISHED | RuleState.RELATED | RuleState.INVALID;
