/**
 * Which flows a command is about: conntrack(8)'s filters, by the names of its long options. A filter becomes tests on
 * the words of an entry, so that the dataplane and the control process ask the same question with a few comparisons;
 * it is plain data and travels as JSON.
 */
import { Protocol } from "../packet/ipv4.ts";
import { prefixMask } from "../packet/ipv4_address.ts";
import { ANY_NAT, FlowFlag, FlowWord } from "./flow_layout.ts";
import { TcpState, tcpStateName } from "./tcp_states.ts";

/** A word of the entry (counted from its first), and what its bits under `mask` must be. */
export interface WordTest {
  word: number;
  mask: number;
  value: number;
}

/** A flow matches when all tests of one of the alternatives hold. */
export type FlowFilter = readonly (readonly WordTest[])[];

export const EVERY_FLOW: FlowFilter = [[]];

/** A filter that cannot be: the option and why, in one line. */
export class FilterError extends Error {}

const PORTS = "its protocol must be given too (-p tcp, udp, dccp, sctp or udplite)";

/** Numbers of the protocols that may be named. */
const PROTOCOLS: Record<string, number> = {
  icmp: Protocol.ICMP,
  tcp: Protocol.TCP,
  udp: Protocol.UDP,
  dccp: 33,
  gre: 47,
  sctp: 132,
  udplite: 136,
};
const WITH_PORTS = [Protocol.TCP, Protocol.UDP, 33, 132, 136] as readonly number[];

const STATES = new Map(
  Array.from({ length: TcpState.COUNT }, (_, state): [string, number] => [tcpStateName(state), state]),
);

const STATUSES: Record<string, Omit<WordTest, "word">> = {
  ASSURED: { mask: FlowFlag.ASSURED, value: FlowFlag.ASSURED },
  SEEN_REPLY: { mask: FlowFlag.SEEN_REPLY, value: FlowFlag.SEEN_REPLY },
  UNREPLIED: { mask: FlowFlag.SEEN_REPLY, value: 0 },
};

/** What was asked for; `undefined` where it was not. The NAT filters may be empty: any address. */
export type FilterWords = { readonly [name in FilterName]?: string | undefined };

type Reader = (text: string, protocol: number | undefined, name: string) => readonly (readonly WordTest[])[];

const one = (word: number, mask: number, value: number) => [[{ word, mask, value: value & mask }]];

const READERS = {
  src: (text) => prefix(FlowWord.SOURCE, text),
  dst: (text) => prefix(FlowWord.DESTINATION, text),
  "reply-src": (text) => prefix(FlowWord.REPLY_SOURCE, text),
  "reply-dst": (text) => prefix(FlowWord.REPLY_DESTINATION, text),
  proto: (text) => one(FlowWord.STATUS, 0xff, readProtocol(text)),
  sport: (text, protocol, name) => port(FlowWord.PORTS, 16, text, protocol, name),
  dport: (text, protocol, name) => port(FlowWord.PORTS, 0, text, protocol, name),
  "reply-port-src": (text, protocol, name) => port(FlowWord.REPLY_PORTS, 16, text, protocol, name),
  "reply-port-dst": (text, protocol, name) => port(FlowWord.REPLY_PORTS, 0, text, protocol, name),
  state: (text, protocol) => {
    if (protocol !== Protocol.TCP) throw new FilterError("--state: only with -p tcp");
    const state = STATES.get(text);
    if (state === undefined) throw new FilterError(`--state: unknown TCP state '${text}'`);
    return one(FlowWord.STATUS, 0xff00, state << 8);
  },
  status: (text) => [
    text.split(",").map((name) => {
      const known = Object.hasOwn(STATUSES, name) ? STATUSES[name] : undefined;
      if (known === undefined) {
        throw new FilterError(`--status: '${name}' is none of ${Object.keys(STATUSES).join(", ")}`);
      }
      return { word: FlowWord.STATUS, ...known };
    }),
  ],
  mark: (text) => {
    const [value, mask] = text.split("/");
    const bits = mask === undefined ? -1 : number("--mark", mask, 0xffffffff) | 0;
    return one(FlowWord.MARK, bits, number("--mark", value, 0xffffffff) | 0);
  },
  "src-nat": (text) => [sourceNat(text, "--src-nat")],
  "dst-nat": (text) => [destinationNat(text, "--dst-nat")],
  "any-nat": (text) => [sourceNat(text, "--any-nat"), destinationNat(text, "--any-nat")],
  family: (text) => {
    if (text === "ipv4") return EVERY_FLOW;
    if (text === "ipv6") return [];
    throw new FilterError(`--family: '${text}' is neither ipv4 nor ipv6`);
  },
  "icmp-type": (text, protocol, name) => icmp(8, 0xff, text, protocol, name),
  "icmp-code": (text, protocol, name) => icmp(0, 0xff, text, protocol, name),
  "icmp-id": (text, protocol, name) => icmp(16, 0xffff, text, protocol, name),
} as const satisfies Record<string, Reader>;

