/** The matches: what options each has, and what they mean. */
import { parseMac } from "../../packet/mac_address.ts";
import type { AddressType, Match, Range, Wish } from "../rule_set.ts";
import { notSupported, UsageError } from "./errors.ts";
import { type Context, notOf, type Options, type Reader, wish, wishFor } from "./options.ts";
import { CONNTRACK, marked, STATE } from "./read_flow_matches.ts";
import { readAddressRange, readBits, readNumber, readPort, readPortRange } from "./values.ts";
import {
  ADDRESS_TYPES,
  DEFAULT_BURST,
  FOREIGN_ADDRESS_TYPES,
  ICMP_NAMES,
  RATE_SCALE,
  RATE_UNITS,
  SYN_FLAGS,
  TCP_FLAGS,
} from "./vocabulary.ts";

const ICMP_CODES: Range = { first: 0, last: 255 };
const MOST_PORTS = 15;
const LONGEST_COMMENT = 255;
const PORT_PROTOCOLS = [6, 17, 136, 132, 33];

const TCP: Reader<Match> = {
  options: {
    sport: { not: true, aliases: ["source-port"] },
    dport: { not: true, aliases: ["destination-port"] },
    "tcp-flags": { values: 2, not: true },
    syn: { values: 0, not: true },
    "tcp-option": { not: true },
  },
  read: (options, context) => {
    if (context.protocol !== 6) throw new UsageError("TCP match requires '-p tcp'");
    if (options.syn !== undefined && options["tcp-flags"] !== undefined)
      throw new UsageError("Only one of `--syn' or `--tcp-flags' allowed");
    return { kind: "tcp", ...portsOf(options, context, "tcp"), ...flagsOf(options), ...optionOf(options) };
  },
};

function portsOf({ sport, dport }: Options, { names }: Context, protocol: string) {
  const read = (text: string): Range => readPortRange(text, names, protocol);
  return { ...anyButAll(wishFor("sourcePort", sport, read)), ...anyButAll(wishFor("destinationPort", dport, read)) };
}

/** All ports are no wish. */
function anyButAll<Key extends string>(wanted: { [each in Key]?: Wish<Range> }): { [each in Key]?: Wish<Range> } {
  const [asked] = Object.values(wanted) as Wish<Range>[];
  return asked?.not === undefined && asked?.is.first === 0 && asked.is.last === 65_535 ? {} : wanted;
}

function flagsOf({ syn, "tcp-flags": flags }: Options): { flags?: Wish<{ mask: number; set: number }> } {
  if (syn !== undefined) return { flags: wish({ ...SYN_FLAGS }, syn.not) };
  if (flags === undefined) return {};
  const [mask, set] = flags.values.map((text) => readBits(text, TCP_FLAGS, "Unknown TCP flag"));
  return { flags: wish({ mask, set }, flags.not) };
}

function optionOf({ "tcp-option": option }: Options): { option?: Wish<number> } {
  return wishFor("option", option, (text) => {
    const number = readNumber(text, 1, 255);
    if (number === undefined) throw new UsageError(`Bad TCP option "${text}"`);
    return number;
  });
}

const UDP: Reader<Match> = {
  options: {
    sport: { not: true, aliases: ["source-port"] },
    dport: { not: true, aliases: ["destination-port"] },
  },
  read: (options, context) => {
    if (context.protocol !== 17) throw new UsageError("UDP match requires '-p udp'");
    return { kind: "udp", ...portsOf(options, context, "udp") };
  },
};

const ICMP: Reader<Match> = {
  options: { "icmp-type": { not: true } },
  required: ["icmp-type"],
  read: ({ "icmp-type": { values, not } }, { protocol }) => {
    if (protocol !== 1) throw new UsageError("ICMP match requires '-p icmp'");
    return { kind: "icmp", types: wish(values[0].split(",").map(icmpType), not) };
  },
};

