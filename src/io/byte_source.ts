/**
 * Bytes from a file, a pipe or memory, in order and as many as are asked for, with no more of them held at once than
 * the largest piece that was asked for. Synchronous: for commands, never for a process that forwards.
 */
import { readSync } from "node:fs";

/** Reads at most `length` bytes into `buffer` from `offset` on; returns how many, 0 at the end. */
export type ReadBytes = (buffer: Uint8Array, offset: number, length: number) => number;

/** What is read ahead at once. */
const CHUNK_BYTES = 64 * 1024;

export class ByteSource {
  private readonly readMore: ReadBytes;
  private buffer = new Uint8Array(CHUNK_BYTES);
  private start = 0;
  private end = 0;
  /** How many bytes have been taken: where the next one stands. */
  position = 0;

  constructor(readMore: ReadBytes) {
    this.readMore = readMore;
  }

  /** The next `length` bytes, which stay valid until the next call; fewer at the end. */
  take(length: number): Uint8Array {
    this.fill(length);
    const taken = this.buffer.subarray(this.start, Math.min(this.start + length, this.end));
    this.start += taken.length;
    this.position += taken.length;
    return taken;
  }

  /** The next `length` bytes without taking them; fewer at the end. */
  peek(length: number): Uint8Array {
    this.fill(length);
    return this.buffer.subarray(this.start, Math.min(this.start + length, this.end));
  }

  /** Passes over `length` bytes without holding them; returns how many there were. */
  skip(length: number): number {
    let left = length;
    while (left > 0) {
      const count = this.take(Math.min(left, CHUNK_BYTES)).length;
      if (count === 0) break;
      left -= count;
    }
    return length - left;
  }

  private fill(length: number): void {
    if (this.end - this.start >= length) return;
    if (this.start + length > this.buffer.length) this.makeRoom(length);
    while (this.end - this.start < length) {
      const count = this.readMore(this.buffer, this.end, this.buffer.length - this.end);
      if (count === 0) return;
      this.end += count;
    }
  }

  /** What is left moves to the beginning, of a larger buffer where it must. */
  private makeRoom(length: number): void {
    const left = this.buffer.subarray(this.start, this.end);
    const buffer = length > this.buffer.length ? new Uint8Array(length) : this.buffer;
    buffer.set(left, 0);
    this.end = left.length;
    this.start = 0;
    this.buffer = buffer;
  }
}

export function bytesOfFile(descriptor: number): ByteSource {
  return new ByteSource((buffer, offset, length) => readSync(descriptor, buffer, offset, length, null));
}

export function bytesOfMemory(bytes: Uint8Array): ByteSource {
  let at = 0;
  return new ByteSource((buffer, offset, length) => {
    const piece = bytes.subarray(at, at + length);
    buffer.set(piece, offset);
    at += piece.length;
    return piece.length;
  });
}
