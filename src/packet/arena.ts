/**
 * The frame arena: all frames of the dataplane live in the slots of one buffer.
 *
 * A slot holds a 10-byte vnet header, then the Ethernet frame, so that the IPv4 header starts at byte 24 of the slot
 * and every 32-bit field of it is aligned. A slot takes a 64 KiB super-frame. The stride is an odd number of cache
 * lines: strides that are powers of two would put all headers into the same cache sets. Free slots form a
 * last-in-first-out list, because the slot freed last is the one that the caches still hold.
 *
 * Flooding sends one slot to many ports: `references` counts the holders, `release` frees the slot with the last one.
 * Invariant: free slots + slots held by someone == slotCount, checked by `heldSlots()` in tests.
 */
import { Frame } from "./frame.ts";
import type { Journal } from "./journal.ts";

/** Bytes of the vnet header in front of each frame. */
export const VNET_HEADER_BYTES = 10;

/** 1027 cache lines: 65 535 bytes of IPv4, Ethernet, a VLAN tag and the vnet header fit. */
export const SLOT_BYTES = 65_728;

export const LARGEST_FRAME_BYTES = SLOT_BYTES - VNET_HEADER_BYTES;

export class Arena {
  readonly slotCount: number;
  readonly buffer: ArrayBuffer;
  readonly memory: DataView;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly frames: Frame[];
  /** Bytes of each frame, vnet header not counted; shared with the addon. */
  readonly slotLength: Int32Array;
  /** The free list; `free[0]` is how many of its words are in use. Shared with the addon. */
  readonly freeSlots: Int32Array;
  readonly free: Int32Array;
  readonly references: Int32Array;

  /** `free` may be given, when the word that counts the free slots lives in memory shared with the addon. */
  constructor(buffer: ArrayBuffer, slotCount: number, free: Int32Array = new Int32Array(1)) {
    if (buffer.byteLength < slotCount * SLOT_BYTES) throw new RangeError("the buffer is too small for its slots");
    this.slotCount = slotCount;
    this.buffer = buffer;
    this.memory = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
    this.slotLength = new Int32Array(slotCount);
    this.freeSlots = new Int32Array(slotCount);
    this.references = new Int32Array(slotCount);
    this.free = free;
    this.frames = [];
    for (let slot = 0; slot < slotCount; slot++) {
      this.frames.push(new Frame(slot, slot * SLOT_BYTES + VNET_HEADER_BYTES));
      this.freeSlots[slot] = slotCount - 1 - slot;
    }
    free[0] = slotCount;
  }

  /** Notes which slots are free, to be put back when the journal is undone. */
  rehearse(journal: Journal): void {
    const { slotLength, freeSlots, free, references } = this;
    for (const array of [slotLength, freeSlots, free, references]) journal.copy(array);
  }

  /** Takes a free slot with one reference; -1 when there is none. */
  take(): number {
    const count = this.free[0];
    if (count === 0) return -1;
    this.free[0] = count - 1;
    const slot = this.freeSlots[count - 1];
    this.references[slot] = 1;
    return slot;
  }

  /** Marks a slot that the addon took from the free list as held by one. */
  adopt(slot: number): void {
    this.references[slot] = 1;
  }

  retain(slot: number): void {
    this.references[slot]++;
  }

  release(slot: number): void {
    if (--this.references[slot] === 0) {
      this.freeSlots[this.free[0]] = slot;
      this.free[0]++;
    }
  }

  /** Slots that somebody holds. 0 at rest, when nothing is parked. */
  heldSlots(): number {
    return this.slotCount - this.free[0];
  }
}
