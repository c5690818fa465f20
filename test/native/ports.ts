/** An engine with memory of its own, and devices for it, as the tests of the addon use them. */
import {
  type Engine,
  type EngineMemory,
  EngineState,
  native,
  PortCounter,
  VNET_HEADER_BYTES,
} from "../../src/io/native.ts";
import { ip, netnsPath, onCleanup } from "../support/netns.ts";
import { takeWay, WAYS } from "./ways.ts";

const NO_HEADER = new Uint8Array(VNET_HEADER_BYTES);
/** Bursts that are awaited at most, and how long each one may take. */
const MOST_BURSTS = 50;
const BURST_MS = 100;

export interface ReceivedFrame {
  port: number;
  header: Uint8Array;
  bytes: Uint8Array;
}

/** An Ethernet frame of an experimental type that no kernel answers; `marker` makes it unlike others. */
export function frame(marker: number, bytes = 60): Uint8Array {
  const made = Uint8Array.from({ length: bytes }, (_, index) => (index * 7 + marker) & 0xff);
  made.set([0x02, 0, 0, 0, 0, 0x99, 0x02, 0, 0, 0, 0, 0x01, 0x88, 0xb5, marker >> 8, marker & 0xff]);
  return made;
}

/** Removes the descriptor when the test ends. */
export function closing<T extends { fd: number }>(opened: T): T {
  onCleanup(() => native().closeDescriptor(opened.fd));
  return opened;
}

/** A TAP in a namespace, up. */
export function tap(netns: string, ifname = "t0", offload = true): number {
  const { fd } = closing(native().openTap({ ifname, netns: netnsPath(netns), offload }));
  ip(netns, `link set ${ifname} up`);
  return fd;
}

/** A packet socket on a device of a namespace. */
export function packet(netns: string, device = "t0", outgoing = false): number {
  return closing(native().openPacketSocket({ device, netns: netnsPath(netns), outgoing })).fd;
}

export class Ports {
  readonly memory: EngineMemory;
  readonly engine: Engine;

  constructor({ ports = 4, slots = 256, slotBytes = 2048, way = WAYS[0] } = {}) {
    const words = () => new Int32Array(slots);
    const freeSlots = words().map((_, index) => index);
    this.memory = {
      arena: native().allocateMemory(slots * slotBytes),
      slotBytes,
      slotCount: slots,
      slotLength: words(),
      freeSlots,
      receivedSlot: words(),
      receivedPort: words(),
      transmitSlot: words(),
      transmitPort: words(),
      state: new Int32Array(EngineState.WORDS),
      portErrors: new Int32Array(ports),
      portCounters: new Float64Array(ports * PortCounter.COUNT),
    };
    this.memory.state[EngineState.FREE_COUNT] = slots;
    this.engine = native().createEngine(this.memory);
    takeWay(this.engine, way);
    onCleanup(() => this.engine.close());
  }

  counter(port: number, counter: number): number {
    return this.memory.portCounters[port * PortCounter.COUNT + counter] as number;
  }

  state(word: number): number {
    return this.memory.state[word] as number;
  }

  /** Writes a frame into a slot. */
  fill(slot: number, bytes: Uint8Array, header = NO_HEADER): void {
    const at = slot * this.memory.slotBytes;
    new Uint8Array(this.memory.arena, at, VNET_HEADER_BYTES).set(header);
    new Uint8Array(this.memory.arena, at + VNET_HEADER_BYTES, bytes.length).set(bytes);
    this.memory.slotLength[slot] = bytes.length;
  }

  /** Sends frames in one burst from the slots that are free; returns how many the device took. */
  send(port: number, frames: Uint8Array[], header = NO_HEADER): number {
    const free = this.state(EngineState.FREE_COUNT);
    for (const [index, bytes] of frames.entries()) {
      const slot = this.memory.freeSlots[free - 1 - index] as number;
      this.fill(slot, bytes, header);
      this.memory.transmitSlot[index] = slot;
      this.memory.transmitPort[index] = port;
    }
    return this.engine.transmit(frames.length);
  }

  /** One burst, copied; its slots stay taken. */
  burst(max = 64, timeoutMs = 0): ReceivedFrame[] {
    const count = this.engine.receive(max, timeoutMs);
    return Array.from({ length: count }, (_, index) => {
      const slot = this.memory.receivedSlot[index] as number;
      const at = slot * this.memory.slotBytes;
      const whole = new Uint8Array(this.memory.arena).slice(
        at,
        at + VNET_HEADER_BYTES + (this.memory.slotLength[slot] as number),
      );
      const port = this.memory.receivedPort[index] as number;
      return { port, header: whole.slice(0, VNET_HEADER_BYTES), bytes: whole.slice(VNET_HEADER_BYTES) };
    });
  }

  /** Gives the slots of the last burst back. */
  free(count: number): void {
    const free = this.state(EngineState.FREE_COUNT);
    for (let index = 0; index < count; index++)
      this.memory.freeSlots[free + index] = this.memory.receivedSlot[index] as number;
    this.memory.state[EngineState.FREE_COUNT] = free + count;
  }

  /** Receives until `count` frames are there, or no more are to be expected. */
  receive(count: number): ReceivedFrame[] {
    const received: ReceivedFrame[] = [];
    for (let turn = 0; turn < MOST_BURSTS && received.length < count; turn++) {
      const burst = this.burst(count - received.length, BURST_MS);
      this.free(burst.length);
      received.push(...burst);
    }
    return received;
  }

  /** Receives until a port has failed; returns how often a failure was told. */
  receiveUntilFailed(port: number): number {
    let told = 0;
    for (let turn = 0; turn < MOST_BURSTS && this.memory.portErrors[port] === 0; turn++) {
      this.free(this.engine.receive(64, BURST_MS));
      told += this.state(EngineState.PORT_ERRORS);
    }
    return told;
  }
}

/** The bytes of frames, for a comparison. */
export function bytesOf(received: ReceivedFrame[]): Uint8Array[] {
  return received.map(({ bytes }) => bytes);
}
