/** Packet sockets on devices in other namespaces: frames go out and come in as they are, and no stack takes part. */
import { EngineState, native, PortCounter, PortKind } from "../../../src/io/native.ts";
import { Arena, SLOT_BYTES } from "../../../src/packet/arena.ts";
import { netnsPath } from "../netns.ts";

const SLOTS = 128;

export interface Arrived {
  /** Index of the device in the list that the wire was made with. */
  port: number;
  bytes: Uint8Array;
}

export interface Device {
  netns: string;
  device: string;
}

export class Wire {
  private readonly arena: Arena;
  private readonly engine;
  private readonly descriptors: number[];
  private readonly receivedSlot = new Int32Array(SLOTS);
  private readonly receivedPort = new Int32Array(SLOTS);
  private readonly transmitSlot = new Int32Array(1);
  private readonly transmitPort = new Int32Array(1);

  constructor(devices: readonly Device[]) {
    const state = new Int32Array(EngineState.WORDS);
    const free = state.subarray(EngineState.FREE_COUNT, EngineState.FREE_COUNT + 1);
    this.arena = new Arena(native().allocateMemory(SLOTS * SLOT_BYTES), SLOTS, free);
    this.engine = native().createEngine({
      arena: this.arena.buffer,
      slotBytes: SLOT_BYTES,
      slotCount: SLOTS,
      slotLength: this.arena.slotLength,
      freeSlots: this.arena.freeSlots,
      receivedSlot: this.receivedSlot,
      receivedPort: this.receivedPort,
      transmitSlot: this.transmitSlot,
      transmitPort: this.transmitPort,
      state,
      portErrors: new Int32Array(devices.length),
      portCounters: new Float64Array(devices.length * PortCounter.COUNT),
    });
    this.descriptors = devices.map(({ netns, device }, port) => {
      const { fd } = native().openPacketSocket({ device, netns: netnsPath(netns), vnetHeader: false });
      this.engine.addPort(port, fd, PortKind.PACKET);
      return fd;
    });
  }

  /** Sends one frame; throws when the device does not take it. */
  send(port: number, bytes: Uint8Array): void {
    const slot = this.arena.take();
    this.arena.bytes.set(bytes, this.arena.frames[slot].at);
    this.arena.slotLength[slot] = bytes.length;
    this.transmitSlot[0] = slot;
    this.transmitPort[0] = port;
    const sent = this.engine.transmit(1);
    this.arena.release(slot);
    if (sent !== 1) throw new Error(`the device did not take a frame of ${bytes.length} bytes`);
  }

  /** The frames that have come, in the order of each device; waits at most `timeoutMs` for the first. */
  receive(timeoutMs: number): Arrived[] {
    const count = this.engine.receive(SLOTS, timeoutMs);
    const arrived: Arrived[] = [];
    for (let i = 0; i < count; i++) {
      const slot = this.receivedSlot[i];
      const { at } = this.arena.frames[slot];
      arrived.push({ port: this.receivedPort[i], bytes: this.arena.bytes.slice(at, at + this.arena.slotLength[slot]) });
      this.arena.adopt(slot);
      this.arena.release(slot);
    }
    return arrived;
  }

  close(): void {
    this.engine.close();
    for (const fd of this.descriptors) native().closeDescriptor(fd);
  }
}
