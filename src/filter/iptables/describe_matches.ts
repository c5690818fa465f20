/** What `iptables -L` says of a rule's matches, behind its addresses. */
import { formatMac } from "../../packet/mac_address.ts";
import type { Match, Range, Wish } from "../rule_set.ts";
import { systemNames } from "./system_names.ts";
import { ICMP_NAMES, STATES, STATUSES } from "./vocabulary.ts";
import { flagNames, rateText } from "./write_matches.ts";
import { addressRangeText, bitsText, markText, not, portsText, prefixText } from "./write_values.ts";

export interface Wording {
  /** `-n`: no names of ports and protocols. */
  isNumeric: boolean;
  /** The rule's protocol by name, which ports are looked up by; undefined: none. */
  protocol: string | undefined;
}

export function describeMatch(match: Match, wording: Wording): string {
  switch (match.kind) {
    case "tcp":
    case "udp":
      return describePorts(match, wording);
    case "icmp":
      return describeIcmp(match, wording);
    case "multiport":
      return describeMultiport(match, wording);
    case "iprange":
      return [
        ...(match.source === undefined ? [] : [`source IP range ${rangeText(match.source)}`]),
        ...(match.destination === undefined ? [] : [`destination IP range ${rangeText(match.destination)}`]),
      ].join(" ");
    case "conntrack":
      return describeConntrack(match);
    case "state":
      return `${not(match.states)}state ${bitsText(match.states.is, STATES)}`;
    case "mark":
      return `mark match ${not(match)}${markText(match)}`;
    case "connmark":
      return `connmark match ${match.not === true ? "!" : ""} ${markText(match)}`;
    case "mac":
      return `MAC ${not(match)}${formatMac(match.high, match.low)}`;
    case "limit":
      return `limit: avg ${rateText(match)} burst ${match.burst}`;
    case "set":
      return `${not(match)}match-set ${match.name} ${match.sides.join(",")}`;
    case "addrtype":
      return ["ADDRTYPE match", ...typeText("src-type", match.source), ...typeText("dst-type", match.destination)].join(
        " ",
      );
    case "physdev":
      return [
        "PHYSDEV match",
        ...(match.in === undefined ? [] : [`${not(match.in)}--physdev-in ${match.in.is}`]),
        ...(match.out === undefined ? [] : [`${not(match.out)}--physdev-out ${match.out.is}`]),
        ...(match.bridged === undefined ? [] : [`${not(match.bridged)}--physdev-is-bridged`]),
      ].join(" ");
    case "comment":
      return `/* ${match.text} */`;
  }
}

function portName(port: number, { isNumeric, protocol }: Wording): string {
  const name = isNumeric || protocol === undefined ? undefined : systemNames().portName(port, protocol);
  return name ?? String(port);
}

function describePorts(match: Extract<Match, { kind: "tcp" | "udp" }>, wording: Wording): string {
  const show = (word: string, wish: Wish<Range> | undefined): string[] => {
    if (wish === undefined) return [];
    const { first, last } = wish.is;
    const text = portsText(wish.is, (port) => portName(port, { ...wording, protocol: match.kind }));
    return [`${word}${first === last ? "" : "s"}:${wish.not === true ? "!" : ""}${text}`];
  };
  const parts = [match.kind, ...show("spt", match.sourcePort), ...show("dpt", match.destinationPort)];
  if (match.kind === "tcp") {
    const { option, flags } = match;
    if (option !== undefined) parts.push(`option=${option.not === true ? "!" : ""}${option.is}`);
    if (flags !== undefined) parts.push(`flags:${flags.not === true ? "!" : ""}${flagsText(flags.is, wording)}`);
  }
  return parts.join(" ");
}

function flagsText({ mask, set }: { mask: number; set: number }, { isNumeric }: Wording): string {
  const show = (bits: number): string =>
    isNumeric ? `0x${bits.toString(16).toUpperCase().padStart(2, "0")}` : flagNames(bits);
  return `${show(mask)}/${show(set)}`;
}

function describeIcmp({ types }: Extract<Match, { kind: "icmp" }>, { isNumeric }: Wording): string {
  const mark = types.not === true ? "!" : "";
  const texts = types.is.map(({ type, codes }) => {
    const name = isNumeric
      ? undefined
      : ICMP_NAMES.find(([, known, first, last]) => known === type && first === codes.first && last === codes.last);
    const code = codes.first === codes.last ? ` code ${codes.first}` : "";
    return { isNamed: name !== undefined, text: name?.[0] ?? `${type}${code}` };
  });
  if (texts.every(({ isNamed }) => isNamed)) return `icmp ${mark}${texts.map(({ text }) => text).join(",")}`;
  return `icmp${mark === "" ? "" : " !"}type ${texts.map(({ text }) => text).join(",")}`;
}

function describeMultiport({ side, ports }: Extract<Match, { kind: "multiport" }>, wording: Wording): string {
  const word = { source: "sports", destination: "dports", either: "ports" }[side];
  const list = ports.is.map((each) => portsText(each, (port) => portName(port, wording))).join(",");
  return `multiport ${word} ${ports.not === true ? " !" : ""}${list}`;
}

function rangeText(wish: Wish<Range>): string {
  return `${not(wish)}${addressRangeText(wish.is)}`;
}

function typeText(word: string, wish: Wish<string[]> | undefined): string[] {
  return wish === undefined ? [] : [`${word} ${wish.not === true ? "!" : ""}${wish.is.join(",")}`];
}

function describeConntrack(match: Extract<Match, { kind: "conntrack" }>): string {
  const parts: string[] = [];
  const add = <T>(word: string, wish: Wish<T> | undefined, show: (value: T) => string): void => {
    if (wish !== undefined) parts.push(`${not(wish)}${word} ${show(wish.is)}`);
  };
  const prefix = (range: Range): string => prefixText(range, "");
  add("ctstate", match.states, (states) => bitsText(states, STATES));
  add("ctproto", match.protocol, String);
  add("ctorigsrc", match.originalSource, prefix);
  add("ctorigdst", match.originalDestination, prefix);
  add("ctreplsrc", match.replySource, prefix);
  add("ctrepldst", match.replyDestination, prefix);
  add("ctorigsrcport", match.originalSourcePort, (each) => portsText(each));
  add("ctorigdstport", match.originalDestinationPort, (each) => portsText(each));
  add("ctstatus", match.status, (status) => bitsText(status, STATUSES));
  if (match.direction !== undefined) parts.push(`ctdir ${match.direction}`);
  return parts.join(" ");
}
