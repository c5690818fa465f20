/**
 * A target of the fuzzer: where hostile input comes in. It makes cases, runs them, and knows how to make a failing one
 * smaller. A case is plain data (JSON), so that it can be kept in a file and played again.
 */
import type { Dice } from "./dice.ts";

export interface Target<Case = unknown> {
  name: string;
  /** What is fed, in a few words. */
  about: string;
  /** A new case; `corpus` holds earlier ones that reached something new. */
  generate(dice: Dice, corpus: readonly Case[]): Case;
  /** Runs a case and returns what it reached, as names. Throws where something does not hold. */
  run(input: Case): Iterable<string> | Promise<Iterable<string>>;
  /** Smaller cases to try, the smallest first. */
  shrink(input: Case): Iterable<Case>;
  /** The case as it is to be kept for years; the same unless said. */
  pinned?(input: Case): Case;
  /** Gives back what `run` has opened. */
  close?(): Promise<void>;
}

/** What is thrown by a check of a target. */
export class Violation extends Error {}

export function insist(holds: boolean, what: () => string): asserts holds {
  if (!holds) throw new Violation(what());
}

/** Runs something that may refuse its input with errors of these kinds, and nothing else; undefined where it has. */
export function refusing<T>(kinds: readonly (abstract new (...args: never[]) => Error)[], run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (kinds.some((kind) => error instanceof kind)) return undefined;
    throw error;
  }
}