/** A name (its beginning is enough, where it is one's alone), or `type[/code]`. */
function icmpType(text: string): { type: number; codes: Range } {
  const known = (name: string): boolean => name.toLowerCase() === text.toLowerCase();
  const begins = ICMP_NAMES.filter(([name]) => text !== "" && name.toLowerCase().startsWith(text.toLowerCase()));
  const found = ICMP_NAMES.find(([name]) => known(name)) ?? (begins.length === 1 ? begins[0] : undefined);
  if (found !== undefined) return { type: found[1], codes: { first: found[2], last: found[3] } };
  const [typeText, codeText, ...rest] = text.split("/");
  const type = readNumber(typeText, 0, 255);
  if (type === undefined || rest.length > 0) throw new UsageError(`Unknown ICMP type \`${text}'`);
  const code = codeText === undefined ? undefined : readNumber(codeText, 0, 255);
  if (codeText !== undefined && code === undefined) throw new UsageError(`Unknown ICMP code \`${text}'`);
  return { type, codes: code === undefined ? ICMP_CODES : { first: code, last: code } };
}

const MULTIPORT: Reader<Match> = {
  options: {
    sports: { not: true, aliases: ["source-ports"] },
    dports: { not: true, aliases: ["destination-ports"] },
    ports: { not: true },
  },
  read: (options, { names, protocol }) => {
    if (protocol === undefined || !PORT_PROTOCOLS.includes(protocol))
      throw new UsageError("multiport needs `-p tcp', `-p udp', `-p udplite', `-p sctp' or `-p dccp'");
    if (protocol !== 6 && protocol !== 17) throw notSupported("multiport for other protocols than tcp and udp");
    const [given, ...others] = Object.entries(options);
    if (given === undefined) throw new UsageError("multiport expection an option");
    if (others.length > 0) throw new UsageError("multiport can only have one option");
    const ranges = given[1].values[0].split(",").map((text) => {
      const [first, last = first] = text.split(":");
      const range = { first: readPort(first, names), last: readPort(last, names) };
      if (text.includes(":") && range.first >= range.last) throw new UsageError("invalid portrange specified");
      return range;
    });
    const size = ranges.reduce((sum, { first, last }) => sum + (first === last ? 1 : 2), 0);
    if (size > MOST_PORTS) throw new UsageError("too many ports specified");
    const side = ({ sports: "source", dports: "destination", ports: "either" } as const)[given[0] as "ports"];
    return { kind: "multiport", side, ports: wish(ranges, given[1].not) };
  },
};

const IPRANGE: Reader<Match> = {
  options: { "src-range": { not: true }, "dst-range": { not: true } },
  read: (options) => {
    if (Object.keys(options).length === 0)
      throw new UsageError("iprange match: You must specify `--src-range' or `--dst-range'");
    const read = (text: string): Range => {
      const range = readAddressRange(text, `iprange: Bad value for "--src-range" option: "${text}"`);
      if (range.first >>> 0 > range.last >>> 0) throw new UsageError(`iprange: the range ${text} is reversed`);
      return range;
    };
    return {
      kind: "iprange",
      ...wishFor("source", options["src-range"], read),
      ...wishFor("destination", options["dst-range"], read),
    };
  },
};

const MAC: Reader<Match> = {
  options: { "mac-source": { not: true } },
  required: ["mac-source"],
  read: ({ "mac-source": source }) => {
    try {
      return { kind: "mac", ...parseMac(source.values[0]), ...notOf(source) };
    } catch {
      throw new UsageError("Invalid MAC address specified.");
    }
  },
};

const LIMIT: Reader<Match> = {
  options: { limit: {}, "limit-burst": {} },
  read: (options) => {
    const burst =
      options["limit-burst"] === undefined ? DEFAULT_BURST : readNumber(options["limit-burst"].values[0], 1, 10_000);
    if (burst === undefined)
      throw new UsageError(`limit: Bad value for "--limit-burst" option: "${options["limit-burst"]?.values[0]}"`);
    return { kind: "limit", ...readRate(options.limit?.values[0] ?? "3/hour"), burst };
  },
};

