/**
 * The configuration: one YAML file, `version: 1`, as `docs/configuration.md` describes it. Reading it never throws;
 * everything that is wrong is reported at once, with its line and column.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { buildPlan, type ResolvedPlan } from "./build.ts";
import { LARGEST_TEXT_BYTES, parseText } from "./document.ts";
import { type ConfigurationError, formatError, formatPath, type Path, type Report, type Side } from "./errors.ts";
import type { Configuration } from "./schema.ts";
import { hasShape } from "./validate.ts";

export type { ResolvedPlan } from "./build.ts";
export type { Endpoint, IpfixPlan, ServicesPlan } from "./build_services.ts";
export type { DevicePlan } from "./devices.ts";
export { type ConfigurationError, formatError } from "./errors.ts";
export type { Configuration, PortConfiguration } from "./schema.ts";

export type ConfigurationResult =
  | { configuration: Configuration; errors?: undefined }
  /** At least one, in the order of the file. */
  | { errors: ConfigurationError[]; configuration?: undefined };

/** Reads a configuration's text; `file` is its name in errors. */
export function parseConfiguration(text: string, file: string): ConfigurationResult {
  const parsed = parseText(text);
  const found = parsed.errors.map(({ offset, path, message }) => ({ offset, path, message }));
  if (parsed.value !== undefined) {
    found.push(
      ...check(parsed.value).map(({ path, message, side, line }) => {
        return { offset: parsed.offsetOf(path, side, line), path, message };
      }),
    );
  }
  if (found.length === 0) return { configuration: parsed.value as Configuration };
  found.sort((left, right) => left.offset - right.offset);
  const errors = found.map(({ offset, path, message }): ConfigurationError => {
    return { file, ...parsed.positionOf(offset), path: formatPath(path), message };
  });
  return { errors };
}

/** Reads a configuration file. One that cannot be read is an error without a position. */
export function loadConfiguration(file: string): ConfigurationResult {
  const unreadable = (message: string): ConfigurationResult => ({ errors: [{ file, path: "", message }] });
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
  return parseConfiguration(text, file);
}

/** Checks a configuration that comes as data, not as text: its errors have no position. */
export function checkConfiguration(value: unknown, file = "configuration"): ConfigurationResult {
  const errors = check(value).map(({ path, message }) => ({ file, path: formatPath(path), message }));
  return errors.length === 0 ? { configuration: value as Configuration } : { errors };
}

/**
 * The plan that a configuration stands for. Interfaces and ports that are in `previous` too keep their indexes; a port
 * counts as the same if its name, its network and its device's kind, namespace and name are the same.
 * @throws `TypeError` for a configuration that `checkConfiguration` would refuse.
 */
export function resolvePlan(configuration: Configuration, previous?: ResolvedPlan): ResolvedPlan {
  return buildPlan(configuration, previous, (path, message) => {
    throw new TypeError(formatError({ file: "configuration", path: formatPath(path), message }));
  });
}

interface Found {
  path: Path;
  message: string;
  side: Side;
  line: number | undefined;
}

function check(value: unknown): Found[] {
  const found: Found[] = [];
  const report: Report = (path, message, side = "value", line = undefined) => found.push({ path, message, side, line });
  if (hasShape(value, report)) buildPlan(value, undefined, report);
  return found;
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
