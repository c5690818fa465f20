/** The control process's log: lines for people on a terminal, JSON (pino) elsewhere. Never per packet. */
import { pino } from "pino";
import type { RuleLog } from "../dataplane/messages.ts";

export interface Log {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
  /** A packet has met a rule with LOG: its fields, by the names that the kernel's log has for them. */
  rule(entry: RuleLog): void;
}

export function createLog(): Log {
  if (process.stderr.isTTY) {
    const line = (level: string) => (message: string) => process.stderr.write(`tapir: ${level}${message}\n`);
    const rule = (entry: RuleLog) => process.stderr.write(`${describeRuleLog(entry)}\n`);
    return { info: line(""), warn: line("warning: "), error: line("error: "), rule };
  }
  const logger = pino(
    { base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  );
  return {
    info: (message) => logger.info(message),
    warn: (message) => logger.warn(message),
    error: (message) => logger.error(message),
    rule: ({ prefix, ...entry }) => logger.info(entry, prefix === "" ? "rule" : prefix.trim()),
  };
}

/** As the kernel writes it: `PREFIX IN=lab OUT=wan SRC=… DST=… LEN=60 …`. */
function describeRuleLog({ prefix, table: _table, chain: _chain, level: _level, ...fields }: RuleLog): string {
  const { df, flags, ...rest } = fields;
  const words = Object.entries(rest).map(([name, value]) => `${name.toUpperCase()}=${value}`);
  return [`${prefix}${words[0]}`, ...words.slice(1), ...(df ? ["DF"] : []), ...(flags ? [flags] : [])].join(" ");
}
