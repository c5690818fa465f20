/** The targets in the words of `iptables -S` and of `iptables -L`. */

import { formatAddress } from "../../packet/ipv4_address.ts";
import { REJECT_NAMES } from "../format.ts";
import { LogOption, type NatOptions, type Range, type Target } from "../rule_set.ts";
import { LOG_LEVELS } from "./vocabulary.ts";
import { quoteWord } from "./words.ts";
import { addressRangeText, dashedText, hex } from "./write_values.ts";

const DEFAULT_LOG_LEVEL = 4;

/** Bits of `--log-…`, by the word for them in both forms. */
const LOG_WORDS = [
  ["tcp-sequence", LogOption.TCP_SEQUENCE],
  ["tcp-options", LogOption.TCP_OPTIONS],
  ["ip-options", LogOption.IP_OPTIONS],
  ["uid", LogOption.UID],
  ["macdecode", LogOption.MAC_DECODE],
] as const;

/** `-j name` (or `-g`) with its options. */
export function targetWords(target: Target): string {
  if (target.kind === "JUMP") return `-j ${target.chain}`;
  if (target.kind === "GOTO") return `-g ${target.chain}`;
  return [`-j ${target.kind}`, ...optionsOf(target)].join(" ");
}

/** What stands in the column `target`. */
export function targetName(target: Target | undefined): string {
  if (target === undefined) return "";
  return target.kind === "JUMP" || target.kind === "GOTO" ? target.chain : target.kind;
}

function optionsOf(target: Target): string[] {
  switch (target.kind) {
    case "REJECT":
      return [`--reject-with ${REJECT_NAMES[target.answer]}`];
    case "LOG":
      return [
        ...(target.prefix === "" ? [] : [`--log-prefix ${quoteWord(target.prefix)}`]),
        ...(target.level === DEFAULT_LOG_LEVEL ? [] : [`--log-level ${target.level}`]),
        ...LOG_WORDS.filter(([, bit]) => (target.options & bit) !== 0).map(([word]) => `--log-${word}`),
      ];
    case "MARK":
      return [`--set-xmark ${hex(target.value)}/${hex(target.mask)}`];
    case "CONNMARK":
      if (target.action === "set") return [`--set-xmark ${hex(target.value)}/${hex(target.mask)}`];
      return [`--${target.action}-mark --nfmask ${hex(target.packetMask)} --ctmask ${hex(target.flowMask)}`];
    case "MASQUERADE":
    case "REDIRECT":
      return [
        ...(target.ports === undefined ? [] : [`--to-ports ${dashedText(target.ports)}`]),
        ...randomWords(target, "--"),
      ];
    case "SNAT":
      return [`--to-source ${translationText(target)}`, ...randomWords(target, "--")];
    case "DNAT":
      return [
        `--to-destination ${translationText(target)}`,
        ...randomWords(target, "--"),
        ...(target.publishes === undefined ? [] : [`--publish ${quoteWord(target.publishes)}`]),
      ];
    default:
      return [];
  }
}

function randomWords({ random, randomFully, persistent }: NatOptions, before: string): string[] {
  return [
    ...(random === true ? [`${before}random`] : []),
    ...(randomFully === true ? [`${before}random-fully`] : []),
    ...(persistent === true ? [`${before}persistent`] : []),
  ];
}

function translationText({ addresses, ports, base }: { addresses?: Range; ports?: Range; base?: number }): string {
  const address =
    addresses === undefined
      ? ""
      : addresses.first === addresses.last
        ? formatAddress(addresses.first)
        : addressRangeText(addresses);
  const port = ports === undefined ? "" : `:${dashedText(ports)}`;
  return `${address}${port}${base === undefined ? "" : `/${base}`}`;
}

/** What `-L` says of a target behind its matches. */
export function describeTarget(target: Target | undefined, isNumeric: boolean): string[] {
  switch (target?.kind) {
    case "REJECT":
      return [`reject-with ${REJECT_NAMES[target.answer]}`];
    case "LOG":
      return [...describeLog(target, isNumeric), ...(target.prefix === "" ? [] : [`prefix "${target.prefix}"`])];
    case "MARK":
      return [`MARK ${describeSet(target)}`];
    case "CONNMARK":
      return [`CONNMARK ${target.action === "set" ? describeSet(target) : describeCopy(target)}`];
    case "MASQUERADE":
    case "REDIRECT": {
      const word = target.kind === "MASQUERADE" ? "masq ports: " : "redir ports ";
      return [
        ...(target.ports === undefined ? [] : [`${word}${dashedText(target.ports)}`]),
        ...randomWords(target, ""),
      ];
    }
    case "SNAT":
      return [`to:${translationText(target)}`, ...randomWords(target, "")];
    case "DNAT":
      return [
        `to:${translationText(target)}`,
        ...randomWords(target, ""),
        ...(target.publishes === undefined ? [] : [`published on ${target.publishes}`]),
      ];
    default:
      return [];
  }
}

function describeLog({ level, options }: Extract<Target, { kind: "LOG" }>, isNumeric: boolean): string[] {
  if (isNumeric) return [`LOG flags ${options} level ${level}`];
  const words = LOG_WORDS.filter(([, bit]) => (options & bit) !== 0).map(([word]) => word);
  return [`LOG level ${LOG_LEVELS.find(([, number]) => number === level)?.[0] ?? level}`, ...words];
}

function describeSet({ value, mask }: { value: number; mask: number }): string {
  if (value === 0) return `and ${hex(~mask)}`;
  if (value === mask) return `or ${hex(value)}`;
  if (mask === 0) return `xor ${hex(value)}`;
  return mask === -1 ? `set ${hex(value)}` : `xset ${hex(value)}/${hex(mask)}`;
}

function describeCopy(target: Extract<Target, { kind: "CONNMARK"; action: "save" | "restore" }>): string {
  const { action, packetMask, flowMask } = target;
  if (packetMask === -1 && flowMask === -1) return action;
  if (packetMask === flowMask) return `${action} mask ${hex(packetMask)}`;
  return action === "save"
    ? `save nfmask ${hex(packetMask)} ctmask ~${hex(flowMask)}`
    : `restore ctmask ${hex(flowMask)} nfmask ~${hex(packetMask)}`;
}
