/** What is wrong with a configuration, and where. */

/** Keys and list indexes from the top of the file: `["filter", "forward", "rules", 0, "in"]`. */
export type Path = readonly (string | number)[];

export interface ConfigurationError {
  file: string;
  /** From 1; absent where the error is about the file as a whole (it cannot be read) or about no file at all. */
  line?: number;
  column?: number;
  /** As in `filter.forward.rules[0].in`; empty for the file as a whole. */
  path: string;
  /** One line. */
  message: string;
}

/** Which end of a `key: value` pair an error points at. */
export type Side = "key" | "value";

/**
 * Takes an error down. `side` is the value where it is left out; `line` is the one of a value of several lines that the
 * error is in, from 1.
 */
export type Report = (path: Path, message: string, side?: Side, line?: number) => void;

/** `FILE:LINE:COLUMN: PATH: MESSAGE`, without the parts that are not known. One line. */
export function formatError(error: ConfigurationError): string {
  const position = error.line === undefined ? [error.file] : [error.file, error.line, error.column];
  return [position.join(":"), ...(error.path === "" ? [] : [error.path]), error.message].join(": ");
}

const PLAIN_KEY = /^[\w.-]+$/;

/** `filter.forward.rules[0].in`; keys that are no plain words are quoted. */
export function formatPath(path: Path): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else text += `${text === "" ? "" : "."}${PLAIN_KEY.test(step) ? step : quote(step)}`;
  }
  return text;
}

const LONGEST_QUOTE = 60;

/** A value of the file as a message shows it: on one line and not too long. */
export function quote(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map";
  if (typeof value !== "string") return String(value);
  return JSON.stringify(value.length > LONGEST_QUOTE ? `${value.slice(0, LONGEST_QUOTE)}...` : value);
}
