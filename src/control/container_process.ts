/** A container that is known by one of its processes. A number alone does not do: it is somebody else's one day. */
import { existsSync, readFileSync, statSync } from "node:fs";

/** Of those behind the name of the program, which are numbered from 3 (proc_pid_stat(5)). */
const START_FIELD = 22 - 3;

export interface ContainerProcess {
  pid: number;
  /** When it was started, in clock ticks since the machine was. */
  started: number;
}

/** Undefined where no process has the number. */
export function processOf(pid: number): ContainerProcess | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name may have blanks and brackets of its own.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { pid, started: Number(fields[START_FIELD]) };
  } catch {
    return undefined;
  }
}

/** One that nobody has waited for yet has no namespaces any more. */
export function isRunning({ pid, started }: ContainerProcess): boolean {
  return processOf(pid)?.started === started && existsSync(networkOf(pid));
}

/** Whether it is where this program is, and no container at all. */
export function isInOwnNetwork(pid: number): boolean {
  const own = statSync(networkOf("self"));
  const other = statSync(networkOf(pid), { throwIfNoEntry: false });
  return other?.ino === own.ino && other.dev === own.dev;
}

const networkOf = (pid: number | "self"): string => `/proc/${pid}/ns/net`;
