/**
 * Impairments: the frames of ports that are impaired on purpose, between the devices and the walk (ingress) and between
 * the walk and the devices (egress). Where no port is impaired, all that it costs is a look at `isActive` in each burst.
 *
 * Theory of operation. A frame that is held stays in its slot: the queue holds the slot's reference, as a neighbour's
 * queue does. Nothing is copied but what must change while others hold it (a corrupted frame that was flooded) and the
 * second copy of a frame that is duplicated before its walk, which changes it. `arrive` takes the impaired ports' frames
 * out of a burst that was received, `take` gives back those whose time has come, to walk as a burst of their own;
 * `depart` does both to what is about to be sent. The loop sleeps no longer than until `nextDue`.
 *
 * Slots are everybody's. A queue may hold as many as its limit says, and no more than are free beyond a reserve of a
 * quarter of the arena (a dynamic threshold: the more queues are full, the less each may have): ports that are not
 * impaired always find slots.
 */
import type { FrameIo } from "../io/port.ts";
import type { Arena } from "../packet/arena.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { segmentHeaderBytes, wirePackets } from "../packet/vnet_header.ts";
import { copyFrame, corruptFrame } from "./corrupt.ts";
import { Counter, type Counters } from "./counters.ts";
import { DueQueue } from "./due_queue.ts";
import { Impairment } from "./impairment.ts";
import type { ImpairmentRow } from "./messages.ts";
import type { ImpairmentPlan, PortPlan } from "./plan.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { IMPAIRMENT_FULL, IMPAIRMENT_LOSS, PORT_UNUSABLE } = Stop;

/** A flooded slot waits once for each of its ports. */
const ENTRIES_PER_SLOT = 4;

/** One direction: what is impaired, and what waits. */
class Direction {
  /** By port; undefined for those that are not impaired. */
  readonly of: (Impairment | undefined)[] = [];
  /** Made with the first impairment. */
  queue: DueQueue | undefined;

  /** When the next frame is due. */
  get nextDue(): number {
    return this.queue === undefined ? Number.POSITIVE_INFINITY : this.queue.nextDue;
  }
}

export class Impairments {
  /** Whether a port is impaired, or frames still wait. */
  isActive = false;
  readonly ingress = new Direction();
  readonly egress = new Direction();
  private readonly arena: Arena;
  private readonly io: FrameIo;
  private readonly counters: Counters;
  private readonly random: () => number;
  /** Slots that stay for the others. */
  private readonly reserve: number;
  /** Microseconds: a clock that does not wrap, and the wrapping milliseconds that it last saw. */
  private readonly clock = new Float64Array(2);

  constructor(arena: Arena, io: FrameIo, counters: Counters, random: () => number) {
    this.arena = arena;
    this.io = io;
    this.counters = counters;
    this.random = random;
    this.reserve = arena.slotCount >> 2;
  }

  /** Microseconds, counted from when the first port was impaired. */
  get now(): number {
    return this.clock[0];
  }

  /** Sets the clock: wrapped milliseconds, and microseconds of the present one. */
  setClock(milliseconds: number, microseconds: number): void {
    const { clock } = this;
    const whole = Math.floor(clock[0] / 1000) + ((milliseconds - clock[1]) | 0);
    clock[0] = whole * 1000 + microseconds;
    clock[1] = milliseconds;
  }

  /** How long nothing is due: at most `most` milliseconds, with a fraction. */
  idleMs(most: number): number {
    const next = Math.min(this.ingress.nextDue, this.egress.nextDue);
    const left = (next - this.clock[0]) / 1000;
    return left >= most ? most : left > 0 ? left : 0;
  }

