/** The targets: what options each has, and what they mean. */

import { REJECT_NAMES } from "../format.ts";
import type { NatOptions, Range, RejectAnswer, Target } from "../rule_set.ts";
import { LogOption } from "../rule_set.ts";
import { UsageError } from "./errors.ts";
import type { OptionShape, Options, Reader } from "./options.ts";
import { readAddress, readMark, readNumber } from "./values.ts";
import { LOG_LEVELS } from "./vocabulary.ts";

const PORT_PROTOCOLS = [6, 17];
const LONGEST_LOG_PREFIX = 29;
const WARNING = 4;

const plain = (kind: "ACCEPT" | "DROP" | "RETURN"): Reader<Target> => ({ options: {}, read: () => ({ kind }) });

/** Shorter words for `--reject-with`. */
const REJECT_WORDS: Readonly<Record<string, RejectAnswer>> = {
  "net-unreach": 0,
  "host-unreach": 1,
  "proto-unreach": 2,
  "port-unreach": 3,
  "net-prohib": 9,
  "host-prohib": 10,
  "admin-prohib": 13,
  "tcp-rst": "tcp-reset",
};

const REJECT: Reader<Target> = {
  options: { "reject-with": {} },
  read: ({ "reject-with": given }) => {
    const word = given?.values[0] ?? "icmp-port-unreachable";
    const names = Object.entries(REJECT_NAMES).find(([, name]) => name === word);
    const code = names === undefined ? undefined : names[0];
    const answer =
      code === undefined ? REJECT_WORDS[word] : code === "tcp-reset" ? code : (Number(code) as RejectAnswer);
    if (answer === undefined) throw new UsageError(`unknown reject type "${word}"`);
    return { kind: "REJECT", answer };
  },
};

const LOG_FLAGS = {
  "log-tcp-sequence": LogOption.TCP_SEQUENCE,
  "log-tcp-options": LogOption.TCP_OPTIONS,
  "log-ip-options": LogOption.IP_OPTIONS,
  "log-uid": LogOption.UID,
  "log-macdecode": LogOption.MAC_DECODE,
} as const;

const LOG: Reader<Target> = {
  options: {
    "log-level": {},
    "log-prefix": {},
    ...Object.fromEntries(Object.keys(LOG_FLAGS).map((name) => [name, { values: 0 } satisfies OptionShape])),
  },
  read: (options) => {
    const level = options["log-level"] === undefined ? WARNING : readLevel(options["log-level"].values[0]);
    const prefix = options["log-prefix"]?.values[0] ?? "";
    if (prefix.includes("\n")) throw new UsageError("Newlines not allowed in --log-prefix");
    const flags = Object.entries(LOG_FLAGS).filter(([name]) => options[name] !== undefined);
    return {
      kind: "LOG",
      level,
      prefix: prefix.slice(0, LONGEST_LOG_PREFIX),
      options: flags.reduce((sum, [, bit]) => sum | bit, 0),
    };
  },
};

function readLevel(text: string): number {
  const level = readNumber(text, 0, 7) ?? LOG_LEVELS.find(([name]) => name === text.toLowerCase())?.[1];
  if (level === undefined) throw new UsageError(`log level "${text}" unknown`);
  return level;
}

const SETTERS = ["set-xmark", "set-mark", "and-mark", "or-mark", "xor-mark"] as const;

/** What the options that set a mark come to: mark = (mark & ~mask) ^ value. */
function readSetter(option: (typeof SETTERS)[number], text: string): { value: number; mask: number } {
  const { value, mask } = readMark(text, `--${option}`);
  if (option !== "set-xmark" && option !== "set-mark" && text.includes("/"))
    throw new UsageError(`bad value for option "--${option}", or out of range: ${text}`);
  switch (option) {
    case "set-xmark":
      return { value, mask };
    case "set-mark":
      // Bits of the value beyond the mask are set all the same.
      return { value, mask: mask | value };
    case "and-mark":
      return { value: 0, mask: ~value };
    case "or-mark":
      return { value, mask: value };
    case "xor-mark":
      return { value, mask: 0 };
  }
}

const setterShapes: Record<string, OptionShape> = Object.fromEntries(SETTERS.map((name) => [name, {}]));

const MARK: Reader<Target> = {
  options: setterShapes,
  read: (options) => {
    const given = SETTERS.filter((name) => options[name] !== undefined);
    if (given.length !== 1)
      throw new UsageError("MARK: One of the --set-xmark, --{and,or,xor,set}-mark options is required");
    return { kind: "MARK", ...readSetter(given[0], options[given[0]].values[0]) };
  },
};

