/**
 * The terminal while `tapir top` has it: its other screen, without a cursor, keys as they are pressed. It is given back
 * however the program ends. A frame is written at once over the one before, so nothing flickers.
 */
import type { ReadStream, WriteStream } from "node:tty";

const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
/** Between these, a terminal that knows them draws nothing (synchronized output). */
const BEGIN = "\x1b[?2026h";
const END = "\x1b[?2026l";
const CLEAR_LINE = "\x1b[K";

export class Terminal {
  private readonly input: ReadStream;
  private readonly output: WriteStream;
  private isTaken = false;
  private readonly giveBack = (): void => this.leave();

  constructor(input: ReadStream, output: WriteStream) {
    this.input = input;
    this.output = output;
  }

  get room(): { columns: number; rows: number } {
    return { columns: this.output.columns || 80, rows: this.output.rows || 24 };
  }

  /** `pressed` gets each key, `resized` is called when the room has changed. */
  enter(pressed: (key: string) => void, resized: () => void): void {
    this.isTaken = true;
    process.once("exit", this.giveBack);
    if (this.input.isTTY) {
      this.input.setRawMode(true);
      this.input.setEncoding("utf8").on("data", (keys: string) => {
        for (const key of keys) pressed(key);
      });
    }
    this.output.on("resize", resized);
    this.output.write(ENTER);
  }

  /** A line for each row of the room. */
  draw(lines: readonly string[]): void {
    const { columns } = this.room;
    // Behind a line that fills its row, the cursor still stands on its last character.
    const placed = lines.map((line, index) => `\x1b[${index + 1};1H${line}${line.length < columns ? CLEAR_LINE : ""}`);
    this.output.write(`${BEGIN}${placed.join("")}${END}`);
  }

  leave(): void {
    if (!this.isTaken) return;
    this.isTaken = false;
    process.off("exit", this.giveBack);
    if (this.input.isTTY) {
      this.input.setRawMode(false);
      this.input.pause();
    }
    this.output.removeAllListeners("resize");
    this.output.write(LEAVE);
  }
}