  /** Takes what impaired ports have received out of the burst; returns how many frames are left of it. */
  arrive(count: number): number {
    const { receivedSlot, receivedPort } = this.io;
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const slot = receivedSlot[i];
      const port = receivedPort[i];
      const impairment = this.ingress.of[port];
      if (impairment === undefined) {
        receivedSlot[kept] = slot;
        receivedPort[kept++] = port;
        continue;
      }
      this.arena.adopt(slot);
      this.hold(this.ingress, impairment, slot, port);
    }
    return kept;
  }

  /** Puts frames whose time has come into the place of a burst that was received; returns how many, at most `most`. */
  take(most: number): number {
    return this.release(this.ingress, 0, most, this.io.receivedSlot, this.io.receivedPort);
  }

  /** Takes what leaves through impaired ports out of the transmit arrays, and puts in what is due; returns how many. */
  depart(count: number): number {
    const { transmitSlot, transmitPort } = this.io;
    let kept = 0;
    for (let i = 0; i < count; i++) {
      const slot = transmitSlot[i];
      const port = transmitPort[i];
      const impairment = this.egress.of[port];
      if (impairment === undefined) {
        transmitSlot[kept] = slot;
        transmitPort[kept++] = port;
        continue;
      }
      // Whatever its flow was, when it leaves it is joined to no other frame.
      this.arena.frames[slot].reference = -1;
      this.hold(this.egress, impairment, slot, port);
    }
    return this.release(this.egress, kept, transmitSlot.length, transmitSlot, transmitPort);
  }

  /** Takes a port's settings over from the plan. `now` is in wrapped milliseconds. */
  setPort(plan: PortPlan, now: number): void {
    if (!this.isActive) this.clock[1] = now;
    this.set(this.ingress, plan.index, plan.impairIn);
    this.set(this.egress, plan.index, plan.impairOut);
    this.updateActive();
  }

  /** Forgets a port and drops what waits there. */
  removePort(port: number): void {
    for (const direction of [this.ingress, this.egress]) {
      direction.of[port] = undefined;
      for (const slot of direction.queue?.takeAllOf(port) ?? []) this.drop(slot, PORT_UNUSABLE);
    }
    this.updateActive();
  }

  /** Frames that wait. */
  get held(): number {
    return (this.ingress.queue?.size ?? 0) + (this.egress.queue?.size ?? 0);
  }

  /** What is impaired, and what it has done. */
  rows(): ImpairmentRow[] {
    const rowsOf = ({ of }: Direction, direction: ImpairmentRow["direction"]): ImpairmentRow[] =>
      of.flatMap((impairment, port) =>
        impairment === undefined ? [] : [{ port, direction, ...impairment.counted() }],
      );
    return [...rowsOf(this.ingress, "in"), ...rowsOf(this.egress, "out")];
  }

  private set(direction: Direction, port: number, plan: ImpairmentPlan | undefined): void {
    const present = direction.of[port];
    if (plan === undefined) {
      direction.of[port] = undefined;
      if (present !== undefined) this.hurry(direction, port);
    } else if (present !== undefined) {
      if (JSON.stringify(plan) !== JSON.stringify(present.plan)) present.change(plan);
    } else {
      direction.queue ??= new DueQueue(this.arena.slotCount * ENTRIES_PER_SLOT);
      const impairment = new Impairment(plan, this.random());
      impairment.waiting = direction.queue.countOf(port);
      direction.of[port] = impairment;
    }
  }

  /** What waits at a port that is impaired no more leaves at once, in its order. */
  private hurry({ queue }: Direction, port: number): void {
    for (const slot of queue?.takeAllOf(port) ?? []) queue?.push(this.clock[0], slot, port);
  }

  private updateActive(): void {
    const isImpaired = ({ of }: Direction): boolean => of.some((impairment) => impairment !== undefined);
    this.isActive = isImpaired(this.ingress) || isImpaired(this.egress) || this.held > 0;
  }

  /** Decides what becomes of a frame; its reference goes with it. */
  private hold(direction: Direction, impairment: Impairment, slot: number, port: number): void {
    impairment.frames++;
    impairment.bytes += this.arena.slotLength[slot];
    const isDouble = impairment.isDuplicated();
    if (impairment.isLost()) {
      // Of two that were to be, one is left.
      if (isDouble) this.delay(direction, impairment, slot, port);
      else this.lose(impairment, slot);
      return;
    }
    const second = isDouble ? this.double(direction, slot) : -1;
    this.delay(direction, impairment, slot, port);
    if (second < 0) return;
    impairment.duplicated++;
    if (impairment.isLost()) this.lose(impairment, second);
    else this.delay(direction, impairment, second, port);
  }

  private lose(impairment: Impairment, slot: number): void {
    impairment.lost++;
    this.drop(slot, IMPAIRMENT_LOSS);
  }

  /** The same frame once more; -1 where there is no slot for it. */
  private double(direction: Direction, slot: number): number {
    if (direction === this.ingress) return this.copied(copyFrame(this.arena, slot));
    this.arena.retain(slot);
    return slot;
  }

  private copied(slot: number): number {
    if (slot >= 0) this.counters.values[Counter.bytesCopied] += this.arena.slotLength[slot];
    return slot;
  }

  private delay({ queue }: Direction, impairment: Impairment, slot: number, port: number): void {
    const { arena } = this;
    if (impairment.isCorrupted()) {
      const corrupted = corruptFrame(arena, slot, impairment);
      // Without a slot to copy it to, it is lost as what it would have become: of no use to anybody.
      if (corrupted < 0) {
        this.drop(slot, IMPAIRMENT_FULL);
        return;
      }
      impairment.corrupted++;
      if (corrupted !== slot) this.copied(corrupted);
      slot = corrupted;
      arena.frames[slot].reference = -1;
    }
    if (queue === undefined || queue.isFull || !this.hasRoom(impairment)) {
      impairment.overLimit++;
      this.drop(slot, IMPAIRMENT_FULL);
      return;
    }
    const { memory } = arena;
    const { at } = arena.frames[slot];
    const length = arena.slotLength[slot];
    const packets = wirePackets(memory, at, length);
    const bytes = packets === 1 ? length : length + (packets - 1) * segmentHeaderBytes(memory, at, length);
    queue.push(impairment.dueAt(this.clock[0], bytes, packets), slot, port);
    impairment.waiting++;
  }

  private hasRoom({ waiting, plan }: Impairment): boolean {
    return waiting < plan.limit && waiting < this.arena.free[0] - this.reserve;
  }

  /** Puts what is due into arrays from place `count` on, up to `most`; returns how many places are taken then. */
  private release(direction: Direction, count: number, most: number, slots: Int32Array, ports: Int32Array): number {
    const { queue } = direction;
    if (queue === undefined) return count;
    let isForgotten = false;
    while (count < most && queue.nextDue <= this.clock[0]) {
      queue.pop();
      slots[count] = queue.slot;
      ports[count++] = queue.port;
      const impairment = direction.of[queue.port];
      if (impairment === undefined) isForgotten = true;
      else impairment.waiting--;
    }
    if (isForgotten) this.updateActive();
    return count;
  }

  private drop(slot: number, reason: number): void {
    this.counters.stops[reason]++;
    this.arena.release(slot);
  }
}
