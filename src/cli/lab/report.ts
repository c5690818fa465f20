/** What the lab prints: steps with commands, packets and verdicts, then a table. Colour only where a terminal reads. */
import { styleText } from "node:util";
import type { Place } from "./places.ts";
import type { SeenPacket } from "./seen.ts";

type Format = Parameters<typeof styleText>[0];

/** Packets of one place that are shown; a step sends a handful. */
const SHOWN_PACKETS = 12;

/** Columns that lines keep to where they can. */
const WIDTH = 100;

/** Cuts a text at blanks into pieces of at most `width` characters, where its words allow it. */
function fold(text: string, width: number): string[] {
  const pieces: string[] = [];
  while (text.length > width) {
    const cut = text.lastIndexOf(" ", width);
    // Blanks at the beginning are an indent, no place to cut.
    if (cut <= text.search(/\S/)) break;
    pieces.push(text.slice(0, cut));
    text = text.slice(cut + 1);
  }
  return [...pieces, text];
}

export interface Output {
  write(text: string): unknown;
  isTTY?: boolean;
}

interface StepResult {
  number: string;
  claim: string;
  failures: number;
}

export class Report {
  private readonly output: Output;
  private readonly isColoured: boolean;
  private readonly steps: StepResult[] = [];

  constructor(output: Output) {
    this.output = output;
    this.isColoured = output.isTTY === true && (process.env.NO_COLOR ?? "") === "";
  }

  /** How many steps have a claim that did not hold. */
  get failedSteps(): number {
    return this.steps.filter((step) => step.failures > 0).length;
  }

  line(text = ""): void {
    this.output.write(`${text}\n`);
  }

  /** Begins a step; `claim` is what the table at the end says about it. */
  step(number: string, claim: string): void {
    this.steps.push({ number, claim, failures: 0 });
    this.line();
    this.line(this.paint("bold", `${number === "" ? "" : `Step ${number}: `}${claim}`));
  }

  /** What the step does, in words. */
  note(text: string): void {
    this.line();
    this.line(`  ${text}`);
  }

  /** A command and what it printed. */
  command(netns: string | undefined, command: string, printed: string): void {
    this.line();
    this.line(`  ${this.paint("cyan", `${netns === undefined ? "" : `${netns} `}# ${command}`)}`);
    this.block(printed.split("\n").filter((line) => line.trim() !== ""));
  }

  /** Lines as they are, the longest folded between words. */
  block(lines: readonly string[]): void {
    for (const line of lines) {
      const [first, ...rest] = fold(line.trimEnd(), WIDTH - 8);
      this.line(`    ${first}`);
      for (const more of rest) this.line(`        ${more}`);
    }
  }

  /** The packets seen at a place, each on two lines as tcpdump -v prints them. */
  seen(place: Place, packets: readonly SeenPacket[], most = SHOWN_PACKETS): void {
    this.line(`  ${this.paint("dim", `seen ${place.label}:`)}`);
    if (packets.length === 0) this.line("    nothing");
    for (const { line } of packets.slice(0, most)) {
      const [header, ...rest] = line.split(/(?<=^IP \(.*\)) (?=\d)/);
      this.line(`    ${header}`);
      for (const more of rest.flatMap((text) => fold(text, WIDTH - 8))) this.line(`        ${more}`);
    }
    if (packets.length > most) this.line(`    and ${packets.length - most} more`);
  }

  /** Whether what the step claims is what was seen; `reason` is printed where it is not. */
  verdict(claim: string, holds: boolean, reason: string): void {
    this.line(`  ${holds ? this.paint("green", "OK    ") : this.paint("red", "FAILED")}  ${claim}`);
    if (holds) return;
    for (const piece of fold(reason, WIDTH - 10)) this.line(`          ${piece}`);
    const step = this.steps.at(-1);
    if (step !== undefined) step.failures++;
  }

  table(): void {
    const width = Math.max(...this.steps.map((step) => step.claim.length));
    this.line();
    this.line(this.paint("bold", `Step  ${"Claim".padEnd(width)}  Verdict`));
    for (const { number, claim, failures } of this.steps) {
      const verdict = failures === 0 ? this.paint("green", "OK") : this.paint("red", "FAILED");
      this.line(`${number.padEnd(4)}  ${claim.padEnd(width)}  ${verdict}`);
    }
  }

  private paint(format: Format, text: string): string {
    return this.isColoured ? styleText(format, text) : text;
  }
}
