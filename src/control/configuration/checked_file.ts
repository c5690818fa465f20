/**
 * YAML files whose content is checked: everything that is wrong is an error with its line and column. Reading one never
 * throws.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { LARGEST_TEXT_BYTES, parseText } from "./document.ts";
import { type ConfigurationError, formatPath, type Path, type Side } from "./errors.ts";

/** What a check has found wrong, and where. */
export interface Finding {
  path: Path;
  message: string;
  side: Side;
  /** Of a value of several lines: which of them, from 1. */
  line?: number | undefined;
}

/** The content, or at least one error, in the order of the file. */
export type Checked<T> = { value: T; errors?: undefined } | { errors: ConfigurationError[]; value?: undefined };

/** Where a path of the content stands in the file. */
export type Locate = (path: Path, side: Side) => { line: number; column: number };

/** Reads a text; `file` is its name in errors. `check` finds nothing wrong with what is a `T`. */
export function parseChecked<T>(
  text: string,
  file: string,
  check: (value: unknown) => Finding[],
): Checked<T> & { locate: Locate } {
  const parsed = parseText(text);
  const locate: Locate = (path, side) => parsed.positionOf(parsed.offsetOf(path, side));
  const found = parsed.errors.map(({ offset, path, message }) => ({ offset, path, message }));
  if (parsed.value !== undefined) {
    found.push(
      ...check(parsed.value).map(({ path, message, side, line }) => {
        return { offset: parsed.offsetOf(path, side, line), path, message };
      }),
    );
  }
  if (found.length === 0) return { value: parsed.value as T, locate };
  found.sort((left, right) => left.offset - right.offset);
  const errors = found.map(({ offset, path, message }): ConfigurationError => {
    return { file, ...parsed.positionOf(offset), path: formatPath(path), message };
  });
  return { errors, locate };
}

/** Reads a file. One that cannot be read is an error without a position. */
export function loadChecked<T>(file: string, check: (value: unknown) => Finding[]): Checked<T> & { locate: Locate } {
  const unreadable = (message: string) => ({
    errors: [{ file, path: "", message }],
    locate: () => ({ line: 1, column: 1 }),
  });
  let bytes: Buffer;
  try {
    bytes = readBounded(file);
  } catch (error) {
    return unreadable(readFailure(error as NodeJS.ErrnoException));
  }
  if (bytes.length > LARGEST_TEXT_BYTES) return unreadable(`the file is larger than ${LARGEST_TEXT_BYTES} bytes`);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return unreadable("the file is not UTF-8 text");
  }
  return parseChecked(text, file, check);
}

/** The file's bytes, or some more than are allowed: a file may be a pipe or a device, whose size nobody knows. */
function readBounded(file: string): Buffer {
  const descriptor = openSync(file, "r");
  try {
    const bytes = Buffer.alloc(LARGEST_TEXT_BYTES + 1);
    let length = 0;
    while (length < bytes.length) {
      const count = readSync(descriptor, bytes, length, bytes.length - length, null);
      if (count === 0) break;
      length += count;
    }
    return bytes.subarray(0, length);
  } finally {
    closeSync(descriptor);
  }
}

function readFailure(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "ENOENT":
      return "no such file";
    case "EACCES":
    case "EPERM":
      return "no permission to read the file";
    case "EISDIR":
      return "is a directory, not a file";
    default:
      return `cannot be read: ${error.message}`;
  }
}
