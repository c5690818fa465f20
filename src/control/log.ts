/** The control process's log: lines for people on a terminal, JSON (pino) elsewhere. Never per packet. */
import { pino } from "pino";

export interface Log {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export function createLog(): Log {
  if (process.stderr.isTTY) {
    const line = (level: string) => (message: string) => process.stderr.write(`tapir: ${level}${message}\n`);
    return { info: line(""), warn: line("warning: "), error: line("error: ") };
  }
  const logger = pino(
    { base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  );
  return {
    info: (message) => logger.info(message),
    warn: (message) => logger.warn(message),
    error: (message) => logger.error(message),
  };
}
