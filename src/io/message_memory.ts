/**
 * The memory in which long messages travel. A mapping is given back by the event loop, which never runs in the dataplane:
 * so the sender keeps a few memories and uses each again once it has been read, and the receiver reads without mapping.
 * The first byte says whether it waits to be read; the text follows. One that is too small is replaced; sizes are powers of
 * two, so few are left behind. Pages that no message has touched cost nothing.
 */
import { closeSync, fstatSync, readSync, writeSync } from "node:fs";
import type { Native } from "./native.ts";

const READ = 0;
const WAITING = 1;
const SMALLEST_BYTES = 1 << 20;
/** More messages than that are hardly ever on their way at a time: each of these has a memory of its own. */
export const MOST_HELD = 8;

interface Memory {
  fd: number;
  bytes: Uint8Array;
  isSent: boolean;
}

export class MessageMemory {
  private readonly native: Native;
  private readonly held: Memory[] = [];

  constructor(native: Native) {
    this.native = native;
  }

  /** A descriptor of memory that has `text`; to be given to `sent` once it has been sent. */
  put(text: Uint8Array): number {
    const memory = this.memoryFor(text.length + 1);
    memory.bytes.set(text, 1);
    memory.bytes[0] = WAITING;
    memory.isSent = false;
    return memory.fd;
  }

  /** The peer has a descriptor of its own now. */
  sent(fd: number): void {
    const memory = this.held.find((each) => each.fd === fd);
    if (memory === undefined) this.native.closeDescriptor(fd);
    else memory.isSent = true;
  }

  /** For when the channel is not needed any more: what has not been sent is given to `sent` before. */
  close(): void {
    for (const { fd } of this.held.splice(0)) this.native.closeDescriptor(fd);
  }

  private memoryFor(bytes: number): Memory {
    const free = this.held.filter((each) => each.isSent && each.bytes[0] === READ);
    const fitting = free.find((each) => each.bytes.length >= bytes);
    if (fitting !== undefined) return fitting;
    const [small] = free;
    if (small !== undefined) {
      this.held.splice(this.held.indexOf(small), 1);
      this.native.closeDescriptor(small.fd);
    }
    const made = this.make(bytes);
    if (this.held.length < MOST_HELD) this.held.push(made);
    return made;
  }

  private make(bytes: number): Memory {
    let size = SMALLEST_BYTES;
    while (size < bytes) size *= 2;
    const { fd, memory } = this.native.createMemory("tapir-message", size);
    return { fd, bytes: new Uint8Array(memory), isSent: false };
  }
}

/**
 * The text in a memory of another process, which may use it again from now on. The descriptor is closed.
 *
 * @throws RangeError for more bytes than there are.
 */
export function takeText(fd: number, bytes: number): Uint8Array {
  try {
    if (!(bytes >= 0 && bytes < fstatSync(fd).size)) throw new RangeError("a message is shorter than it says");
    const text = Buffer.alloc(bytes);
    for (let at = 0; at < bytes; ) {
      const count = readSync(fd, text, at, bytes - at, 1 + at);
      if (count === 0) throw new RangeError("a message is shorter than it says");
      at += count;
    }
    writeSync(fd, Uint8Array.of(READ), 0, 1, 0);
    return text;
  } finally {
    closeSync(fd);
  }
}
