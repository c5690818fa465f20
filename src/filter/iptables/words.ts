/** Lines of words as iptables-save writes them: quotes around what is not plain, a backslash before quotes. */

const PLAIN = /^[-_0-9A-Za-z]+$/;

/** A word as it stands in the output of `-S`. */
export function quoteWord(text: string): string {
  return PLAIN.test(text) ? text : `"${text.replace(/["\\']/g, "\\$&")}"`;
}

/** Names of the configuration may come as a list: with commas. */
export function namesWord(names: readonly string[]): string {
  const text = names.join(",");
  return /[\s"'\\]/.test(text) ? quoteWord(text) : text;
}

/** The words of a line; undefined where a quote does not end. */
export function splitWords(line: string): string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let at = 0; at < line.length; at++) {
    const letter = line[at];
    if (letter === "\\" && quote !== "'" && at + 1 < line.length) {
      word = (word ?? "") + line[++at];
    } else if (quote !== "") {
      if (letter === quote) quote = "";
      else word = (word ?? "") + letter;
    } else if (letter === '"' || letter === "'") {
      quote = letter;
      word ??= "";
    } else if (letter === " " || letter === "\t") {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? "") + letter;
    }
  }
  if (quote !== "") return undefined;
  if (word !== undefined) words.push(word);
  return words;
}
