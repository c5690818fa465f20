/**
 * What longest-prefix match reads for each packet: one buffer, seen as words, half-words and bytes.
 *
 *     entries   262 144 words, one for each /18, naming its chunk:
 *
 *                bit 31  30 29      25 24                    0
 *                  +---+---+----------+-----------------------+
 *                  |    K  |  ones    |     unit of chunk     |
 *                  +---+---+----------+-----------------------+
 *                K: 00 codes are bytes, 10 half-words, 11 words; ones: bits in the first word of the chunk's map
 *     short     65 536 half-words, the codes of /0 to /16
 *     chunk     two words of map, then codes as K says. A bit of the map stands for a /24 that differs from the one
 *               before it, so the bits up to and including a /24 (its first never has one) count to the place of its
 *               code. A word is a code, or ~unit of a block for a /24 with routes beyond /24
 *     block     a word: number of ranges << 16 | code of the /24 itself; then a word for each range of equal codes:
 *               last byte of its first address << 16 | code
 *
 * A code is a route's value plus one; 0 means that this level has no route. All entries whose 64 codes are 0 share the
 * chunk `EMPTY_CHUNK`. This file looks addresses up, and packs and unpacks chunks and blocks; lpm.ts decides what they
 * hold.
 */
import { BlockHeap, UNIT_WORDS as HEAP_UNIT_WORDS } from "./block_heap.ts";

// The compiler folds a module's own constants into the code, but loads and checks what is imported or exported each
// time. That would be a sixth of a look-up that hits the cache, so what it needs is private to this file.
const UNIT_WORDS = HEAP_UNIT_WORDS;

const ENTRIES = 1 << 18;
const SHORT_CODES = 1 << 16;
/** Where the short codes start, in half-words. */
const SHORT_AT = ENTRIES * 2;
const FIRST_UNIT = (ENTRIES + SHORT_CODES / 2) / UNIT_WORDS;
const EMPTY_CHUNK = FIRST_UNIT;
const EMPTY_CHUNK_UNITS = 2;
const MAP_BYTES = 8;
const SLOTS = 64;

const UNIT_MASK = 0x1ffffff;
const ONES_SHIFT = 25;
const ONES_MASK = 31;
const HALVES = 0x80000000 | 0;
/** The bit that tells words from half-words. */
const WORDS_BIT = 0x40000000;

/** The largest pieces that one update may ask for: a chunk of words and a block of 256 ranges. */
const UNITS_PER_UPDATE = 256;
/** Units that insertion leaves alone, so that removal, which may split runs, finds room. */
const SPARE_UNITS = 16 * UNITS_PER_UPDATE;
/** A host route alone in its /18 takes three units of chunk and two of block; the rest is for gaps. */
const UNITS_PER_ROUTE = 8;

export class ForwardingMemory {
  /** The chunk at work: a code or ~unit of a block for each of its /24s. */
  readonly slots = new Int32Array(SLOTS);
  /** The block at work: a code for each address. */
  readonly hosts = new Int32Array(256);
  private readonly words: Int32Array;
  private readonly halves: Uint16Array;
  private readonly bytes: Uint8Array;
  private readonly heap: BlockHeap;

  /** Reserves for the worst case; the system provides a page when it is first written. */
  constructor(routes: number) {
    const units = FIRST_UNIT + routes * UNITS_PER_ROUTE + 2 * SPARE_UNITS;
    this.words = new Int32Array(units * UNIT_WORDS);
    this.halves = new Uint16Array(this.words.buffer);
    this.bytes = new Uint8Array(this.words.buffer);
    this.heap = new BlockHeap(this.words, FIRST_UNIT);
    this.clear();
  }

  clear(): void {
    this.heap.clear();
    this.heap.allocate(EMPTY_CHUNK_UNITS);
    this.words.fill(EMPTY_CHUNK, 0, ENTRIES);
    this.halves.fill(0, SHORT_AT, SHORT_AT + SHORT_CODES);
    this.bytes.fill(0, EMPTY_CHUNK * UNIT_WORDS * 4, (EMPTY_CHUNK + EMPTY_CHUNK_UNITS) * UNIT_WORDS * 4);
  }

