/**
 * Cuts an expression into tokens as pcap-filter(7) does: the longest that fits, so `80-90` and `tcp-syn` are one word
 * each, and a subtraction needs blanks.
 */
import { isIPv6 } from "node:net";
import { ExpressionError, LONGEST_EXPRESSION } from "./syntax.ts";

export type TokenKind = "word" | "number" | "address" | "address6" | "mac" | "operator" | "end";

export interface Token {
  kind: TokenKind;
  text: string;
  /** Of the first character, from 0. */
  position: number;
  /** Of a number. */
  value: number;
}

const BLANK = /\s+/y;
const MAC = /[0-9a-f]{1,2}(?:([:-])[0-9a-f]{1,2})(?:\1[0-9a-f]{1,2}){4}(?![-:.\w])/iy;
const COLONS = /[0-9a-f]*:[0-9a-f:.]*/iy;
/** A word in which `-`, `_` and `.` may stand, but not at its end; a backslash says that it is no keyword. */
const WORD = /\\?[0-9a-z](?:[-_.0-9a-z]*[.0-9a-z])?/iy;
const OPERATOR = /&&|\|\||<<|>>|<=|>=|!=|==|[()[\]!<>=+\-*/%&|^:]/y;
const NUMBER = /^(?:0x[0-9a-f]+|[0-9]+)$/i;
const ADDRESS = /^\d+(?:\.\d+){1,3}$/;

/** The words that are written as operators, too. */
const SYNONYMS: ReadonlyMap<string, string> = new Map([
  ["&&", "and"],
  ["||", "or"],
  ["!", "not"],
  ["==", "="],
]);

export function tokenize(text: string): Token[] {
  if (text.length > LONGEST_EXPRESSION) {
    throw new ExpressionError(`longer than ${LONGEST_EXPRESSION} characters`, text, LONGEST_EXPRESSION);
  }
  const tokens: Token[] = [];
  let at = skipBlank(text, 0);
  while (at < text.length) {
    const token = nextToken(text, at);
    tokens.push(token);
    at = skipBlank(text, at + token.text.length);
    token.text = SYNONYMS.get(token.text) ?? token.text;
  }
  tokens.push({ kind: "end", text: "", position: text.length, value: 0 });
  return tokens;
}

function skipBlank(text: string, at: number): number {
  return at + (matchAt(BLANK, text, at)?.length ?? 0);
}

function matchAt(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0];
}

function nextToken(text: string, position: number): Token {
  const mac = matchAt(MAC, text, position);
  if (mac !== undefined) return { kind: "mac", text: mac, position, value: 0 };
  const colons = matchAt(COLONS, text, position);
  if (colons !== undefined && isIPv6(colons)) return { kind: "address6", text: colons, position, value: 0 };
  const word = matchAt(WORD, text, position);
  if (word !== undefined) return wordToken(text, word, position);
  const operator = matchAt(OPERATOR, text, position);
  if (operator !== undefined) return { kind: "operator", text: operator, position, value: 0 };
  throw new ExpressionError(`'${text[position]}' has no meaning here`, text, position);
}

function wordToken(text: string, word: string, position: number): Token {
  if (NUMBER.test(word)) return { kind: "number", text: word, position, value: readNumber(text, word, position) };
  return { kind: ADDRESS.test(word) ? "address" : "word", text: word, position, value: 0 };
}

/** Decimal, hexadecimal after `0x`, octal after `0`: as a signed 32-bit word. */
function readNumber(text: string, word: string, position: number): number {
  const isOctal = /^0[0-9]/.test(word);
  if (isOctal && /[89]/.test(word)) throw new ExpressionError(`'${word}' is no octal number`, text, position);
  const value = isOctal ? Number.parseInt(word, 8) : Number(word);
  if (value > 0xffffffff) throw new ExpressionError(`'${word}' does not fit 32 bits`, text, position);
  return value | 0;
}
