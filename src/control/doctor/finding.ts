/** What a check of `tapir doctor` comes to: one line, with the cure where something is wrong. */
import { ExitCode } from "../errors.ts";

export type Status = "ok" | "warning" | "problem";

export interface Finding {
  /** What was looked at. */
  check: string;
  /** `warning`: it works, but not as well as it could, or not for everybody. `problem`: something does not work. */
  status: Status;
  /** What was found. */
  finding: string;
  /** What to do about it, in one sentence; always there where the status is not `ok`. */
  cure?: string;
  /** A privilege or a feature of the kernel that Tapir cannot do without. */
  missing?: true;
}

export const ok = (check: string, finding: string): Finding => ({ check, status: "ok", finding });

export const warning = (check: string, finding: string, cure: string): Finding => ({
  check,
  status: "warning",
  finding,
  cure,
});

export const problem = (check: string, finding: string, cure: string): Finding => ({
  check,
  status: "problem",
  finding,
  cure,
});

export const missing = (check: string, finding: string, cure: string): Finding => ({
  check,
  status: "problem",
  finding,
  cure,
  missing: true,
});

/** 0 with nothing worse than warnings, 5 where a privilege or a feature is missing, else 1. */
export function exitCodeOf(findings: readonly Finding[]): ExitCode {
  if (findings.some((each) => each.missing === true)) return ExitCode.PRIVILEGE;
  return findings.some((each) => each.status === "problem") ? ExitCode.FAILED : ExitCode.DONE;
}

/** `1 file`, `2 files`. */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;
