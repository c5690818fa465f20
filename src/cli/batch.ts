/** Lines of a batch, as iproute2 reads them: words between blanks, comments from # on, a backslash joins lines. */
import { createReadStream, openSync } from "node:fs";
import { createInterface } from "node:readline";
import { TapirError } from "../control/errors.ts";

export interface BatchLine {
  /** From 1. */
  line: number;
  words: string[];
}

/** `file` may be `-`: standard input. @throws TapirError when it cannot be read. */
export async function* readLines(file: string): AsyncGenerator<BatchLine> {
  let line = 0;
  let joined = "";
  for await (const text of createInterface({ input: open(file), crlfDelay: Number.POSITIVE_INFINITY })) {
    line++;
    if (text.endsWith("\\")) {
      joined += `${text.slice(0, -1)} `;
      continue;
    }
    const words = (joined + text)
      .replace(/#.*$/, "")
      .split(/\s+/)
      .filter((word) => word !== "");
    joined = "";
    if (words.length > 0) yield { line, words };
  }
}

function open(file: string): NodeJS.ReadableStream {
  if (file === "-") return process.stdin;
  try {
    return createReadStream("", { fd: openSync(file, "r") });
  } catch (error) {
    throw new TapirError(`Cannot open file "${file}" for reading: ${(error as Error).message}`);
  }
}
