/**
 * Blocks of memory inside an Int32Array, in units of two words (8 bytes).
 *
 * Best fit over one list of free blocks per size. A freed block joins its free neighbours at once (up to
 * `LARGEST_BLOCK_UNITS`), and goes back to the untouched rest of the region when it borders on it, so that a table
 * under churn does not creep. Live blocks carry no header: their owner knows their size. The two words of a free
 * block's first unit name the next and the previous block of its list; `freeUnits` holds its size at its first and
 * its last unit, and 0 elsewhere.
 */
export const UNIT_WORDS = 2;
export const LARGEST_BLOCK_UNITS = 255;

export class BlockHeap {
  /** First unit behind all blocks: from here on nothing is in use. */
  top: number;
  /** The highest `top` so far: what the system had to provide memory for. */
  highWater: number;
  readonly end: number;
  private readonly start: number;
  private readonly words: Int32Array;
  private readonly freeUnits: Uint8Array;
  /** First free block of each size; 0: none (unit 0 belongs to somebody else). */
  private readonly firstFree = new Int32Array(LARGEST_BLOCK_UNITS + 1);
  /** A bit for each size of which there is a free block. */
  private readonly sizes = new Int32Array((LARGEST_BLOCK_UNITS + 1) / 32);

  /** Manages units `start` (> 0) to the end of `words`. */
  constructor(words: Int32Array, start: number) {
    this.words = words;
    this.start = start;
    this.top = start;
    this.highWater = start;
    this.end = Math.floor(words.length / UNIT_WORDS);
    this.freeUnits = new Uint8Array(this.end + 1);
  }

  /** First unit of a new block of 1 to `LARGEST_BLOCK_UNITS` units. @throws RangeError when nothing is left. */
  allocate(units: number): number {
    const size = this.smallestFrom(units);
    if (size > 0) {
      const block = this.firstFree[size];
      this.unlink(block, size);
      if (size > units) this.link(block + units, size - units);
      return block;
    }
    if (this.top + units > this.end) throw new RangeError("the memory for routes is used up");
    const block = this.top;
    this.top += units;
    if (this.top > this.highWater) this.highWater = this.top;
    return block;
  }

  free(block: number, units: number): void {
    const before = this.freeUnits[block - 1];
    if (block > this.start && before !== 0 && before + units <= LARGEST_BLOCK_UNITS) {
      block -= before;
      units += before;
      this.unlink(block, before);
    }
    const end = block + units;
    if (end === this.top) {
      this.lowerTop(block);
      return;
    }
    const behind = this.freeUnits[end];
    if (behind !== 0 && behind + units <= LARGEST_BLOCK_UNITS) {
      this.unlink(end, behind);
      units += behind;
    }
    this.link(block, units);
  }

  /** Gives the region from `block` on back, and the free blocks that end there with it. */
  private lowerTop(block: number): void {
    let units = block > this.start ? this.freeUnits[block - 1] : 0;
    while (units !== 0) {
      block -= units;
      this.unlink(block, units);
      units = block > this.start ? this.freeUnits[block - 1] : 0;
    }
    this.top = block;
  }

  clear(): void {
    this.freeUnits.fill(0, this.start, this.highWater);
    this.firstFree.fill(0);
    this.sizes.fill(0);
    this.top = this.start;
  }

  /** The smallest size, at least `units`, of which there is a free block; 0 for none. */
  private smallestFrom(units: number): number {
    let index = units >>> 5;
    let bits = this.sizes[index] & (-1 << (units & 31));
    while (bits === 0) {
      if (++index === this.sizes.length) return 0;
      bits = this.sizes[index];
    }
    return index * 32 + 31 - Math.clz32(bits & -bits);
  }

  private link(block: number, units: number): void {
    const { words, firstFree } = this;
    const next = firstFree[units];
    words[block * UNIT_WORDS] = next;
    words[block * UNIT_WORDS + 1] = 0;
    if (next !== 0) words[next * UNIT_WORDS + 1] = block;
    else this.sizes[units >>> 5] |= 1 << (units & 31);
    firstFree[units] = block;
    this.freeUnits[block] = units;
    this.freeUnits[block + units - 1] = units;
  }

  private unlink(block: number, units: number): void {
    const { words, firstFree } = this;
    const next = words[block * UNIT_WORDS];
    const previous = words[block * UNIT_WORDS + 1];
    if (next !== 0) words[next * UNIT_WORDS + 1] = previous;
    if (previous !== 0) words[previous * UNIT_WORDS] = next;
    else {
      firstFree[units] = next;
      if (next === 0) this.sizes[units >>> 5] &= ~(1 << (units & 31));
    }
    this.freeUnits[block] = 0;
    this.freeUnits[block + units - 1] = 0;
  }
}
