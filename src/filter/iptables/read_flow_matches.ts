/** The matches that ask what conntrack knows of the packet's flow, and for marks. */
import type { Match, Range } from "../rule_set.ts";
import { notSupported, UsageError } from "./errors.ts";
import { notOf, type Reader, wish, wishFor } from "./options.ts";
import { readBits, readMark, readPortRange, readPrefix, readProtocol } from "./values.ts";
import { STATES, STATUSES } from "./vocabulary.ts";

export const CONNTRACK: Reader<Match> = {
  options: {
    ctstate: { not: true },
    ctproto: { not: true },
    ctorigsrc: { not: true },
    ctorigdst: { not: true },
    ctreplsrc: { not: true },
    ctrepldst: { not: true },
    ctorigsrcport: { not: true },
    ctorigdstport: { not: true },
    ctreplsrcport: { not: true },
    ctrepldstport: { not: true },
    ctstatus: { not: true },
    ctexpire: { not: true },
    ctdir: {},
  },
  read: (options, { names }) => {
    if (Object.keys(options).length === 0) throw new UsageError("conntrack: At least one option is required");
    for (const name of ["ctreplsrcport", "ctrepldstport", "ctexpire"])
      if (options[name] !== undefined) throw notSupported(`conntrack's --${name}`);
    const ports = (text: string): Range => readPortRange(text, names);
    return {
      kind: "conntrack",
      ...wishFor("states", options.ctstate, readStates),
      ...wishFor("protocol", options.ctproto, (text) => readProtocol(text, names)),
      ...wishFor("originalSource", options.ctorigsrc, readPrefix),
      ...wishFor("originalDestination", options.ctorigdst, readPrefix),
      ...wishFor("replySource", options.ctreplsrc, readPrefix),
      ...wishFor("replyDestination", options.ctrepldst, readPrefix),
      ...wishFor("originalSourcePort", options.ctorigsrcport, ports),
      ...wishFor("originalDestinationPort", options.ctorigdstport, ports),
      ...wishFor("status", options.ctstatus, (text) => readBits(text, STATUSES, "Bad ctstatus")),
      ...(options.ctdir === undefined ? {} : { direction: readDirection(options.ctdir.values[0]) }),
    };
  },
};

const readStates = (text: string): number => readBits(text, STATES, "Bad ctstate");

function readDirection(text: string): "ORIGINAL" | "REPLY" {
  const word = text.toUpperCase();
  if (word !== "ORIGINAL" && word !== "REPLY")
    throw new UsageError(`conntrack: Bad value for "--ctdir" option: "${text}"`);
  return word;
}

export const STATE: Reader<Match> = {
  options: { state: { not: true } },
  required: ["state"],
  read: ({ state }) => {
    const { SNAT: _, DNAT: __, ...states } = STATES;
    return { kind: "state", states: wish(readBits(state.values[0], states, "Bad state"), state.not) };
  },
};

export const marked = (kind: "mark" | "connmark"): Reader<Match> => ({
  options: { mark: { not: true } },
  required: ["mark"],
  read: ({ mark }) => ({ kind, ...readMark(mark.values[0], "--mark"), ...notOf(mark) }),
});