const CONNMARK: Reader<Target> = {
  options: {
    ...setterShapes,
    "save-mark": { values: 0 },
    "restore-mark": { values: 0 },
    nfmask: {},
    ctmask: {},
    mask: {},
  },
  read: (options) => {
    const actions = [...SETTERS, "save-mark", "restore-mark"].filter((name) => options[name] !== undefined);
    if (actions.length !== 1) throw new UsageError("CONNMARK target: No operation specified");
    const [action] = actions;
    const masks = ["nfmask", "ctmask", "mask"].filter((name) => options[name] !== undefined);
    if (action !== "save-mark" && action !== "restore-mark") {
      if (masks.length > 0) throw new UsageError(`CONNMARK: --${masks[0]} needs --save-mark or --restore-mark`);
      const setter = action as (typeof SETTERS)[number];
      return { kind: "CONNMARK", action: "set", ...readSetter(setter, options[setter].values[0]) };
    }
    if (masks.includes("mask") && masks.length > 1)
      throw new UsageError("CONNMARK: --mask excludes --nfmask and --ctmask");
    const maskOf = (name: string): number => {
      const text = (options.mask ?? options[name])?.values[0] ?? "0xffffffff";
      const mask = readNumber(text, 0, 0xffffffff);
      if (mask === undefined) throw new UsageError(`bad value for option "--${name}", or out of range: ${text}`);
      return mask | 0;
    };
    return {
      kind: "CONNMARK",
      action: action === "save-mark" ? "save" : "restore",
      packetMask: maskOf("nfmask"),
      flowMask: maskOf("ctmask"),
    };
  },
};

const RANDOM_OPTIONS = { random: { values: 0 }, "random-fully": { values: 0 }, persistent: { values: 0 } } as const;
const NEEDS_PORTS = "Need TCP, UDP, SCTP or DCCP with port specification";

function natOptions(options: Options): NatOptions {
  return {
    ...(options.random === undefined ? {} : { random: true }),
    ...(options["random-fully"] === undefined ? {} : { randomFully: true }),
    ...(options.persistent === undefined ? {} : { persistent: true }),
  };
}

/** `first[-last]` of ports. */
function readPorts(text: string, protocol: number | undefined): Range {
  if (protocol === undefined || !PORT_PROTOCOLS.includes(protocol)) throw new UsageError(NEEDS_PORTS);
  const [firstText, lastText = firstText, ...rest] = text.split("-");
  const first = readNumber(firstText, 1, 65_535);
  const last = readNumber(lastText, 1, 65_535);
  if (first === undefined || last === undefined || rest.length > 0) throw new UsageError(`Port \`${text}' not valid`);
  if (first > last) throw new UsageError(`Port range \`${text}' funky`);
  return { first, last };
}

function readNatAddresses(text: string): Range {
  const [firstText, lastText = firstText, ...rest] = text.split("-");
  const [first, last] = [readAddress(firstText), readAddress(lastText)];
  if (first === undefined || last === undefined || rest.length > 0) throw new UsageError(`Bad IP address "${text}"`);
  if (first >>> 0 > last >>> 0) throw new UsageError(`Bad IP address range "${text}": it ends before it begins`);
  return { first, last };
}

/** `[address[-address]][:port[-port[/base]]]`. */
function readTranslation(
  text: string,
  protocol: number | undefined,
): { addresses?: Range; ports?: Range; base?: number } {
  const [addressText, portText, ...rest] = text.split(":");
  if (rest.length > 0 || (addressText === "" && portText === undefined))
    throw new UsageError(`Invalid port:port syntax - use dash: "${text}"`);
  const addresses = addressText === "" ? {} : { addresses: readNatAddresses(addressText) };
  if (portText === undefined) return addresses;
  const [rangeText, baseText, ...more] = portText.split("/");
  const ports = readPorts(rangeText, protocol);
  if (baseText === undefined) return { ...addresses, ports };
  const base = readNumber(baseText, 1, 65_535);
  if (base === undefined || more.length > 0) throw new UsageError(`Port \`${portText}' not valid`);
  return { ...addresses, ports, base };
}

const MASQUERADE: Reader<Target> = {
  options: { "to-ports": {}, random: RANDOM_OPTIONS.random, "random-fully": RANDOM_OPTIONS["random-fully"] },
  read: (options, { protocol }) => ({ kind: "MASQUERADE", ...toPorts(options, protocol), ...natOptions(options) }),
};

function toPorts({ "to-ports": given }: Options, protocol: number | undefined): { ports?: Range } {
  return given === undefined ? {} : { ports: readPorts(given.values[0], protocol) };
}

const SNAT: Reader<Target> = {
  options: { "to-source": {}, ...RANDOM_OPTIONS },
  required: ["to-source"],
  read: (options, { protocol }) => {
    const [text] = options["to-source"].values;
    const { base, ...to } = readTranslation(text, protocol);
    if (base !== undefined) throw new UsageError(`Port \`${text}' not valid`);
    return { kind: "SNAT", ...to, ...natOptions(options) };
  },
};

const DNAT: Reader<Target> = {
  options: { "to-destination": {}, random: RANDOM_OPTIONS.random, persistent: RANDOM_OPTIONS.persistent, publish: {} },
  required: ["to-destination"],
  read: (options, { protocol }) => ({
    kind: "DNAT",
    ...readTranslation(options["to-destination"].values[0], protocol),
    ...natOptions(options),
    ...(options.publish === undefined ? {} : { publishes: options.publish.values[0] }),
  }),
};

const REDIRECT: Reader<Target> = {
  options: { "to-ports": {}, random: RANDOM_OPTIONS.random },
  read: (options, { protocol }) => ({ kind: "REDIRECT", ...toPorts(options, protocol), ...natOptions(options) }),
};

/** By the word behind `-j`; what is not here is a chain's name. */
export const TARGETS: Readonly<Record<string, Reader<Target>>> = {
  ACCEPT: plain("ACCEPT"),
  DROP: plain("DROP"),
  RETURN: plain("RETURN"),
  REJECT,
  LOG,
  MARK,
  CONNMARK,
  MASQUERADE,
  SNAT,
  DNAT,
  REDIRECT,
};
