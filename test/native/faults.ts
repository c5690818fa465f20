/** Failing system calls: what the build of the addon with `-Dfaults=true` exports besides (native/src/faults.h). */
import { readdirSync } from "node:fs";
import { constants } from "node:os";
import { native } from "../../src/io/native.ts";

export interface Faults {
  /** Names of the calls that can be made to fail. */
  faultCalls(): string[];
  /**
   * Lets `skip` calls of this name through, and then `times` of them fail. `errno` 0: calls that take many things take one
   * only. No other call fails.
   */
  setFault(call: string, errno: number, skip: number, times: number): void;
  /** How often a call has failed since `setFault`. */
  faultHits(): number;
}

/** Undefined in a usual build. */
export function faults(): Faults | undefined {
  const addon = native() as Partial<Faults>;
  return addon.setFault === undefined ? undefined : (addon as Faults);
}

const NAMES = ["EINTR", "EAGAIN", "ENOMEM", "ENOBUFS", "EIO", "ENETDOWN", "EMFILE"] as const;

/** What each call is made to say. */
export const ERRORS = NAMES.map((name) => ({ name, errno: constants.errno[name] }));

/** Runs `body` with one fault armed; returns how often it was met. */
export function withFault(call: string, errno: number, skip: number, times: number, body: () => void): number {
  const { setFault, faultHits } = faults() as Faults;
  setFault(call, errno, skip, times);
  try {
    body();
    return faultHits();
  } finally {
    setFault(call, 0, 0, 0);
  }
}

/** Runs `body` again and again, and lets the first of its calls fail, then the second, until all have failed once. */
export function failEachOnce(call: string, errno: number, body: (which: number) => void): number {
  let which = 0;
  while (withFault(call, errno, which, 1, () => body(which)) > 0) which++;
  return which;
}

/** Numbers of this process's descriptors, the one that reads them left out. */
export function openDescriptors(): string[] {
  const listed = readdirSync("/proc/self/fd");
  return listed.filter((fd) => fd !== String(Math.max(...listed.map(Number))));
}
