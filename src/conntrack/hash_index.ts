/**
 * A hash index: open addressing with linear probing over one Int32Array, two words a slot: the 32-bit hash and a
 * reference (a non-negative integer, kept plus one so that 0 means empty).
 *
 * Keeping the hash makes a probe almost never touch a wrong entry, and lets removal close the gap by shifting back
 * the slots behind it without reading any entry; so there are no tombstones, and churn costs nothing later. At most
 * half of the slots are in use: a probe stays within a cache line or two. Hashes come from `tupleHash`, which is
 * keyed with a random seed: nobody outside can choose packets that collide.
 */
import type { Journal } from "../packet/journal.ts";

export class HashIndex {
  /** Word 2n is the hash of slot n, word 2n+1 its reference plus one. */
  readonly slots: Int32Array;
  readonly mask: number;
  size = 0;
  private journal: Journal | undefined = undefined;

  /** `slots` must be zeroed or hold a former index, with a power of two of slots. */
  constructor(slots: Int32Array) {
    const count = slots.length / 2;
    if ((count & (count - 1)) !== 0 || count < 2) throw new RangeError("the number of slots must be a power of two");
    this.slots = slots;
    this.mask = count - 1;
  }

  /** Slots needed so that `entries` fill at most half of them. */
  static slotsFor(entries: number): number {
    let slots = 2;
    while (slots < entries * 2) slots *= 2;
    return slots;
  }

  /** Notes every change from now on, until the journal is undone. */
  rehearse(journal: Journal): void {
    journal.numbers(this);
    journal.fields(this, "journal");
    this.journal = journal;
  }

  /** The caller sees to it that no more than half of the slots are ever in use. */
  insert(hash: number, reference: number): void {
    const slots = this.slots;
    let position = hash & this.mask;
    while (slots[position * 2 + 1] !== 0) position = (position + 1) & this.mask;
    if (this.journal !== undefined) this.journal.words(slots, position * 2, 2);
    slots[position * 2] = hash;
    slots[position * 2 + 1] = reference + 1;
    this.size++;
  }

  /** Removes what `insert` put in; false when it is not there. */
  remove(hash: number, reference: number): boolean {
    const slots = this.slots;
    let position = hash & this.mask;
    while (slots[position * 2 + 1] !== reference + 1) {
      if (slots[position * 2 + 1] === 0) return false;
      position = (position + 1) & this.mask;
    }
    this.closeGap(position);
    this.size--;
    return true;
  }

  /** Entries of exactly this hash. */
  count(hash: number): number {
    const slots = this.slots;
    let found = 0;
    for (let position = hash & this.mask; slots[position * 2 + 1] !== 0; position = (position + 1) & this.mask) {
      if (slots[position * 2] === hash) found++;
    }
    return found;
  }

  private closeGap(gap: number): void {
    const { slots, mask, journal } = this;
    let position = gap;
    for (;;) {
      position = (position + 1) & mask;
      const reference = slots[position * 2 + 1];
      if (reference === 0) break;
      const hash = slots[position * 2];
      // It may move into the gap unless its home lies behind the gap (cyclically between gap and position).
      if (((position - hash) & mask) >= ((position - gap) & mask)) {
        if (journal !== undefined) journal.words(slots, gap * 2, 2);
        slots[gap * 2] = hash;
        slots[gap * 2 + 1] = reference;
        gap = position;
      }
    }
    if (journal !== undefined) journal.words(slots, gap * 2, 2);
    slots[gap * 2] = 0;
    slots[gap * 2 + 1] = 0;
  }

  clear(): void {
    this.slots.fill(0);
    this.size = 0;
  }
}
