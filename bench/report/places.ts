/** A report says nothing of the machine's names and folders. */
import { hostname } from "node:os";

/** Absolute paths of at least two parts, but not the ends of URLs or of fractions. */
const PATH = /(?<![\w.:/-])\/[\w.@+-]+(?:\/[\w.@+-]+)+\/?/g;

/** `text` with "(path)" for absolute paths and "(host)" for the machine's name. */
export function withoutPlaces(text: string, host = hostname()): string {
  const words = text.replace(PATH, "(path)");
  return host === "" ? words : words.replaceAll(host, "(host)");
}
