/**
 * The control process's log: lines for people on a terminal, JSON (pino) elsewhere, unless the user chooses. Never per
 * packet: rules with LOG have a limit of their own in the dataplane. A message that repeats itself is said once in ten
 * seconds, then with how often it came meanwhile.
 */
import { pino } from "pino";
import type { RuleLog } from "../dataplane/messages.ts";
import { LOG_LEVELS, type LogFormat, type LogLevel } from "./log_options.ts";
import { LogSink } from "./log_sink.ts";

export interface Log {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
  /** A packet has met a rule with LOG: its fields, by the names that the kernel's log has for them. */
  rule(entry: RuleLog): void;
}

export interface LogOptions {
  /** What is less important is not said. Default: info. */
  level?: LogLevel;
  /** Default: text on a terminal, JSON elsewhere. */
  format?: LogFormat;
}

/** Writes to standard error, a line at a time. */
export function createLog({ level = "info", format }: LogOptions = {}): Log {
  const chosen = format ?? (process.stderr.isTTY ? "text" : "json");
  return limitRepeats(chosen === "text" ? textLog(level) : jsonLog(level), () => performance.now());
}

const PREFIXES: Record<LogLevel, string> = { error: "error: ", warn: "warning: ", info: "", debug: "debug: " };

const linesLost = (lines: number): string => `${lines} lines of the log are lost: they could not be written`;

function textLog(level: LogLevel): Log {
  const sink = new LogSink((lines) => `tapir: warning: ${linesLost(lines)}\n`);
  const line = (of: LogLevel) => (message: string) => {
    if (LOG_LEVELS.indexOf(of) <= LOG_LEVELS.indexOf(level)) sink.write(`tapir: ${PREFIXES[of]}${message}\n`);
  };
  const rule = (entry: RuleLog) => {
    if (LOG_LEVELS.indexOf("info") <= LOG_LEVELS.indexOf(level)) sink.write(`${describeRuleLog(entry)}\n`);
  };
  return { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error"), rule };
}

function jsonLog(level: LogLevel): Log {
  const options = { level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime };
  // pino's number of a warning is 40.
  const warning = (msg: string) =>
    `${JSON.stringify({ level: 40, time: new Date().toISOString(), pid: process.pid, msg })}\n`;
  const logger = pino(options, new LogSink((lines) => warning(linesLost(lines))));
  return {
    debug: (message) => logger.debug(message),
    info: (message) => logger.info(message),
    warn: (message) => logger.warn(message),
    error: (message) => logger.error(message),
    rule: ({ prefix, ...entry }) => logger.info(entry, prefix === "" ? "rule" : prefix.trim()),
  };
}

const QUIET_MS = 10_000;
/** Messages that are remembered; the oldest gives way. */
const MOST_REMEMBERED = 100;

interface Remembered {
  quietUntil: number;
  /** How often it came since it was said last. */
  unsaid: number;
}

/** A log with the same warning or error at most once in ten seconds of `clock` (milliseconds). */
export function limitRepeats(log: Log, clock: () => number): Log {
  const remembered = new Map<string, Remembered>();
  const limited = (level: LogLevel) => (message: string) => {
    const key = `${level} ${message}`;
    const now = clock();
    const before = remembered.get(key);
    if (before !== undefined && now < before.quietUntil) {
      before.unsaid++;
      return;
    }
    log[level](before === undefined || before.unsaid === 0 ? message : `${message} (${before.unsaid} more like this)`);
    remembered.delete(key);
    remembered.set(key, { quietUntil: now + QUIET_MS, unsaid: 0 });
    if (remembered.size > MOST_REMEMBERED) remembered.delete(remembered.keys().next().value as string);
  };
  return {
    debug: (message) => log.debug(message),
    info: (message) => log.info(message),
    warn: limited("warn"),
    error: limited("error"),
    rule: (entry) => log.rule(entry),
  };
}

/** As the kernel writes it: `PREFIX IN=lab OUT=wan SRC=… DST=… LEN=60 …`. */
function describeRuleLog({ prefix, table: _table, chain: _chain, level: _level, ...fields }: RuleLog): string {
  const { df, flags, ...rest } = fields;
  const words = Object.entries(rest).map(([name, value]) => `${name.toUpperCase()}=${value}`);
  return [`${prefix}${words[0]}`, ...words.slice(1), ...(df ? ["DF"] : []), ...(flags ? [flags] : [])].join(" ");
}
