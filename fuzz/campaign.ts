/**
 * A campaign: cases of one target, one after the other, until a number or a time is reached or one fails. Cases that
 * reach something new (a name that no case before them reached) are kept, and new ones are made from them.
 */
import { Dice } from "./dice.ts";
import { minimise } from "./minimise.ts";
import type { Target } from "./target.ts";

/** Cases that are kept; one more takes the place of an old one. */
const MOST_KEPT = 400;
/** Processor time of one case that is taken for an attack by itself. */
const SLOW_MS = 5_000;

export interface CampaignOptions {
  seed: number;
  mostCases: number;
  mostMilliseconds: number;
  /** Told before each case. */
  begins?: (number: number, input: unknown) => void;
}

export interface Failure {
  input: unknown;
  message: string;
  /** Number of the case in its campaign. */
  number: number;
}

export interface Outcome {
  cases: number;
  /** Names that were reached. */
  reached: ReadonlySet<string>;
  kept: number;
  failure?: Failure;
}

export async function campaign(target: Target, options: CampaignOptions): Promise<Outcome> {
  const dice = new Dice(options.seed);
  const reached = new Set<string>();
  const corpus: unknown[] = [];
  const end = performance.now() + options.mostMilliseconds;
  let cases = 0;
  for (; cases < options.mostCases && performance.now() < end; cases++) {
    const input = target.generate(dice, corpus);
    options.begins?.(cases, input);
    const tried = await attempt(target, input);
    if (tried.message !== undefined) {
      const failure = { ...(await minimise(target, input, tried.message)), number: cases };
      return { cases: cases + 1, reached, kept: corpus.length, failure };
    }
    const before = reached.size;
    for (const name of tried.reached) reached.add(name);
    if (reached.size > before) keep(corpus, input, dice);
  }
  return { cases, reached, kept: corpus.length };
}

function keep(corpus: unknown[], input: unknown, dice: Dice): void {
  if (corpus.length < MOST_KEPT) corpus.push(input);
  else corpus[dice.below(MOST_KEPT)] = input;
}

export type Attempt = { reached: Iterable<string>; message?: undefined } | { message: string };

/** Runs a case; `message` says what is wrong. */
export async function attempt(target: Target, input: unknown): Promise<Attempt> {
  const before = process.cpuUsage();
  try {
    const reached = await target.run(input);
    const { user, system } = process.cpuUsage(before);
    const milliseconds = (user + system) / 1000;
    if (milliseconds > SLOW_MS) return { message: `took ${Math.round(milliseconds)} ms of processor time` };
    return { reached };
  } catch (error) {
    return { message: describe(error) };
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const place = error.stack?.split("\n").find((line) => /\/(src|fuzz)\//.test(line));
  return `${error.name}: ${error.message}${place === undefined ? "" : `\n${place}`}`;
}
