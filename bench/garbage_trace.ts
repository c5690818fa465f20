/** Reads what V8 writes with --trace-gc: `[12345:0x5581a0]     1234 ms: Scavenge 5.1 (6.0) -> 4.2 (7.0) MB, ...`. */
import { readFileSync } from "node:fs";

const LINE = /^\[\d+:0x[0-9a-f]+\]\s+(\d+) ms: \S/gm;
const TICKS_PER_SECOND = 100;
const START_TIME = 22;

export interface Collections {
  readonly all: number;
  /** Between the two times. */
  readonly within: number;
}

/** Times are milliseconds since the process started. */
export function collectionsBetween(output: string, beginMs: number, endMs: number): Collections {
  const times = [...output.matchAll(LINE)].map(([, milliseconds]) => Number(milliseconds));
  return { all: times.length, within: times.filter((time) => time >= beginMs && time <= endMs).length };
}

/** How long a process has been running (proc(5), /proc/pid/stat), in milliseconds, to the nearest ten. */
export function sinceStartMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is a name in parentheses, which may contain anything.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const startTicks = Number(fields[START_TIME - 3]);
  const uptimeSeconds = Number.parseFloat(readFileSync("/proc/uptime", "utf8"));
  return (uptimeSeconds - startTicks / TICKS_PER_SECOND) * 1000;
}
