/**
 * The lab's own capture: a packet socket at each place, read through the addon. It needs no tcpdump. Both directions
 * are seen, because the sockets do not ignore what the device sends.
 */
import { type Engine, EngineState, native, PortCounter, PortKind } from "../../io/native.ts";
import { Arena, SLOT_BYTES } from "../../packet/arena.ts";
import { netnsPath, type Place } from "./places.ts";
import { type SeenPacket, seePacket } from "./seen.ts";

const SLOT_COUNT = 64;

/** What was seen at each place, oldest first. */
export type Sight = ReadonlyMap<Place, SeenPacket[]>;

export class Capture {
  private readonly places: readonly Place[];
  private readonly descriptors: number[] = [];
  private readonly arena: Arena;
  private readonly receivedSlot = new Int32Array(SLOT_COUNT);
  private readonly receivedPort = new Int32Array(SLOT_COUNT);
  private readonly engine: Engine;
  private isClosed = false;

  /** Opens the sockets: what passes from now on is kept by the kernel until `finish`. */
  constructor(places: readonly Place[]) {
    this.places = places;
    const state = new Int32Array(EngineState.WORDS);
    const free = state.subarray(EngineState.FREE_COUNT, EngineState.FREE_COUNT + 1);
    this.arena = new Arena(native().allocateMemory(SLOT_COUNT * SLOT_BYTES), SLOT_COUNT, free);
    this.engine = native().createEngine({
      arena: this.arena.buffer,
      slotBytes: SLOT_BYTES,
      slotCount: SLOT_COUNT,
      slotLength: this.arena.slotLength,
      freeSlots: this.arena.freeSlots,
      receivedSlot: this.receivedSlot,
      receivedPort: this.receivedPort,
      transmitSlot: new Int32Array(1),
      transmitPort: new Int32Array(1),
      state,
      portErrors: new Int32Array(places.length),
      portCounters: new Float64Array(places.length * PortCounter.COUNT),
    });
    try {
      places.forEach((place, port) => {
        this.open(place, port);
      });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  private open({ netns, device }: Place, port: number): void {
    const { fd } = native().openPacketSocket({ device, netns: netnsPath(netns), outgoing: true });
    this.descriptors.push(fd);
    this.engine.addPort(port, fd, PortKind.PACKET);
  }

  /** Takes what has passed since the sockets were opened, and closes them. */
  finish(): Sight {
    const sight = new Map(this.places.map((place) => [place, [] as SeenPacket[]]));
    for (;;) {
      const count = this.engine.receive(SLOT_COUNT, 0);
      if (count === 0) break;
      for (let i = 0; i < count; i++) {
        const slot = this.receivedSlot[i];
        const { at } = this.arena.frames[slot];
        const packet = seePacket(this.arena.bytes.slice(at, at + this.arena.slotLength[slot]));
        if (packet !== undefined) sight.get(this.places[this.receivedPort[i]])?.push(packet);
        this.arena.adopt(slot);
        this.arena.release(slot);
      }
    }
    this.close();
    return sight;
  }

  /** Once more does no harm. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.engine.close();
    for (const descriptor of this.descriptors.splice(0)) native().closeDescriptor(descriptor);
  }
}
