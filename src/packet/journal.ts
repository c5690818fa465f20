/**
 * A journal of changes, to undo them: what a rehearsal of a packet does to the router's tables (`explain`) is taken back
 * word by word, in the reverse order. Tables write into it before they change something, while they have one.
 */
type Words = Int32Array | Int16Array | Float64Array;

export class Journal {
  private readonly arrays: Words[] = [];
  private readonly indexes: number[] = [];
  private readonly values: number[] = [];
  private readonly actions: (() => void)[] = [];

  /** Remembers a word that is about to change. */
  word(array: Words, index: number): void {
    this.arrays.push(array);
    this.indexes.push(index);
    this.values.push(array[index]);
  }

  /** Remembers `count` words from `from` on. */
  words(array: Words, from: number, count: number): void {
    for (let index = from; index < from + count; index++) this.word(array, index);
  }

  /** Remembers the first `count` words of an array as a whole: for small ones, and those that are written everywhere. */
  copy(array: Words | Uint8Array, count = array.length): void {
    const before = array.slice(0, count);
    this.actions.push(() => array.set(before as Int32Array<ArrayBuffer>));
  }

  /** Remembers the numbers and references in these fields of an object. */
  fields<T extends object>(owner: T, ...names: string[]): void {
    const before = names.map((name) => (owner as Record<string, unknown>)[name]);
    this.actions.push(() => {
      for (const [index, name] of names.entries()) (owner as Record<string, unknown>)[name] = before[index];
    });
  }

  /** Remembers the first `count` elements of all arrays of numbers that an object holds in fields of its own. */
  arraysOf(owner: object, count = Number.POSITIVE_INFINITY): void {
    for (const array of Object.values(owner)) {
      const isArray = array instanceof Int32Array || array instanceof Float64Array || array instanceof Uint8Array;
      if (isArray) this.copy(array, Math.min(count, array.length));
    }
  }

  /** Remembers all numbers that an object holds in fields of its own. */
  numbers(owner: object): void {
    this.fields(
      owner,
      ...Object.keys(owner).filter((name) => typeof (owner as Record<string, unknown>)[name] === "number"),
    );
  }

  /** What else has to be done to take a change back. */
  later(action: () => void): void {
    this.actions.push(action);
  }

  /** Takes everything back: words first, the latest first; then the rest, the latest first. */
  undo(): void {
    for (let i = this.arrays.length - 1; i >= 0; i--) this.arrays[i][this.indexes[i]] = this.values[i];
    for (let i = this.actions.length - 1; i >= 0; i--) this.actions[i]();
    this.arrays.length = 0;
    this.indexes.length = 0;
    this.values.length = 0;
    this.actions.length = 0;
  }
}
