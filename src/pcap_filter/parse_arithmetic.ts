/**
 * Relations: `tcp[13] & 2 != 0`, `len > 100`. Precedence is that of libpcap's grammar, which gives `%` and `^` none: each
 * takes all that follows as its right side (`8 % 5 + 1` is 2).
 */
import { CONSTANTS } from "./names.ts";
import {
  type Arithmetic,
  type BinaryOperator,
  type Expression,
  LOAD_PROTOCOLS,
  type LoadProtocol,
  type Relation,
} from "./syntax.ts";
import type { TokenReader } from "./token_reader.ts";

const RELATIONS: readonly string[] = ["=", "!=", ">", ">=", "<", "<="] satisfies Relation[];
const PRECEDENCE: Readonly<Record<string, number>> = {
  "|": 1,
  "&": 2,
  "<<": 3,
  ">>": 3,
  "+": 4,
  "-": 4,
  "*": 5,
  "/": 5,
};
const GREEDY: readonly string[] = ["%", "^"];
const OPERATORS: readonly string[] = [...Object.keys(PRECEDENCE), ...GREEDY, ...RELATIONS];

/** Whether what comes next is a relation and not another primitive. */
export function isRelation(reader: TokenReader): boolean {
  const token = reader.peek();
  const second = reader.peek(1);
  if (token.kind === "number") return isOperator(second.kind, second.text);
  if (reader.is("(")) {
    const behind = reader.peekBehindParenthesis();
    return isOperator(behind.kind, behind.text);
  }
  if (token.kind === "operator") return token.text === "-";
  if (token.kind !== "word") return false;
  if (isLoadProtocol(token.text)) return second.text === "[";
  return token.text === "len" || Object.hasOwn(CONSTANTS, token.text);
}

function isOperator(kind: string, text: string): boolean {
  return kind === "operator" && OPERATORS.includes(text);
}

function isLoadProtocol(word: string): word is LoadProtocol {
  return (LOAD_PROTOCOLS as readonly string[]).includes(word);
}

export function parseRelation(reader: TokenReader): Expression {
  const left = parseArithmetic(reader, 0);
  if (!reader.is(...RELATIONS)) throw reader.unexpected("a comparison (=, !=, <, <=, >, >=)");
  const operator = reader.take().text as Relation;
  return { kind: "relation", operator, left, right: parseArithmetic(reader, 0) };
}

/** Operators that bind more tightly than `above`. */
function parseArithmetic(reader: TokenReader, above: number): Arithmetic {
  let left = parseOperand(reader);
  for (;;) {
    const token = reader.peek();
    const precedence = token.kind === "operator" ? (PRECEDENCE[token.text] ?? 0) : 0;
    if (precedence <= above) return left;
    reader.take();
    const right = reader.nested(() => parseArithmetic(reader, precedence));
    left = combine(reader, token.text as BinaryOperator, left, right);
  }
}

/** A factor with the `%` or `^` behind it, and so with all that follows. */
function parseOperand(reader: TokenReader): Arithmetic {
  if (reader.accept("-")) return { kind: "negate", operand: reader.nested(() => parseOperand(reader)) };
  const factor = parseFactor(reader);
  if (!reader.is(...GREEDY)) return factor;
  const operator = reader.take().text as BinaryOperator;
  return combine(
    reader,
    operator,
    factor,
    reader.nested(() => parseArithmetic(reader, 0)),
  );
}

function combine(reader: TokenReader, operator: BinaryOperator, left: Arithmetic, right: Arithmetic): Arithmetic {
  if (right.kind === "number") {
    const isDivision = operator === "/" || operator === "%";
    if (isDivision && right.value === 0) throw reader.error("division by zero");
    const isShift = operator === "<<" || operator === ">>";
    if (isShift && right.value >>> 0 > 31) throw reader.error("shift by more than 31 bits");
  }
  return { kind: "binary", operator, left, right };
}

function parseFactor(reader: TokenReader): Arithmetic {
  const token = reader.peek();
  if (reader.accept("(")) {
    const inner = reader.nested(() => parseArithmetic(reader, 0));
    reader.expect(")", "at the end of the parenthesis");
    return inner;
  }
  if (token.kind === "number") return { kind: "number", value: reader.take().value };
  if (token.kind === "word") {
    if (reader.accept("len")) return { kind: "length" };
    if (Object.hasOwn(CONSTANTS, token.text)) return { kind: "number", value: CONSTANTS[reader.take().text] };
    if (isLoadProtocol(token.text) && reader.peek(1).text === "[") return parseLoad(reader);
    if (/^\d+-/.test(token.text)) throw reader.error("a subtraction needs blanks around its '-'");
  }
  throw reader.unexpected("a number, a field like tcp[13], or len");
}

/** `protocol[index]` or `protocol[index:size]`. */
function parseLoad(reader: TokenReader): Arithmetic {
  const protocol = reader.take().text as LoadProtocol;
  reader.expect("[", "after the protocol");
  const index = reader.nested(() => parseArithmetic(reader, 0));
  let size: 1 | 2 | 4 = 1;
  if (reader.accept(":")) {
    const token = reader.take();
    if (token.kind !== "number" || (token.value !== 1 && token.value !== 2 && token.value !== 4)) {
      throw reader.error("the size of a field is 1, 2 or 4 bytes", token);
    }
    size = token.value;
  }
  reader.expect("]", "after the field's index");
  return { kind: "load", protocol, index, size };
}
