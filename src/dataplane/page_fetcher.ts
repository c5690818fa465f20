/**
 * Memory that the kernel provides when it is first used, fetched before it is: a new flow is not to wait for a page to
 * be found and cleared, which takes 0.1 ms and more for a huge one. Only turns that have brought no frame are spent on it.
 */

const WORDS_PER_PAGE = 4096 / 4;
/** In one turn: a huge page, or as many small ones. */
const PAGES_AT_ONCE = 512;
/** Of larger tables the rest comes with their flows: nobody shall pay for what he will perhaps never use. */
const MOST_BYTES = 64 << 20;

export class PageFetcher {
  private readonly words: Int32Array;
  private readonly end: number;
  private next = 0;
  /** What was read: the reading must not be left out. */
  private sum = 0;

  constructor(memory: ArrayBuffer) {
    this.words = new Int32Array(memory);
    this.end = Math.min(this.words.length, MOST_BYTES / 4);
  }

  /** Fetches the next pages; nothing once all are there. */
  run(): void {
    const end = Math.min(this.end, this.next + PAGES_AT_ONCE * WORDS_PER_PAGE);
    for (; this.next < end; this.next += WORDS_PER_PAGE) this.sum ^= this.words[this.next];
  }
}