/** `packets[/unit]`; the beginning of a unit's long name is enough. */
function readRate(text: string): { packets: number; perSeconds: number } {
  const [number, unit = "second", ...rest] = text.split("/");
  const packets = readNumber(number, 1, 0xffffffff);
  const long = { day: "day", hour: "hour", min: "minute", sec: "second" } as const;
  const names = Object.keys(RATE_UNITS) as (keyof typeof RATE_UNITS)[];
  const found = names.find((name) => unit !== "" && long[name].startsWith(unit.toLowerCase()));
  if (packets === undefined || found === undefined || rest.length > 0) throw new UsageError(`bad rate "${text}"'`);
  const perSeconds = RATE_UNITS[found];
  if (packets > perSeconds * RATE_SCALE) throw new UsageError(`Rate too fast "${text}"`);
  return { packets, perSeconds };
}

const SET: Reader<Match> = {
  options: { "match-set": { values: 2, not: true } },
  required: ["match-set"],
  read: ({ "match-set": set }) => {
    const [name, words] = set.values;
    const sides = words.split(",").map((side) => {
      if (side !== "src" && side !== "dst")
        throw new UsageError("You must specify (the comma separated list of) 'src' or 'dst' direction");
      return side;
    });
    return { kind: "set", name, sides, ...notOf(set) };
  },
};

const ADDRTYPE: Reader<Match> = {
  options: {
    "src-type": { not: true },
    "dst-type": { not: true },
    "limit-iface-in": { values: 0 },
    "limit-iface-out": { values: 0 },
  },
  read: (options) => {
    for (const name of ["limit-iface-in", "limit-iface-out"])
      if (options[name] !== undefined) throw notSupported(`addrtype's --${name}`);
    if (Object.keys(options).length === 0) throw new UsageError("addrtype: you must specify --src-type or --dst-type");
    return {
      kind: "addrtype",
      ...wishFor("source", options["src-type"], readAddressTypes),
      ...wishFor("destination", options["dst-type"], readAddressTypes),
    };
  },
};

function readAddressTypes(text: string): AddressType[] {
  const words = text.toUpperCase().split(",");
  for (const word of words) {
    if (FOREIGN_ADDRESS_TYPES.some((type) => type === word)) throw notSupported(`addrtype's ${word}`);
    if (!ADDRESS_TYPES.some((type) => type === word)) throw new UsageError(`addrtype: bad type "${word}"`);
  }
  return ADDRESS_TYPES.filter((type) => words.includes(type));
}

const PHYSDEV: Reader<Match> = {
  options: {
    "physdev-in": { not: true },
    "physdev-out": { not: true },
    "physdev-is-in": { values: 0, not: true },
    "physdev-is-out": { values: 0, not: true },
    "physdev-is-bridged": { values: 0, not: true },
  },
  read: (options) => {
    for (const name of ["physdev-is-in", "physdev-is-out"])
      if (options[name] !== undefined) throw notSupported(`physdev's --${name}`);
    const bridged = options["physdev-is-bridged"];
    if (Object.keys(options).length === 0) throw new UsageError("PHYSDEV: no physdev option specified");
    return {
      kind: "physdev",
      ...wishFor("in", options["physdev-in"], (name) => name),
      ...wishFor("out", options["physdev-out"], (name) => name),
      ...(bridged === undefined ? {} : { bridged: wish(true as const, bridged.not) }),
    };
  },
};

const COMMENT: Reader<Match> = {
  options: { comment: {} },
  required: ["comment"],
  read: ({ comment: { values } }) => {
    if (Buffer.byteLength(values[0]) > LONGEST_COMMENT)
      throw new UsageError(`COMMENT must be shorter than ${LONGEST_COMMENT + 1} chars`);
    return { kind: "comment", text: values[0] };
  },
};

export const MATCHES: Readonly<Record<Match["kind"], Reader<Match>>> = {
  tcp: TCP,
  udp: UDP,
  icmp: ICMP,
  multiport: MULTIPORT,
  iprange: IPRANGE,
  conntrack: CONNTRACK,
  state: STATE,
  mark: marked("mark"),
  connmark: marked("connmark"),
  mac: MAC,
  limit: LIMIT,
  set: SET,
  addrtype: ADDRTYPE,
  physdev: PHYSDEV,
  comment: COMMENT,
};

/** The match that options of a protocol belong to, which need no `-m`. */
export const PROTOCOL_MATCHES: Readonly<Record<number, Match["kind"]>> = { 1: "icmp", 6: "tcp", 17: "udp" };
