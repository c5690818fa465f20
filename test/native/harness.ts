/** An engine with its memory, and frames that nothing else on the machine sends. */
import { writeSync } from "node:fs";
import {
  type Engine,
  type EngineMemory,
  EngineState,
  native,
  PortCounter,
  type PortKind,
  VNET_HEADER_BYTES,
} from "../../src/io/native.ts";
import { netnsPath, onCleanup } from "../support/netns.ts";
import { takeWay, WAYS, type Way } from "./ways.ts";

export const SLOT_BYTES = 65_728;

/** EtherType for local experiments (IEEE 802): no kernel sends or answers it. */
const ETHERTYPE = 0x88b5;
const ETHERTYPE_AT = 12;

export interface Received {
  port: number;
  bytes: Buffer;
  header: Buffer;
}

/** `length` bytes of Ethernet from one made-up station to another, numbered, and filled with a pattern. */
export function frame(number: number, length = 60): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 7 + number) & 0xff;
  Buffer.from("025566000002", "hex").copy(bytes);
  Buffer.from("025566000001", "hex").copy(bytes, 6);
  bytes.writeUInt16BE(ETHERTYPE, ETHERTYPE_AT);
  bytes.writeUInt32BE(number, 14);
  return bytes;
}

export const numberOf = (received: Received): number => received.bytes.readUInt32BE(14);

/** Writes a frame to a descriptor directly, past the engine, with an empty vnet header unless one is given. */
export function put(fd: number, bytes: Buffer, header: Buffer = Buffer.alloc(VNET_HEADER_BYTES)): void {
  writeSync(fd, Buffer.concat([header, bytes]));
}

export class Harness {
  readonly memory: EngineMemory;
  readonly engine: Engine;
  /** What arrived and is no frame of a test (the kernel's own multicast). */
  strangers = 0;
  private readonly arena: Buffer;

  constructor(options: { slotCount?: number; slotBytes?: number; ports?: number; burst?: number; way?: Way } = {}) {
    const { slotCount = 256, slotBytes = SLOT_BYTES, ports = 8, burst = 64 } = options;
    const arena = native().allocateMemory(slotCount * slotBytes);
    this.arena = Buffer.from(arena);
    this.memory = {
      arena,
      slotBytes,
      slotCount,
      slotLength: new Int32Array(slotCount),
      freeSlots: Int32Array.from({ length: slotCount }, (_, i) => slotCount - 1 - i),
      receivedSlot: new Int32Array(burst),
      receivedPort: new Int32Array(burst),
      transmitSlot: new Int32Array(256),
      transmitPort: new Int32Array(256),
      transmitOffset: new Int32Array(256),
      state: new Int32Array(EngineState.WORDS),
      portErrors: new Int32Array(ports),
      portCounters: new Float64Array(ports * PortCounter.COUNT),
    };
    this.memory.state[EngineState.FREE_COUNT] = slotCount;
    this.engine = native().createEngine(this.memory);
    takeWay(this.engine, options.way ?? WAYS[0]);
    onCleanup(() => this.engine.close());
  }

  /** A TAP in a namespace as a port; brought up by the caller. */
  tap(port: number, netns: string, ifname: string, offload = true): number {
    const { fd } = native().openTap({ ifname, netns: netnsPath(netns), offload });
    return this.add(port, fd, 0);
  }

  /** A packet socket on a device as a port. */
  packet(
    port: number,
    netns: string,
    device: string,
    options: { vnetHeader?: boolean; outgoing?: boolean } = {},
  ): number {
    const { fd } = native().openPacketSocket({ device, netns: netnsPath(netns), ...options });
    return this.add(port, fd, 1);
  }

  add(port: number, fd: number, kind: PortKind): number {
    closeLater(fd);
    this.engine.addPort(port, fd, kind);
    return fd;
  }

  get free(): number {
    return this.memory.state[EngineState.FREE_COUNT];
  }

  counter(port: number, which: number): number {
    return this.memory.portCounters[port * PortCounter.COUNT + which];
  }

  take(): number {
    const slot = this.memory.freeSlots[--this.memory.state[EngineState.FREE_COUNT]];
    return slot;
  }

  release(slot: number): void {
    this.memory.freeSlots[this.memory.state[EngineState.FREE_COUNT]++] = slot;
  }

  /** Writes a frame into a slot. */
  fill(slot: number, bytes: Buffer, header: Buffer = Buffer.alloc(VNET_HEADER_BYTES)): void {
    const at = slot * this.memory.slotBytes;
    header.copy(this.arena, at);
    bytes.copy(this.arena, at + VNET_HEADER_BYTES);
    this.memory.slotLength[slot] = bytes.length;
  }

  /** Sends frames with one call; returns what `transmit` says. */
  transmit(entries: { port: number; bytes: Buffer; header?: Buffer }[]): number {
    const slots = entries.map(({ port, bytes, header }, i) => {
      const slot = this.take();
      this.fill(slot, bytes, header);
      this.entry(i, slot, port);
      return slot;
    });
    const sent = this.engine.transmit(entries.length);
    for (const slot of slots.reverse()) this.release(slot);
    return sent;
  }

  entry(index: number, slot: number, port: number, offset = 0): void {
    this.memory.transmitSlot[index] = slot;
    this.memory.transmitPort[index] = port;
    if (this.memory.transmitOffset) this.memory.transmitOffset[index] = offset;
  }

  /** One burst: copies its frames and frees the slots. Frames that no test has sent are left out. */
  burst(max = 64, timeoutMs = 0): Received[] {
    const count = this.engine.receive(max, timeoutMs);
    const result: Received[] = [];
    for (let i = 0; i < count; i++) {
      const slot = this.memory.receivedSlot[i];
      const at = slot * this.memory.slotBytes;
      const start = at + VNET_HEADER_BYTES;
      const bytes = Buffer.from(this.arena.subarray(start, start + this.memory.slotLength[slot]));
      const header = Buffer.from(this.arena.subarray(at, start));
      const type = bytes.readUInt16BE(ETHERTYPE_AT);
      if (type === ETHERTYPE || type === 0x0800 || type === 0x8100) {
        result.push({ port: this.memory.receivedPort[i], bytes, header });
      } else {
        this.strangers++;
      }
      this.release(slot);
    }
    return result;
  }

  /** Bursts until `enough` of what has come, or for a bounded number of waits. */
  until(enough: (received: Received[]) => boolean, max = 64): Received[] {
    const received: Received[] = [];
    for (let waits = 0; waits < 100 && !enough(received); waits++) received.push(...this.burst(max, 50));
    return received;
  }

  /** Bursts until `count` frames have come from `port`. */
  expectFrames(count: number, port?: number): Received[] {
    const wanted = (all: Received[]) => all.filter((one) => port === undefined || one.port === port);
    return wanted(this.until((all) => wanted(all).length >= count));
  }

  /** Waits until `port` has failed; returns the errno. */
  untilFailed(port: number): number {
    for (let waits = 0; waits < 100 && this.memory.portErrors[port] === 0; waits++) this.burst(64, 50);
    return this.memory.portErrors[port];
  }
}

/** Closes a descriptor at the end of the test, unless the test has done it. */
export function closeLater(fd: number): void {
  onCleanup(() => {
    if (closed.delete(fd)) return;
    native().closeDescriptor(fd);
  });
}

const closed = new Set<number>();

export function closeNow(fd: number): void {
  native().closeDescriptor(fd);
  closed.add(fd);
}
