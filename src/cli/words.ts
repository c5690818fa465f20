/** Words of iproute2's command lines: a keyword and its value, one after the other. */
import { ExitCode, TapirError } from "../control/errors.ts";

export class Words {
  private readonly words: readonly string[];
  private at = 0;

  constructor(words: readonly string[]) {
    this.words = words;
  }

  get isEmpty(): boolean {
    return this.at >= this.words.length;
  }

  peek(): string | undefined {
    return this.words[this.at];
  }

  /** The next word; `after` is the one that it belongs to. */
  next(after?: string): string {
    const word = this.words[this.at++];
    if (word !== undefined) return word;
    throw wrong(after === undefined ? "command line is not complete" : `"${after}" needs a value`);
  }

  /** The next word as a number. */
  number(after: string): number {
    const word = this.next(after);
    const value = /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(word) ? Number(word) : Number.NaN;
    if (value <= 0xffffffff) return value;
    throw wrong(`argument "${word}" is wrong: "${after}" value is invalid`);
  }
}

export function wrong(message: string): TapirError {
  return new TapirError(`Error: ${message}.`, ExitCode.USAGE);
}

/** What iproute2 knows and Tapir does not. */
export function unsupported(word: string): TapirError {
  return wrong(`"${word}" is not supported`);
}
