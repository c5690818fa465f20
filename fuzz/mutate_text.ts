/** Changes a text word by word: left out, doubled, swapped, taken from others, numbers at their ends, odd characters. */
import type { Dice } from "./dice.ts";

const NUMBERS = ["0", "-1", "1", "255", "256", "65535", "65536", "4294967295", "4294967296", "1e308", "007", "0x10"];
const ODD = [
  "",
  "''",
  '"',
  "\0",
  "\u202e",
  "é",
  "💥",
  "!",
  "-",
  "--",
  "+",
  "/",
  "%",
  "\\",
  "\n",
  "\t",
  " ",
  "{",
  "[",
  "#",
];
const NAMES = ["__proto__", "constructor", "toString", "null", "true", "NaN", "lab", "wan", "c1", "FORWARD"];
const ADDRESSES = ["0.0.0.0/0", "255.255.255.255", "10.55.66.2", "10.55.66.0/33", "1.2.3", "::1", "224.0.0.1/4"];

/** Words, numbers, blanks, and each other character by itself. */
const split = (text: string): string[] => text.match(/[A-Za-z_]+|\d+|\s+|./gsu) ?? [];

function foreign(dice: Dice, seeds: readonly string[]): string {
  const words = split(dice.pick(seeds));
  return words.length === 0 ? "" : dice.pick(words);
}

function changed(dice: Dice, words: string[], seeds: readonly string[]): string[] {
  const at = dice.below(words.length + 1);
  switch (dice.below(9)) {
    case 0:
      return words.toSpliced(at, 1 + dice.below(3));
    case 1:
      return words.toSpliced(at, 0, ...words.slice(at, at + 1 + dice.below(8)));
    case 2:
      return words.toSpliced(at, 1, foreign(dice, seeds));
    case 3:
      return words.toSpliced(at, 0, foreign(dice, seeds));
    case 4:
      return words.toSpliced(at, 1, dice.pick(dice.pick([NUMBERS, ODD, NAMES, ADDRESSES])));
    case 5: {
      const other = split(dice.pick(seeds));
      return [...words.slice(0, at), ...other.slice(dice.below(other.length + 1))];
    }
    case 6:
      return words.toSpliced(at, 0, (words[at] ?? "(").repeat(dice.pick([2, 10, 300])));
    case 7: {
      const number = words.findIndex((word, index) => index >= at && /^\d+$/.test(word));
      return number < 0 ? words : words.with(number, dice.pick(NUMBERS));
    }
    default:
      return words.slice(0, at);
  }
}

/** Longest text that is made. */
const LONGEST = 20_000;

/** A changed copy of one of `seeds`. */
export function mutateText(dice: Dice, seeds: readonly string[], most = 4): string {
  let words = split(dice.pick(seeds));
  for (let count = dice.below(most + 1); count > 0; count--) words = changed(dice, words, seeds);
  return words.join("").slice(0, LONGEST);
}

export function* shrinkText(text: string): Generator<string> {
  const words = split(text);
  for (let piece = words.length >> 1; piece >= 1; piece >>= 1) {
    for (let at = 0; at < words.length; at += piece) yield words.toSpliced(at, piece).join("");
  }
}
