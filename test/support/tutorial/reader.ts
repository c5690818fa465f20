/** Somebody who types the tutorial: each block in its terminal, in the order of the page. */
import type { Block, Section, Step } from "./page.ts";
import { createWorld, type Terminal } from "./terminal.ts";

/** The reader's Ctrl-C, on a line of its own. */
const CTRL_C_LINE = /^\^C$/m;

/** A capture that runs while the first terminal is used. */
interface Watching {
  step: Step;
  terminal: Terminal;
  before: string;
}

const lineCount = (text: string): number => (text === "" ? 0 : text.split("\n").length);
const join = (...texts: string[]): string => texts.filter((text) => text !== "").join("\n");

export class Reader {
  private readonly terminals: readonly Terminal[];
  private readonly settleMs: number;
  private watching: Watching[] = [];

  /**
   * All terminals live as long as the test that makes the reader, or the file where no test runs. `settleMs`: each
   * command gets so much silence before its output is taken for complete, whatever the page shows.
   */
  static async create(terminals: number, settleMs = 0): Promise<Reader> {
    const world = await createWorld();
    return new Reader(await Promise.all(Array.from({ length: terminals }, () => world.terminal())), settleMs);
  }

  private constructor(terminals: readonly Terminal[], settleMs: number) {
    this.terminals = terminals;
    this.settleMs = settleMs;
  }

  /** Types a section; returns what each step printed, in the order of the page. */
  async read(section: Section): Promise<Map<Step, string>> {
    const outputs = new Map<Step, string>();
    for (const block of section.blocks) {
      if (block.terminal === 1) {
        for (const step of block.steps) outputs.set(step, await this.type(step));
        for (const watching of this.watching.splice(0)) outputs.set(watching.step, await this.end(watching));
      } else {
        this.watching.push(await this.watch(block));
      }
    }
    return new Map(section.blocks.flatMap(({ steps }) => steps.map((step) => [step, outputs.get(step) ?? ""])));
  }

  /** What runs in the background may print its lines after the next prompt: as many as the page has are waited for. */
  private async type({ command, output }: Step): Promise<string> {
    const [terminal] = this.terminals;
    terminal.type(command);
    const wanted = lineCount(output);
    return terminal.take((lines, isAtPrompt) => isAtPrompt && lines >= wanted, this.settleMs);
  }

  /** Starts a capture; it runs once it has printed its first line. */
  private async watch({ terminal: number, steps }: Block): Promise<Watching> {
    const [step] = steps;
    if (steps.length !== 1 || !CTRL_C_LINE.test(step.output)) throw new Error(`${step.command}: one command, then ^C`);
    const terminal = this.terminals[number - 1];
    terminal.type(step.command);
    return { step, terminal, before: await terminal.take((lines) => lines >= 1) };
  }

  private async end({ step, terminal, before }: Watching): Promise<string> {
    const [shown, after] = step.output.split(/^\^C$/m);
    const wanted = lineCount(shown.trimEnd()) - lineCount(before);
    const during = await terminal.take((lines) => lines >= wanted, this.settleMs);
    terminal.interrupt();
    const closing = lineCount(after.trim());
    const rest = await terminal.take((lines, isAtPrompt) => isAtPrompt && lines >= closing, this.settleMs);
    // tcpdump leaves the line that the terminal shows ^C on.
    return join(before, during, "^C", rest.replace(/^\n/, ""));
  }
}
