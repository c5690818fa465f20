/**
 * The tutorial's page as a script: its fenced `console` blocks hold commands behind a `#` prompt, each followed by what
 * it printed. A block ```` ```console second terminal ```` runs in a terminal of its own while the next block of the
 * first terminal runs; a line `^C` in its output is where the reader ends it.
 */

export interface Step {
  /** What is typed, with the lines of its here-document or its continuation. */
  command: string;
  /** What the page shows, without the last end of line. */
  output: string;
  /** First line of the output in the page, counted from 0; where it would be when there is none. */
  at: number;
  /** Lines that the output takes in the page. */
  lines: number;
}

export interface Block {
  /** 1 for the first terminal, 2 for `second terminal`, and so on up to `fourth terminal`. */
  terminal: number;
  steps: Step[];
}

export interface Section {
  title: string;
  blocks: Block[];
}

const TERMINALS: Record<string, number> = { "": 1, "second terminal": 2, "third terminal": 3, "fourth terminal": 4 };
const PROMPT = "# ";

/** The sections that hold commands, in their order. */
export function parsePage(text: string): Section[] {
  const lines = text.split("\n");
  const sections: Section[] = [];
  for (let at = 0; at < lines.length; at++) {
    const heading = /^##? (.*)$/.exec(lines[at]);
    if (heading !== null) sections.push({ title: heading[1], blocks: [] });
    const fence = /^```(\S*) ?(.*)$/.exec(lines[at]);
    if (fence === null) continue;
    const end = lines.indexOf("```", at + 1);
    if (end < 0) throw new Error(`line ${at + 1}: the block has no end`);
    if (fence[1] === "console") {
      const terminal = TERMINALS[fence[2]];
      if (terminal === undefined) throw new Error(`line ${at + 1}: no such terminal: ${fence[2]}`);
      sections.at(-1)?.blocks.push({ terminal, steps: parseBlock(lines, at + 1, end) });
    }
    at = end;
  }
  return sections.filter(({ blocks }) => blocks.length > 0);
}

function parseBlock(lines: readonly string[], from: number, to: number): Step[] {
  const steps: Step[] = [];
  for (let at = from; at < to; ) {
    if (!lines[at].startsWith(PROMPT)) throw new Error(`line ${at + 1}: output without a command`);
    const length = commandLength(lines, at);
    const command = [lines[at].slice(PROMPT.length), ...lines.slice(at + 1, at + length)].join("\n");
    const start = at + length;
    let end = start;
    while (end < to && !lines[end].startsWith(PROMPT)) end++;
    steps.push({ command, output: lines.slice(start, end).join("\n"), at: start, lines: end - start });
    at = end;
  }
  return steps;
}

/** Lines that a command takes: up to the end of its here-document, or over lines that end with a backslash. */
function commandLength(lines: readonly string[], at: number): number {
  const word = /<<'?(\w+)'?/.exec(lines[at])?.[1];
  if (word !== undefined) {
    const end = lines.indexOf(word, at + 1);
    if (end < 0) throw new Error(`line ${at + 1}: the here-document has no end`);
    return end - at + 1;
  }
  let length = 1;
  while (lines[at + length - 1].endsWith("\\")) length++;
  return length;
}

/** The page with other outputs; `outputs` are by step. */
export function withOutputs(text: string, outputs: ReadonlyMap<Step, string>): string {
  const lines = text.split("\n");
  for (const [step, output] of [...outputs].sort(([left], [right]) => right.at - left.at)) {
    lines.splice(step.at, step.lines, ...(output === "" ? [] : output.split("\n")));
  }
  return lines.join("\n");
}
