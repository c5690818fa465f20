/**
 * Merge: before a burst is written, datagrams and segments of one flow that leave through one port one after the other
 * become one frame with a segmentation size (UDP and TCP segmentation offload). A write costs the same whether it takes
 * one datagram or sixty; whoever needs them apart (a socket, a device without offloads) cuts the frame again.
 *
 * Nothing is copied: the frame is gathered from the header of the first and the payloads of the others. What a receiver
 * gets must be what it would have got: which frames may be joined is the business of `merge_rules.ts`, and nothing ever
 * passes by a frame of its own port. Nothing waits for another: only what a burst holds together is merged.
 *
 * `open` has for each port the entry of its last frame, if others may still be joined to it. A frame's further pieces
 * hang on its first entry as a chain (`next`).
 */
import type { FrameIo } from "../io/port.ts";
import type { Arena } from "../packet/arena.ts";
import type { Frame } from "../packet/frame.ts";
import { MergeState, mayBegin, mayJoin, writeMerged } from "./merge_rules.ts";

/** Pieces of one frame; the addon gathers no more. */
const MOST_PIECES = 64;

export class Merger {
  private readonly arena: Arena;
  private readonly io: FrameIo;
  /** For each port the entry of its last frame plus one, or 0. */
  private readonly open: Int32Array;
  /** For each entry: the next piece plus one or 0, the last piece, and how many there are (0: it is one itself). */
  private readonly next: Int32Array;
  private readonly last: Int32Array;
  private readonly pieces: Int32Array;
  private readonly state: MergeState;
  private readonly slots: Int32Array;
  private readonly ports: Int32Array;
  private readonly offsets: Int32Array;

  constructor(arena: Arena, io: FrameIo, portLimit: number) {
    const limit = io.transmitSlot.length;
    this.arena = arena;
    this.io = io;
    this.open = new Int32Array(portLimit);
    this.next = new Int32Array(limit);
    this.last = new Int32Array(limit);
    this.pieces = new Int32Array(limit);
    this.state = new MergeState(limit);
    this.slots = new Int32Array(limit);
    this.ports = new Int32Array(limit);
    this.offsets = new Int32Array(limit);
  }

  /**
   * Merges what the first `count` entries of the transmit arrays hold, and puts the pieces of a frame one behind the
   * other. Returns how many frames have become pieces of another; the number of entries stays.
   */
  merge(count: number, withDatagrams: boolean): number {
    const merged = this.join(count, withDatagrams);
    const { transmitPort } = this.io;
    for (let i = 0; i < count; i++) this.open[transmitPort[i]] = 0;
    if (merged > 0) this.arrange(count);
    return merged;
  }

  private join(count: number, withDatagrams: boolean): number {
    const { open, next, last, pieces, io, arena } = this;
    const { transmitSlot, transmitPort } = io;
    let merged = 0;
    for (let entry = 0; entry < count; entry++) {
      const port = transmitPort[entry];
      const head = open[port] - 1;
      next[entry] = 0;
      last[entry] = entry;
      pieces[entry] = 1;
      if (head >= 0 && this.joins(head, arena.frames[transmitSlot[entry]], withDatagrams)) {
        next[last[head]] = entry + 1;
        last[head] = entry;
        pieces[head]++;
        pieces[entry] = 0;
        merged++;
      } else {
        open[port] = entry + 1;
      }
    }
    return merged;
  }

  private joins(head: number, frame: Frame, withDatagrams: boolean): boolean {
    const { arena, pieces, state } = this;
    const first = arena.frames[this.io.transmitSlot[head]];
    if (frame.reference < 0 || first.reference !== frame.reference || pieces[head] === MOST_PIECES) return false;
    // A flooded slot is also another port's.
    if (arena.references[first.slot] !== 1 || arena.references[frame.slot] !== 1) return false;
    if (pieces[head] === 1 && !mayBegin(arena.memory, first, state, head, withDatagrams)) return false;
    return mayJoin(arena.memory, first, frame, state, head);
  }

  /** Puts the entries into the order of writing, and turns the first frame of each chain into the whole. */
  private arrange(count: number): void {
    const { next, pieces, slots, ports, offsets, io, arena, state } = this;
    const { transmitSlot, transmitPort, transmitOffset } = io;
    let to = 0;
    for (let entry = 0; entry < count; entry++) {
      if (pieces[entry] === 0) continue;
      const head = arena.frames[transmitSlot[entry]];
      const headerBytes = pieces[entry] === 1 ? 0 : writeMerged(arena.memory, head, state, entry);
      for (let piece = entry; piece >= 0; piece = next[piece] - 1) {
        slots[to] = transmitSlot[piece];
        ports[to] = transmitPort[piece];
        offsets[to++] = piece === entry ? 0 : headerBytes;
      }
    }
    for (let i = 0; i < count; i++) {
      transmitSlot[i] = slots[i];
      transmitPort[i] = ports[i];
      transmitOffset[i] = offsets[i];
    }
  }

  /** Says of the first `count` entries that each is a frame of its own again. */
  clear(count: number): void {
    this.io.transmitOffset.fill(0, 0, count);
  }
}
