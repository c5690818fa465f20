/** Random words that can be put back: a rehearsal draws the very words that the next packet will draw. */
import type { Journal } from "../packet/journal.ts";

export class RandomSource {
  private readonly source: () => number;
  /** Words that were drawn in a rehearsal, to be drawn again: the next one is the last. */
  private waiting: number[] = [];
  private drawn: number[] | undefined = undefined;

  /** `source` gives uniformly distributed 32-bit words. */
  constructor(source: () => number) {
    this.source = source;
  }

  next(): number {
    const word = this.waiting.pop() ?? this.source();
    if (this.drawn !== undefined) this.drawn.push(word);
    return word;
  }

  /** Puts back what is drawn from now on when the journal is undone. */
  rehearse(journal: Journal): void {
    const drawn: number[] = [];
    this.drawn = drawn;
    journal.later(() => {
      this.drawn = undefined;
      this.waiting.push(...drawn.reverse());
    });
  }
}
