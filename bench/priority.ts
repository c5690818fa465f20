/**
 * Priority over other work on a shared machine. Every process of the bench leads a session of its own, as programs in
 * containers do, so that the scheduler's automatic groups give engine, client and server equal shares; the priority of
 * such a group is what counts against others.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { setPriority } from "node:os";

const NICE = -15;

let isRaised = false;

/** From now on, what the bench starts goes before other work. */
export function raiseAll(): void {
  isRaised = true;
}

export function raise(pid: number): void {
  if (!isRaised) return;
  try {
    setPriority(pid, NICE);
    const group = `/proc/${pid}/autogroup`;
    if (existsSync(group)) writeFileSync(group, String(NICE));
  } catch {
    // It has ended already.
  }
}

/** A process and all its descendants, which the kernel lists. */
export function familyOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    return [pid, ...(children === "" ? [] : children.split(" ").flatMap((child) => familyOf(Number(child))))];
  } catch {
    return [pid];
  }
}
