/**
 * Where the log's lines go. A disk that is full, or a reader that has gone, costs lines, never the router: what could not be
 * written is counted, and said with the next line that can be.
 */
import { writeSync } from "node:fs";

const STANDARD_ERROR = 2;

export class LogSink {
  private lost = 0;
  private readonly describeLost: (lines: number) => string;
  private readonly put: (bytes: Uint8Array) => number;

  /** `describeLost`: a line that says how many are lost. `put`: writes bytes, returns how many; throws when it cannot. */
  constructor(
    describeLost: (lines: number) => string,
    put: (bytes: Uint8Array) => number = (bytes) => writeSync(STANDARD_ERROR, bytes),
  ) {
    this.describeLost = describeLost;
    this.put = put;
  }

  /** Writes a line, its end included. */
  write(line: string): void {
    try {
      if (this.lost > 0) this.putAll(this.describeLost(this.lost));
      this.lost = 0;
      this.putAll(line);
    } catch {
      this.lost++;
    }
  }

  private putAll(text: string): void {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; ) at += this.put(bytes.subarray(at));
  }
}
