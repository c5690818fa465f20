/** The matches in the words of `iptables -S`. */
import { formatMac } from "../../packet/mac_address.ts";
import type { Match, Range } from "../rule_set.ts";
import { DEFAULT_BURST, RATE_SCALE, RATE_UNITS, STATES, STATUSES, TCP_FLAGS } from "./vocabulary.ts";
import { namesWord, quoteWord } from "./words.ts";
import { addressRangeText, bitsText, markText, not, optionText, portsText, prefixText } from "./write_values.ts";

/** `-m name` with its options. */
export function matchWords(match: Match): string {
  return [`-m ${match.kind}`, ...optionsOf(match)].join(" ");
}

function optionsOf(match: Match): string[] {
  switch (match.kind) {
    case "tcp":
    case "udp":
      return protocolOptions(match);
    case "icmp":
      return optionText("icmp-type", match.types, (types) => types.map(icmpText).join(","));
    case "multiport": {
      const option = { source: "sports", destination: "dports", either: "ports" }[match.side];
      return optionText(option, match.ports, (ports) => ports.map((each) => portsText(each)).join(","));
    }
    case "iprange":
      return [
        ...optionText("src-range", match.source, addressRangeText),
        ...optionText("dst-range", match.destination, addressRangeText),
      ];
    case "conntrack":
      return conntrackOptions(match);
    case "state":
      return optionText("state", match.states, (states) => bitsText(states, STATES));
    case "mark":
    case "connmark":
      return [`${not(match)}--mark ${markText(match)}`];
    case "mac":
      return [`${not(match)}--mac-source ${formatMac(match.high, match.low)}`];
    case "limit":
      return [`--limit ${rateText(match)}`, ...(match.burst === DEFAULT_BURST ? [] : [`--limit-burst ${match.burst}`])];
    case "set":
      return [`${not(match)}--match-set ${quoteWord(match.name)} ${match.sides.join(",")}`];
    case "addrtype":
      return [
        ...optionText("src-type", match.source, (types) => types.join(",")),
        ...optionText("dst-type", match.destination, (types) => types.join(",")),
      ];
    case "physdev":
      return physicalOptions(match);
    case "comment":
      return [`--comment ${quoteWord(match.text)}`];
  }
}

function protocolOptions(match: Extract<Match, { kind: "tcp" | "udp" }>): string[] {
  const ports = [
    ...optionText("sport", match.sourcePort, (each) => portsText(each)),
    ...optionText("dport", match.destinationPort, (each) => portsText(each)),
  ];
  if (match.kind === "udp") return ports;
  return [
    ...ports,
    ...optionText("tcp-option", match.option, String),
    ...optionText("tcp-flags", match.flags, ({ mask, set }) => `${flagNames(mask)} ${flagNames(set)}`),
  ];
}

export function flagNames(flags: number): string {
  const { ALL: _, NONE: __, ...single } = TCP_FLAGS;
  return flags === 0 ? "NONE" : bitsText(flags, single);
}

function icmpText({ type, codes }: { type: number; codes: Range }): string {
  if (type === 255) return "any";
  return codes.first === 0 && codes.last === 255 ? String(type) : `${type}/${codes.first}`;
}

function conntrackOptions(match: Extract<Match, { kind: "conntrack" }>): string[] {
  const prefix = (range: Range): string => prefixText(range, "");
  return [
    ...optionText("ctstate", match.states, (states) => bitsText(states, STATES)),
    ...optionText("ctproto", match.protocol, String),
    ...optionText("ctorigsrc", match.originalSource, prefix),
    ...optionText("ctorigdst", match.originalDestination, prefix),
    ...optionText("ctreplsrc", match.replySource, prefix),
    ...optionText("ctrepldst", match.replyDestination, prefix),
    ...optionText("ctorigsrcport", match.originalSourcePort, (each) => portsText(each)),
    ...optionText("ctorigdstport", match.originalDestinationPort, (each) => portsText(each)),
    ...optionText("ctstatus", match.status, (status) => bitsText(status, STATUSES)),
    ...(match.direction === undefined ? [] : [`--ctdir ${match.direction}`]),
  ];
}

function physicalOptions(match: Extract<Match, { kind: "physdev" }>): string[] {
  return [
    ...optionText("physdev-in", match.in, (name) => namesWord([name])),
    ...optionText("physdev-out", match.out, (name) => namesWord([name])),
    ...(match.bridged === undefined ? [] : [`${not(match.bridged)}--physdev-is-bridged`]),
  ];
}

/** As the kernel keeps a rate: the time of one packet, shown in the longest unit that does not lose much of it. */
export function rateText({ packets, perSeconds }: { packets: number; perSeconds: number }): string {
  const period = Math.floor((perSeconds * RATE_SCALE) / packets);
  const units = Object.entries(RATE_UNITS).map(([name, seconds]) => ({ name, scaled: seconds * RATE_SCALE }));
  const stop = units.findIndex(
    ({ scaled }, index) => index > 0 && (period > scaled || Math.floor(scaled / period) < scaled % period),
  );
  const { name, scaled } = units[(stop < 0 ? units.length : stop) - 1];
  return `${Math.floor(scaled / period)}/${name}`;
}
