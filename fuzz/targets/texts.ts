/** Targets whose input is a text: what they have in common. */
import type { Dice } from "../dice.ts";
import { mutateText, shrinkText } from "../mutate_text.ts";
import type { Target } from "../target.ts";

export interface TextTarget {
  name: string;
  about: string;
  /** Valid texts to begin with. */
  seeds: readonly string[];
  /** Words that are put in besides those of the seeds. */
  words?: readonly string[];
  run(text: string): Iterable<string>;
}

/** Longest line of the corpus: others are of no use as seeds. */
const LONGEST_SEED = 4_000;

export function textTarget({ name, about, seeds, words = [], run }: TextTarget): Target<string> {
  return {
    name,
    about,
    generate(dice: Dice, corpus: readonly string[]): string {
      const kept = corpus.filter((text) => text.length < LONGEST_SEED);
      // Half of the time from what was reached before.
      const from = kept.length > 0 && dice.once(2) ? [dice.pick(kept)] : [dice.pick(seeds)];
      return mutateText(dice, [...from, ...seeds.slice(0, 2), ...words], 5);
    },
    run,
    shrink: shrinkText,
  };
}

/** A message without what differs from case to case. */
export function kindOf(message: string): string {
  return message
    .replace(/["'`][^"'`]*["'`]/g, "…")
    .replace(/[\d.]+/g, "#")
    .slice(0, 80);
}
