/** Expressions of pcap-filter(7), from text to a program that runs over frames. */
import { generate } from "./generate.ts";
import { parseExpression } from "./parser.ts";
import type { Program } from "./program.ts";
import { ExpressionError } from "./syntax.ts";

export { INSTRUCTION_WORDS, type Program, selects } from "./program.ts";
export { ExpressionError } from "./syntax.ts";

/** The program of an expression; an empty one selects every packet. Throws an `ExpressionError`. */
export function compileExpression(text: string): Program {
  const tree = parseExpression(text);
  try {
    return generate(tree);
  } catch (error) {
    if (error instanceof ExpressionError) throw new ExpressionError(error.reason, text, error.position);
    throw error;
  }
}
