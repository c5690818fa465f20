/** Matches that are asked one by one, once the fields of a rule have been found to match. */
import { dataOffset, TCP_HEADER_BYTES } from "../packet/tcp.ts";
import type { FilterKey } from "./key.ts";
import type { Surroundings } from "./names.ts";
import type { AddressType, Match, Range, Wish } from "./rule_set.ts";

/** Allocates nothing, throws nothing. */
export type Test = (key: FilterKey) => boolean;

/** The part of a match that its fields' sets do not say; undefined when they say all. */
export function testOf(match: Match, around: Surroundings): Test | undefined {
  switch (match.kind) {
    case "tcp":
      return match.option === undefined ? undefined : optionTest(match.option);
    case "multiport":
      return match.side === "either" ? eitherPortTest(match.ports) : undefined;
    case "conntrack":
      return flowTest(match);
    case "mark":
      return ({ mark }) => ((mark & match.mask) >>> 0 === match.value >>> 0) !== (match.not === true);
    case "connmark":
      return ({ connmark }) => ((connmark & match.mask) >>> 0 === match.value >>> 0) !== (match.not === true);
    case "mac":
      return ({ frame }) =>
        frame !== undefined &&
        (frame.sourceMacHigh === match.high && frame.sourceMacLow === match.low) !== (match.not === true);
    case "limit":
      return limitTest(match);
    case "addrtype":
      return addressTypeTest(match, around);
    case "set":
      return match.sides.length > 1 ? () => false : undefined;
    default:
      return undefined;
  }
}

function isIn(value: number, { first, last }: Range): boolean {
  return value >>> 0 >= first >>> 0 && value >>> 0 <= last >>> 0;
}

function eitherPortTest({ is, not }: Wish<Range[]>): Test {
  const holds = (port: number): boolean => is.some((range) => isIn(port, range));
  return ({ sourcePort, destinationPort }) =>
    sourcePort >= 0 && (holds(sourcePort) || holds(destinationPort)) !== (not === true);
}

function flowTest(match: Extract<Match, { kind: "conntrack" }>): Test | undefined {
  const tests: Test[] = [];
  const add = <T>(wish: Wish<T> | undefined, is: (wanted: T, key: FilterKey) => boolean): void => {
    if (wish !== undefined) tests.push((key) => is(wish.is, key) !== (wish.not === true));
  };
  if (match.direction !== undefined) {
    const direction = match.direction === "ORIGINAL" ? 0 : 1;
    tests.push((key) => key.direction === direction);
  }
  add(match.protocol, (wanted, key) => key.protocol === wanted);
  add(match.originalSource, (wanted, key) => isIn(key.originalSource, wanted));
  add(match.originalDestination, (wanted, key) => isIn(key.originalDestination, wanted));
  add(match.replySource, (wanted, key) => isIn(key.replySource, wanted));
  add(match.replyDestination, (wanted, key) => isIn(key.replyDestination, wanted));
  add(match.originalSourcePort, (wanted, key) => isIn(key.originalPorts >>> 16, wanted));
  add(match.originalDestinationPort, (wanted, key) => isIn(key.originalPorts & 0xffff, wanted));
  return tests.length === 0 ? undefined : (key) => tests.every((test) => test(key));
}

/** A token bucket, in milliseconds that a packet costs. */
function limitTest({ packets, perSeconds, burst }: Extract<Match, { kind: "limit" }>): Test {
  const cost = (perSeconds * 1000) / packets;
  const most = cost * burst;
  let credit = most;
  let last: number | undefined;
  return (key) => {
    const passed = last === undefined ? 0 : (key.now - last) >>> 0;
    const present = Math.min(most, credit + passed);
    if (key.isDry) return present >= cost;
    credit = present;
    last = key.now;
    if (credit < cost) return false;
    credit -= cost;
    return true;
  };
}

function addressTypeTest(match: Extract<Match, { kind: "addrtype" }>, around: Surroundings): Test {
  const holds = (wish: Wish<AddressType[]> | undefined, address: number): boolean =>
    wish === undefined || wish.is.includes(around.addressTypeOf(address)) !== (wish.not === true);
  return (key) => holds(match.source, key.source) && holds(match.destination, key.destination);
}

const END = 0;
const NO_OPERATION = 1;

/** RFC 9293 3.1: kind, length, data; the first two kinds have no length. */
function optionTest({ is, not }: Wish<number>): Test {
  return ({ frame, memory }) => {
    if (frame === undefined || memory === undefined) return false;
    const end = frame.l4 + dataOffset(memory, frame.l4);
    let found = false;
    for (let at = frame.l4 + TCP_HEADER_BYTES; at < end && !found; ) {
      const kind = memory.getUint8(at);
      found = kind === is;
      if (kind === END) break;
      const length = kind === NO_OPERATION || at + 1 >= end ? 1 : memory.getUint8(at + 1);
      if (length < 1) break;
      at += length;
    }
    return found !== (not === true);
  };
}
