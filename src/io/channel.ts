/**
 * A channel between the two processes: JSON messages and descriptors over the addon's sequenced-packet socket.
 *
 * A message that would not fit one packet travels in a memfd, whose descriptor goes first, with a marker in the place
 * of the message. Sending never waits: what the socket does not take now is queued, in order, and goes out with the
 * next `send` or `flush`.
 */
import { MessageMemory, takeText } from "./message_memory.ts";
import type { Native } from "./native.ts";

/** Longest message sent in the packet itself, in bytes of JSON. */
const INLINE_BYTES = 48 * 1024;

/** Messages that may wait for a peer that does not read; then `send` throws. */
const QUEUE_LIMIT = 4096;

interface Marker {
  inMemory: number;
  /** That of the message, if it has one: the receiver may have to answer although it cannot read it. */
  id?: number;
}

export interface ChannelMessage {
  message: unknown;
  /** The receiver owns them. */
  descriptors: number[];
  /** Why descriptors are missing, and of a long message all but its `id`: this process can take no more. */
  lost?: string;
}

interface Queued {
  bytes: Uint8Array;
  descriptors: number[];
  memoryFd: number | undefined;
}

export class Channel {
  private readonly native: Native;
  private readonly fd: number;
  private readonly queue: Queued[] = [];
  private readonly memory: MessageMemory;
  /** Packets that held no message, and were passed over. */
  malformed = 0;

  constructor(native: Native, fd: number) {
    this.native = native;
    this.fd = fd;
    this.memory = new MessageMemory(native);
  }

  /** Gives back what is kept for messages; the socket stays the caller's. */
  close(): void {
    for (const { memoryFd } of this.queue.splice(0)) if (memoryFd !== undefined) this.memory.sent(memoryFd);
    this.memory.close();
  }

  /** Sends a message; descriptors stay the caller's. Throws when the peer is gone or has not read for too long. */
  send(message: object, descriptors: readonly number[] = []): void {
    if (this.queue.length >= QUEUE_LIMIT) throw new Error("the other process does not read its messages");
    this.queue.push(this.pack(message, descriptors));
    this.flush();
  }

  /** Whether messages wait for the peer to read. */
  get isWaiting(): boolean {
    return this.queue.length > 0;
  }

  /** Sends what waits; true when nothing waits any more. */
  flush(): boolean {
    for (let next = this.queue[0]; next !== undefined; next = this.queue[0]) {
      if (!this.native.sendMessage(this.fd, next.bytes, next.descriptors)) return false;
      this.queue.shift();
      if (next.memoryFd !== undefined) this.memory.sent(next.memoryFd);
    }
    return true;
  }

  /**
   * The next message, null when there is none now, "closed" when the peer is gone. A packet that holds no message (a JSON
   * object, here or in the memory that it names) is counted and passed over.
   */
  receive(): ChannelMessage | null | "closed" {
    for (;;) {
      const received = this.native.receiveMessage(this.fd);
      if (received === null || received === "closed") return received;
      const message = this.read(received.bytes, received.descriptors, received.isCut);
      if (message !== undefined) return message;
      this.malformed++;
      for (const descriptor of received.descriptors) this.native.closeDescriptor(descriptor);
    }
  }

  private read(bytes: Uint8Array, descriptors: number[], isCut: boolean): ChannelMessage | undefined {
    const message = parseObject(bytes);
    if (message === undefined) return undefined;
    if (isCut) {
      const lost = "no descriptors are left (EMFILE)";
      return { message: isMarker(message) ? { id: message.id } : message, descriptors, lost };
    }
    return isMarker(message) ? this.unpack(message, descriptors) : { message, descriptors };
  }

  private unpack(marker: Marker, [memoryFd, ...descriptors]: number[]): ChannelMessage | undefined {
    if (memoryFd === undefined) return undefined;
    try {
      const message = parseObject(takeText(memoryFd, marker.inMemory));
      if (message !== undefined) return { message, descriptors };
      return { message: { id: marker.id }, descriptors, lost: "its memory holds no message" };
    } catch (error) {
      return { message: { id: marker.id }, descriptors, lost: (error as Error).message };
    }
  }

  private pack(message: object, descriptors: readonly number[]): Queued {
    const bytes = new TextEncoder().encode(JSON.stringify(message));
    if (bytes.length <= INLINE_BYTES) return { bytes, descriptors: [...descriptors], memoryFd: undefined };
    const fd = this.memory.put(bytes);
    const marker: Marker = { inMemory: bytes.length, ...("id" in message ? { id: message.id as number } : {}) };
    return {
      bytes: new TextEncoder().encode(JSON.stringify(marker)),
      descriptors: [fd, ...descriptors],
      memoryFd: fd,
    };
  }
}

function parseObject(bytes: Uint8Array): object | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isMarker(message: object): message is Marker {
  return "inMemory" in message && typeof message.inMemory === "number";
}