export type FilterName = keyof typeof READERS;
export const FILTER_NAMES = Object.keys(READERS) as readonly FilterName[];

/** Reads a filter; throws a FilterError for a name that is none, or a value that cannot be. */
export function parseFilter(words: Readonly<Record<string, string | undefined>>): FlowFilter {
  const protocol = words.proto === undefined ? undefined : readProtocol(words.proto);
  let filter: FlowFilter = EVERY_FLOW;
  for (const [name, text] of Object.entries(words)) {
    if (text === undefined) continue;
    if (!Object.hasOwn(READERS, name)) throw new FilterError(`unknown filter '${name}'`);
    const read: Reader = READERS[name as FilterName];
    const alternatives = read(text, protocol, `--${name}`);
    filter = filter.flatMap((before) => alternatives.map((tests) => [...before, ...tests]));
  }
  return filter;
}

/** Whether the entry in `words` from `base` on is one that the filter asks for. */
export function matchesFlow(filter: FlowFilter, words: Int32Array, base: number): boolean {
  for (let i = 0; i < filter.length; i++) {
    if (holds(filter[i], words, base)) return true;
  }
  return false;
}

function holds(tests: readonly WordTest[], words: Int32Array, base: number): boolean {
  for (let i = 0; i < tests.length; i++) {
    const { word, mask, value } = tests[i];
    if ((words[base + word] & mask) !== value) return false;
  }
  return true;
}

function number(name: string, text: string, most: number): number {
  const value = /^(0x[0-9a-f]{1,8}|[0-9]{1,10})$/i.test(text) ? Number(text) : Number.NaN;
  if (!(value <= most)) throw new FilterError(`${name}: '${text}' is not a number from 0 to ${most}`);
  return value;
}

function readProtocol(text: string): number {
  if (/^[0-9]+$/.test(text)) return number("--proto", text, 255);
  const known = text.toLowerCase();
  if (!Object.hasOwn(PROTOCOLS, known)) throw new FilterError(`--proto: '${text}' is not a known protocol`);
  return PROTOCOLS[known];
}

function port(word: number, shift: number, text: string, protocol: number | undefined, name: string) {
  if (protocol === undefined || !WITH_PORTS.includes(protocol)) throw new FilterError(`${name}: ${PORTS}`);
  return one(word, 0xffff << shift, number(name, text, 0xffff) << shift);
}

function icmp(shift: number, most: number, text: string, protocol: number | undefined, name: string) {
  if (protocol !== Protocol.ICMP) throw new FilterError(`${name}: only with -p icmp`);
  return one(FlowWord.PORTS, most << shift, number(name, text, most) << shift);
}

function address(text: string): number {
  const bytes = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  if (bytes === undefined || bytes.some((byte) => byte > 255)) {
    throw new FilterError(`'${text}' is not an IPv4 address`);
  }
  return bytes.reduce((word, byte) => (word << 8) | byte, 0);
}

function prefix(word: number, text: string) {
  const [first, length = "32", ...rest] = text.split("/");
  if (rest.length > 0 || !/^\d{1,2}$/.test(length) || Number(length) > 32) {
    throw new FilterError(`'${text}' is not an IPv4 address or prefix`);
  }
  return one(word, prefixMask(Number(length)), address(first));
}

/** NAT of the flow's source, to `text` where that is not empty: the address that answers go to. */
function sourceNat(text: string, name: string): WordTest[] {
  return nat(FlowFlag.SOURCE_NAT, FlowWord.REPLY_DESTINATION, text, name);
}

function destinationNat(text: string, name: string): WordTest[] {
  return nat(FlowFlag.DESTINATION_NAT, FlowWord.REPLY_SOURCE, text, name);
}

function nat(flag: number, word: number, text: string, name: string): WordTest[] {
  const tests = one(FlowWord.STATUS, flag & ANY_NAT, flag)[0];
  if (text === "") return tests;
  try {
    return [...tests, ...prefix(word, text)[0]];
  } catch (error) {
    throw new FilterError(`${name}: ${(error as Error).message}`);
  }
}