  /** Whether another route may be added. */
  hasRoom(): boolean {
    return this.heap.top + SPARE_UNITS <= this.heap.end;
  }

  /** Bytes up to the highest one that was ever in use. */
  usedBytes(): number {
    return this.heap.highWater * UNIT_WORDS * 4;
  }

  /** Value for an address (host order, signed), or -1. */
  lookup(address: number): number {
    const { words } = this;
    const entry = words[address >>> 14];
    if (entry < 0) return this.lookupOther(address, entry);
    const unit = entry & UNIT_MASK;
    const second = (address >>> 13) & 1;
    const map = words[((unit * UNIT_WORDS) | 0) + second] & ((2 << ((address >>> 8) & 31)) - 1);
    const place = countBits(map) + ((entry >>> ONES_SHIFT) & -second);
    const code = this.bytes[((unit << 3) + MAP_BYTES + place) | 0];
    const short = this.halves[SHORT_AT + (address >>> 16)];
    return (code | (short & ((code - 1) >> 31))) - 1;
  }

  /** A look-up in a chunk whose codes are half-words or words. */
  private lookupOther(address: number, entry: number): number {
    const at = (entry & UNIT_MASK) * UNIT_WORDS;
    const second = (address >>> 13) & 1;
    const map = this.words[at + second] & ((2 << ((address >>> 8) & 31)) - 1);
    const place = countBits(map) + ((entry >>> ONES_SHIFT) & ONES_MASK & -second);
    let code = this.codeAt(entry, place);
    if (code < 0) code = this.lookupBlock(address & 255, ~code * UNIT_WORDS);
    return (code !== 0 ? code : this.halves[SHORT_AT + (address >>> 16)]) - 1;
  }

