/** Writes a program: instructions in order, and labels for where comparisons go on, which may be placed later. */
import { Code, INSTRUCTION_WORDS, type Program } from "./program.ts";

export type Label = number;

export class Assembler {
  private readonly words: number[] = [];
  /** Where each label is, in words; -1 until it is placed. */
  private readonly places: number[] = [];

  label(): Label {
    return this.places.push(-1) - 1;
  }

  /** The label is the next instruction. */
  place(label: Label): void {
    this.places[label] = this.words.length;
  }

  emit(code: number, constant = 0): void {
    this.words.push(code, constant, 0, 0);
  }

  /** A comparison of A with the constant, or with X. */
  compare(code: number, constant: number, onTrue: Label, onFalse: Label): void {
    this.words.push(code, constant, onTrue, onFalse);
  }

  /** The program; all labels have been placed. */
  assemble(): Program {
    const program = Int32Array.from(this.words);
    for (let at = 0; at < program.length; at += INSTRUCTION_WORDS) {
      if ((program[at] & 7) !== (Code.EQUAL & 7)) continue;
      program[at + 2] = this.places[program[at + 2]];
      program[at + 3] = this.places[program[at + 3]];
    }
    return program;
  }
}
