/**
 * Ports in memory, for tests and for embedding: frames go in with `inject` and come out in `sent`, with no device and
 * no native code. It takes slots from the same arena as the router.
 */
import type { Arena } from "../packet/arena.ts";
import { LARGEST_FRAME_BYTES, VNET_HEADER_BYTES } from "../packet/arena.ts";
import type { FrameIo } from "./port.ts";

export interface SentFrame {
  port: number;
  /** The Ethernet frame. */
  bytes: Uint8Array;
  /** The 10 bytes of vnet header before it. */
  vnetHeader: Uint8Array;
}

export class MemoryIo implements FrameIo {
  readonly receivedSlot: Int32Array;
  readonly receivedPort: Int32Array;
  readonly transmitSlot: Int32Array;
  readonly transmitPort: Int32Array;
  readonly transmitOffset: Int32Array;
  /** What `transmit` was given, oldest first; take it with `takeSent`. */
  sent: SentFrame[] = [];
  /** When false, `transmit` forgets the frames: for measurements. */
  keepSent = true;
  private readonly arena: Arena;
  private readonly waiting: { slot: number; port: number }[] = [];

  constructor(arena: Arena, burst = 256) {
    this.arena = arena;
    this.receivedSlot = new Int32Array(burst);
    this.receivedPort = new Int32Array(burst);
    this.transmitSlot = new Int32Array(burst * 16);
    this.transmitPort = new Int32Array(burst * 16);
    this.transmitOffset = new Int32Array(burst * 16);
  }

  /** Lets a frame arrive at a port; throws when the arena has no free slot, or the frame does not fit one. */
  inject(port: number, frame: Uint8Array, vnetHeader?: Uint8Array): void {
    if (frame.length > LARGEST_FRAME_BYTES) throw new RangeError(`a frame of ${frame.length} bytes fits no slot`);
    const slot = this.arena.take();
    if (slot < 0) throw new Error("out of slots");
    const { at } = this.arena.frames[slot];
    this.arena.bytes.fill(0, at - VNET_HEADER_BYTES, at);
    if (vnetHeader !== undefined) this.arena.bytes.set(vnetHeader, at - VNET_HEADER_BYTES);
    this.arena.bytes.set(frame, at);
    this.arena.slotLength[slot] = frame.length;
    this.waiting.push({ slot, port });
  }

  receive(max: number, _timeoutMs: number): number {
    const batch = this.waiting.splice(0, Math.min(max, this.receivedSlot.length));
    for (const [index, { slot, port }] of batch.entries()) {
      this.receivedSlot[index] = slot;
      this.receivedPort[index] = port;
    }
    return batch.length;
  }

  transmit(count: number): number {
    if (!this.keepSent) return count;
    for (let i = 0; i < count; i++) {
      const slot = this.transmitSlot[i];
      const { at } = this.arena.frames[slot];
      const offset = this.transmitOffset[i];
      const bytes = this.arena.bytes.slice(at + offset, at + this.arena.slotLength[slot]);
      if (offset !== 0) {
        const whole = this.sent[this.sent.length - 1];
        whole.bytes = Uint8Array.of(...whole.bytes, ...bytes);
        continue;
      }
      this.sent.push({
        port: this.transmitPort[i],
        bytes,
        vnetHeader: this.arena.bytes.slice(at - VNET_HEADER_BYTES, at),
      });
    }
    return count;
  }

  takeSent(): SentFrame[] {
    const sent = this.sent;
    this.sent = [];
    return sent;
  }
}