  private lookupBlock(host: number, at: number): number {
    const { words } = this;
    let low = 1;
    let high = 1 + (words[at] >>> 16);
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (words[at + middle] >>> 16 <= host) low = middle;
      else high = middle;
    }
    const code = words[at + low] & 0xffff;
    return code !== 0 ? code : words[at] & 0xffff;
  }

  /** Gives the /16 of this number (the first 16 bits of its addresses) a short code. */
  setShortCode(number: number, code: number): void {
    this.halves[SHORT_AT + number] = code;
  }

  /** Unpacks the chunk of an entry into `slots`. */
  readChunk(index: number): void {
    const { words, slots } = this;
    const entry = words[index];
    const at = (entry & UNIT_MASK) * UNIT_WORDS;
    let place = 0;
    for (let slot = 0; slot < SLOTS; slot++) {
      place += (words[at + (slot >>> 5)] >>> (slot & 31)) & 1;
      slots[slot] = this.codeAt(entry, place);
    }
  }

  private codeAt(entry: number, place: number): number {
    const unit = entry & UNIT_MASK;
    if (entry >= 0) return this.bytes[unit * 8 + MAP_BYTES + place];
    if ((entry & WORDS_BIT) === 0) return this.halves[unit * 4 + MAP_BYTES / 2 + place];
    return this.words[unit * UNIT_WORDS + MAP_BYTES / 4 + place];
  }

  /** Packs `slots` into the chunk of an entry. */
  writeChunk(index: number): void {
    const { slots } = this;
    let firstMap = 0;
    let secondMap = 0;
    let lowest = slots[0];
    let highest = slots[0];
    for (let slot = 1; slot < SLOTS; slot++) {
      const code = slots[slot];
      if (code === slots[slot - 1]) continue;
      if (slot < 32) firstMap |= 1 << slot;
      else secondMap |= 1 << slot;
      if (code < lowest) lowest = code;
      else if (code > highest) highest = code;
    }
    const kind = lowest < 0 ? HALVES | WORDS_BIT : highest > 0xff ? HALVES : 0;
    const isEmpty = lowest === 0 && highest === 0;
    const unit = this.resizeChunk(this.words[index], isEmpty ? 0 : chunkUnits(firstMap, secondMap, kind));
    this.words[index] = kind | (countBits(firstMap) << ONES_SHIFT) | unit;
    if (!isEmpty) this.fillChunk(unit, firstMap, secondMap, kind);
  }

  /** Unit of a chunk of so many units in the place of an entry's present one. */
  private resizeChunk(before: number, units: number): number {
    const unit = before & UNIT_MASK;
    const at = unit * UNIT_WORDS;
    const unitsBefore = unit === EMPTY_CHUNK ? 0 : chunkUnits(this.words[at], this.words[at + 1], before);
    if (units === unitsBefore) return unit;
    if (unitsBefore !== 0) this.heap.free(unit, unitsBefore);
    return units === 0 ? EMPTY_CHUNK : this.heap.allocate(units);
  }

  private fillChunk(unit: number, firstMap: number, secondMap: number, kind: number): void {
    const { words, halves, bytes, slots } = this;
    words[unit * UNIT_WORDS] = firstMap;
    words[unit * UNIT_WORDS + 1] = secondMap;
    let place = 0;
    for (let slot = 0; slot < SLOTS; slot++) {
      place += ((slot < 32 ? firstMap : secondMap) >>> (slot & 31)) & 1;
      if (kind === 0) bytes[unit * 8 + MAP_BYTES + place] = slots[slot];
      else if (kind === HALVES) halves[unit * 4 + MAP_BYTES / 2 + place] = slots[slot];
      else words[unit * UNIT_WORDS + MAP_BYTES / 4 + place] = slots[slot];
    }
  }

  /** Unpacks the block of a slot into `hosts` and frees it; returns the code of the /24 itself. */
  takeBlock(slot: number): number {
    const { words, hosts } = this;
    if (slot >= 0) {
      hosts.fill(0);
      return slot;
    }
    const at = ~slot * UNIT_WORDS;
    const ranges = words[at] >>> 16;
    const own = words[at] & 0xffff;
    let end = 256;
    for (let range = ranges; range > 0; range--) {
      const start = words[at + range] >>> 16;
      hosts.fill(words[at + range] & 0xffff, start, end);
      end = start;
    }
    this.heap.free(~slot, blockUnits(ranges));
    return own;
  }

  /** Packs `hosts` into a block and returns its slot; the code of the /24 itself when no host has one. */
  putBlock(own: number): number {
    const { words, hosts } = this;
    let ranges = 1;
    for (let host = 1; host < 256; host++) if (hosts[host] !== hosts[host - 1]) ranges++;
    if (ranges === 1 && hosts[0] === 0) return own;
    const unit = this.heap.allocate(blockUnits(ranges));
    let at = unit * UNIT_WORDS;
    words[at++] = (ranges << 16) | own;
    for (let host = 0; host < 256; host++) {
      if (host === 0 || hosts[host] !== hosts[host - 1]) words[at++] = (host << 16) | hosts[host];
    }
    return ~unit;
  }

  /** Gives the /24 that a block belongs to another code. */
  setOwnCode(slot: number, code: number): void {
    const at = ~slot * UNIT_WORDS;
    this.words[at] = (this.words[at] & ~0xffff) | code;
  }
}

function chunkUnits(firstMap: number, secondMap: number, kind: number): number {
  const runs = 1 + countBits(firstMap) + countBits(secondMap);
  const bytesEach = kind >= 0 ? 1 : (kind & WORDS_BIT) === 0 ? 2 : 4;
  return (MAP_BYTES + runs * bytesEach + 7) >>> 3;
}

function blockUnits(ranges: number): number {
  return (1 + ranges + UNIT_WORDS - 1) >>> 1;
}

/** Bits set in a word, by sums of pairs, nibbles and bytes. */
function countBits(word: number): number {
  word -= (word >>> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
