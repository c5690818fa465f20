/**
 * Frames that wait for a time: a binary heap over typed arrays, by time and, where times are equal, by the order in
 * which they came. An entry is a slot and a port; the slot's reference is the queue's while it waits. Nothing is
 * allocated after the start; `isFull` before `push`.
 */
export class DueQueue {
  readonly capacity: number;
  /** How many entries wait. */
  size = 0;
  /** Of the entry that was popped last. */
  slot = -1;
  port = -1;
  private readonly heap: Int32Array;
  private readonly due: Float64Array;
  private readonly order: Float64Array;
  private readonly slots: Int32Array;
  private readonly ports: Int32Array;
  private nextOrder = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    // The places behind `size` hold the entries that are free.
    this.heap = Int32Array.from({ length: capacity }, (_, index) => index);
    this.due = new Float64Array(capacity);
    this.order = new Float64Array(capacity);
    this.slots = new Int32Array(capacity);
    this.ports = new Int32Array(capacity);
  }

  get isFull(): boolean {
    return this.size === this.capacity;
  }

  /** The earliest time; infinite when nothing waits. */
  get nextDue(): number {
    return this.size === 0 ? Number.POSITIVE_INFINITY : this.due[this.heap[0]];
  }

  push(due: number, slot: number, port: number): void {
    const entry = this.heap[this.size];
    this.due[entry] = due;
    this.order[entry] = this.nextOrder++;
    this.slots[entry] = slot;
    this.ports[entry] = port;
    this.rise(this.size++, entry);
  }

  /** Takes the entry whose time comes first into `slot` and `port`. */
  pop(): void {
    const { heap } = this;
    const entry = heap[0];
    const last = heap[--this.size];
    this.slot = this.slots[entry];
    this.port = this.ports[entry];
    if (this.size > 0) this.sink(last);
    heap[this.size] = entry;
  }

  /** How many entries of a port wait. Not for the hot path. */
  countOf(port: number): number {
    let count = 0;
    for (let i = 0; i < this.size; i++) if (this.ports[this.heap[i]] === port) count++;
    return count;
  }

  /** Takes all entries of a port out; their slots in the order of their times. Not for the hot path. */
  takeAllOf(port: number): number[] {
    const { heap, ports } = this;
    const all = [...heap.subarray(0, this.size)].sort((left, right) => (this.isBefore(left, right) ? -1 : 1));
    const taken = all.filter((entry) => ports[entry] === port);
    const kept = all.filter((entry) => ports[entry] !== port);
    // What is sorted is a heap.
    heap.set(kept, 0);
    heap.set(taken, kept.length);
    this.size = kept.length;
    return taken.map((entry) => this.slots[entry]);
  }

  private isBefore(left: number, right: number): boolean {
    const { due, order } = this;
    return due[left] < due[right] || (due[left] === due[right] && order[left] < order[right]);
  }

  private rise(at: number, entry: number): void {
    const { heap } = this;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.isBefore(entry, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = entry;
  }

  private sink(entry: number): void {
    const { heap, size } = this;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && this.isBefore(heap[child + 1], heap[child])) child++;
      if (!this.isBefore(heap[child], entry)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = entry;
  }
}
