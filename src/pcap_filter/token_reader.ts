/** The tokens of an expression, read one after the other by the parsers; every complaint names where. */
import { type Token, tokenize } from "./lexer.ts";
import { DEEPEST_EXPRESSION, ExpressionError } from "./syntax.ts";

export class TokenReader {
  readonly text: string;
  private readonly tokens: readonly Token[];
  private next = 0;
  private depth = 0;

  constructor(text: string) {
    this.text = text;
    this.tokens = tokenize(text);
  }

  /** The token that comes next, or one further on. */
  peek(ahead = 0): Token {
    return this.tokens[Math.min(this.next + ahead, this.tokens.length - 1)];
  }

  take(): Token {
    const token = this.peek();
    if (token.kind !== "end") this.next++;
    return token;
  }

  /** Whether the next token is one of these words or operators. */
  is(...texts: readonly string[]): boolean {
    const token = this.peek();
    return (token.kind === "word" || token.kind === "operator") && texts.includes(token.text);
  }

  /** Takes the next token if it is this one. */
  accept(text: string): boolean {
    const isThere = this.is(text);
    if (isThere) this.next++;
    return isThere;
  }

  expect(text: string, forWhat: string): void {
    if (!this.accept(text)) throw this.unexpected(`'${text}' ${forWhat}`);
  }

  /** What is behind the `)` that closes the `(` which comes next; the end where none does. */
  peekBehindParenthesis(): Token {
    let depth = 0;
    for (let ahead = 0; ; ahead++) {
      const token = this.peek(ahead);
      if (token.kind === "end") return token;
      if (token.text === "(") depth++;
      if (token.text === ")" && --depth === 0) return this.peek(ahead + 1);
    }
  }

  /** Runs a parser one level deeper. */
  nested<T>(body: () => T): T {
    if (++this.depth > DEEPEST_EXPRESSION) throw this.error(`nested more than ${DEEPEST_EXPRESSION} deep`);
    const result = body();
    this.depth--;
    return result;
  }

  error(reason: string, token: Token = this.peek()): ExpressionError {
    return new ExpressionError(reason, this.text, token.position);
  }

  unexpected(wanted: string, token: Token = this.peek()): ExpressionError {
    const found = token.kind === "end" ? "the expression ends" : `'${token.text}' stands`;
    return this.error(`${found} where ${wanted} is expected`, token);
  }
}
