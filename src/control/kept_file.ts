/**
 * JSON that has to survive the router, in a file of its own: written whole beside its place and brought to the disk, then
 * renamed, so that it is always one state or the next. Synchronous: what is promised to somebody is on the disk before.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { SystemError } from "./errors.ts";

/** What stands in the file; `absent` where there is no file, undefined for what is no JSON. @throws Error of the system. */
export function readKept(file: string, absent: unknown): unknown {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as SystemError).code === "ENOENT") return absent;
    throw error;
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** For the eyes of the router's user alone. @throws Error of the system; the file is then as it was. */
export function writeKept(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const next = `${file}.new`;
  const fd = openSync(next, "w", 0o600);
  try {
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(next, file);
}
