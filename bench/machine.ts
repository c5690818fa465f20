/** What the figures were measured on. */
import { readdirSync, readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";

export interface Machine {
  readonly processor: string;
  readonly processors: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  /** What the kernel does against the processor's faults: some of it makes system calls many times dearer. */
  readonly mitigations: readonly string[];
  /** Load average over one minute when the bench began: other work on the machine disturbs. */
  readonly loadAtStart: number;
}

export function describeMachine(): Machine {
  const all = cpus();
  return {
    processor: all[0]?.model.trim() ?? "unknown",
    processors: all.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    // Without what the builder appended: it may name a machine.
    kernel: release().split("-")[0],
    node: process.version,
    mitigations: mitigations(),
    loadAtStart: Number.parseFloat(readFileSync("/proc/loadavg", "utf8")),
  };
}

const VULNERABILITIES = "/sys/devices/system/cpu/vulnerabilities";

function mitigations(): string[] {
  return readdirSync(VULNERABILITIES).flatMap((name) => {
    const [, what] = /^Mitigation: ([^;\n]*)/.exec(readFileSync(join(VULNERABILITIES, name), "latin1")) ?? [];
    return what === undefined ? [] : [`${name}: ${what}`];
  });
}

const TICKS_PER_SECOND = 100;

/** Seconds that all processors together have worked since the machine started, interrupts and softirq included. */
export function busySeconds(): number {
  const fields = readFileSync("/proc/stat", "utf8").split("\n")[0].split(/\s+/).slice(1).map(Number);
  const [user, nice, system, , , irq, softirq] = fields;
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}

/** Memory of these processes; what several share counts once (proportional set size). */
export function memoryBytes(pids: readonly number[]): number {
  let kibibytes = 0;
  for (const pid of pids) {
    const pss = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"));
    kibibytes += Number(pss?.[1] ?? 0);
  }
  return kibibytes * 1024;
}
