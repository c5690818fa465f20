/**
 * Captures: frames are copied, at the points of their walk where somebody looks, into the ring of each capture whose
 * expression selects them.
 *
 *     ingress      as it came from the port
 *     bridge       is switched inside its network
 *     prerouting   goes to the router: whole headers, before DNAT
 *     postrouting  is routed: translated, with its new hardware addresses, before it is cut into fragments
 *     egress       as it is written to the port, merged frames and fragments included
 *     drop         stops with a reason: unchanged, as it came
 *
 * Theory of operation. A router without captures has none of this: each hook is a branch on a field, once per burst or per
 * frame. Every copy is written at the time of its hook, because the bytes change later; but records are only published
 * at the end of the turn, so that `end` can still add to those of `ingress` and `prerouting` what became of the frame.
 * `stopOf` keeps that for `egress`. Rings are mapped once for each number and kept: the loop never returns to where
 * mappings could be given back.
 */

import { EtherType, etherType } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { selects } from "../pcap_filter/expression.ts";
import { describe } from "./capture_describe.ts";
import { Capture, type CapturePlan } from "./capture_plan.ts";
import { CaptureRingWriter, Hook, MOST_CAPTURES, RecordWord } from "./capture_ring.ts";
import { Counter } from "./counters.ts";
import { FLOOD } from "./next_hop.ts";
import type { Router } from "./router.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { ARP } = EtherType;
const { BRIDGE, DROP, EGRESS, INGRESS, POSTROUTING, PREROUTING } = Hook;
const { CONTINUE, FLOODED, FRAGMENT_HELD, ROUTED, SWITCHED } = Stop;

export class Captures {
  private readonly rings: (ArrayBuffer | undefined)[] = new Array(MOST_CAPTURES).fill(undefined);
  private running: Capture[] = [];
  private readonly byNumber: (Capture | undefined)[] = new Array(MOST_CAPTURES).fill(undefined);
  /** Hooks that some capture looks at. */
  private hooks = 0;
  /** Why the walk of the frame in each slot ended; -1: it has not, or not here. */
  private readonly stopOf: Int32Array;
  /** Wall clock: milliseconds since 1970, less what the monotonic clock showed. */
  private clockOffset = 0;

  constructor(slotCount: number) {
    this.stopOf = new Int32Array(slotCount).fill(-1);
  }

  get isEmpty(): boolean {
    return this.running.length === 0;
  }

  /** Begins a capture; `map` gives its ring's memory when this number has had none before. */
  start(plan: CapturePlan, map: () => ArrayBuffer): void {
    if (!(plan.capture >= 0 && plan.capture < MOST_CAPTURES)) throw new RangeError(`no capture ${plan.capture}`);
    this.rings[plan.capture] ??= map();
    const ring = new CaptureRingWriter(this.rings[plan.capture] as ArrayBuffer, plan.isBegun === true);
    this.byNumber[plan.capture] = new Capture(plan, ring, this.stopOf.length);
    this.settle();
  }

  stop(capture: number): void {
    this.byNumber[capture] = undefined;
    this.settle();
  }

  private settle(): void {
    this.running = this.byNumber.filter((each) => each !== undefined);
    this.hooks = this.running.reduce((hooks, each) => hooks | each.hooks, 0);
    this.stopOf.fill(-1);
  }

  /** A burst has come: the first `count` frames that `io` received. */
  ingress(router: Router, count: number): void {
    const { receivedSlot, receivedPort } = router.io;
    for (let i = 0; i < count; i++) this.stopOf[receivedSlot[i]] = -1;
    if ((this.hooks & (1 << INGRESS)) === 0) return;
    for (const capture of this.running) {
      if (!capture.wants(INGRESS)) continue;
      for (let i = 0; i < count; i++) {
        const port = receivedPort[i];
        const slot = receivedSlot[i];
        const at = this.record(router, capture, INGRESS, slot, port, router.ports.interfaceOf[port]);
        capture.ingressRecord[slot] = at;
      }
    }
  }

  /** Frames of the burst that go on are about to be tracked. */
  prerouting(router: Router, stops: Int32Array, count: number): void {
    if ((this.hooks & (1 << PREROUTING)) === 0) return;
    const { receivedSlot } = router.io;
    for (let i = 0; i < count; i++) {
      if (stops[i] === CONTINUE) this.preroutingOne(router, router.frames[receivedSlot[i]]);
    }
  }

  /** The same of one frame: a datagram that has become whole. */
  preroutingOne(router: Router, frame: Frame): void {
    for (const capture of this.running) {
      if (!capture.wants(PREROUTING)) continue;
      const { slot, ingressPort, ingressInterface } = frame;
      const at = this.record(router, capture, PREROUTING, slot, ingressPort, ingressInterface);
      capture.preroutingRecord[slot] = at;
    }
  }

  /** A frame's walk ends with `stop`; its bytes are those that would leave, or where it is dropped those that came. */
  end(router: Router, frame: Frame, stop: number): void {
    this.stopOf[frame.slot] = stop === ROUTED || stop === SWITCHED || stop === FLOODED ? stop : -1;
    for (const capture of this.running) {
      this.settleRecord(router, capture.ring, capture.ingressRecord, frame, stop);
      this.settleRecord(router, capture.ring, capture.preroutingRecord, frame, stop);
      if (stop === ROUTED) this.endRouted(router, capture, frame);
      else if (stop === SWITCHED || stop === FLOODED) this.endSwitched(router, capture, frame, stop);
      else if (stop > FRAGMENT_HELD) this.endDropped(router, capture, frame, stop);
    }
  }

  private endRouted(router: Router, capture: Capture, frame: Frame): void {
    if (!capture.wants(POSTROUTING)) return;
    const { slot, egressPort, egressInterface } = frame;
    const port = egressPort === FLOOD ? -1 : egressPort;
    const at = this.record(router, capture, POSTROUTING, slot, port, egressInterface);
    if (at >= 0) describe(router, capture.ring.words, at, frame, ROUTED);
  }

  private endSwitched(router: Router, capture: Capture, frame: Frame, stop: number): void {
    if (!capture.wants(BRIDGE)) return;
    const { slot, ingressPort, ingressInterface } = frame;
    const other = stop === FLOODED ? -1 : frame.egressPort;
    const { interfaceOf } = router.ports;
    if (!capture.covers(ingressPort, ingressInterface, interfaceOf)) {
      if (!capture.covers(other, ingressInterface, interfaceOf)) return;
    }
    const at = this.recordCovered(router, capture, BRIDGE, slot, ingressPort, ingressInterface);
    if (at < 0) return;
    capture.ring.words[at + RecordWord.OTHER_PORT] = other;
    describe(router, capture.ring.words, at, frame, stop);
  }

  private endDropped(router: Router, capture: Capture, frame: Frame, stop: number): void {
    if (!capture.wants(DROP)) return;
    const isOwn = frame.own !== 0;
    const port = isOwn ? -1 : frame.ingressPort;
    const at = this.record(
      router,
      capture,
      DROP,
      frame.slot,
      port,
      isOwn ? frame.egressInterface : frame.ingressInterface,
    );
    if (at >= 0) describe(router, capture.ring.words, at, frame, stop);
  }

  /** What the transmit arrays hold is written next; an entry with an offset is a piece of the frame before it. */
  egress(router: Router, count: number): void {
    const { transmitSlot, transmitOffset } = router.io;
    const isLooked = (this.hooks & (1 << EGRESS)) !== 0;
    for (let i = 0; isLooked && i < count; i++) {
      if (transmitOffset[i] !== 0) continue;
      for (const capture of this.running) if (capture.wants(EGRESS)) this.egressOne(router, capture, i, count);
    }
    for (let i = 0; i < count; i++) this.stopOf[transmitSlot[i]] = -1;
  }

  private egressOne(router: Router, capture: Capture, entry: number, count: number): void {
    const { transmitSlot, transmitPort, transmitOffset } = router.io;
    const { arena } = router;
    const slot = transmitSlot[entry];
    const port = transmitPort[entry];
    const interfaceIndex = router.ports.interfaceOf[port];
    if (!capture.covers(port, interfaceIndex, router.ports.interfaceOf)) return;
    let length = arena.slotLength[slot];
    for (let i = entry + 1; i < count && transmitOffset[i] !== 0; i++) {
      length += arena.slotLength[transmitSlot[i]] - transmitOffset[i];
    }
    const at = this.recordGathered(router, capture, EGRESS, slot, port, interfaceIndex, length);
    if (at < 0) return;
    let copied = Math.min(arena.slotLength[slot], capture.snapBytes);
    for (let i = entry + 1; i < count && transmitOffset[i] !== 0; i++) {
      const piece = transmitSlot[i];
      const start = router.frames[piece].at + transmitOffset[i];
      const rest = Math.min(arena.slotLength[piece] - transmitOffset[i], capture.snapBytes - copied);
      capture.ring.copy(at, copied, arena.bytes, start, rest);
      copied += rest;
    }
    const stop = this.stopOf[slot];
    const frame = router.frames[slot];
    if (stop >= 0) describe(router, capture.ring.words, at, frame, stop);
    // What is sent and was not routed, switched or cut from another is the router's own ARP.
    else if (etherType(router.memory, frame.at) === ARP) capture.ring.words[at + RecordWord.OWN] = 1;
  }

  /** The turn is over: what has been written may be read. */
  commit(): void {
    for (const { ring } of this.running) ring.commit();
  }

  /** Writes a record if the capture looks there and selects the frame; its index, or -1. */
  private record(
    router: Router,
    capture: Capture,
    hook: number,
    slot: number,
    port: number,
    interfaceIndex: number,
  ): number {
    if (!capture.covers(port, interfaceIndex, router.ports.interfaceOf)) return -1;
    return this.recordCovered(router, capture, hook, slot, port, interfaceIndex);
  }

  private recordCovered(
    router: Router,
    capture: Capture,
    hook: number,
    slot: number,
    port: number,
    interfaceIndex: number,
  ): number {
    const length = router.arena.slotLength[slot];
    return this.recordGathered(router, capture, hook, slot, port, interfaceIndex, length);
  }

  /** As `record`, of a frame of `length` bytes that begins in a slot and may go on elsewhere. */
  private recordGathered(
    router: Router,
    capture: Capture,
    hook: number,
    slot: number,
    port: number,
    interfaceIndex: number,
    length: number,
  ): number {
    const { arena, memory, counters } = router;
    const start = router.frames[slot].at;
    const here = arena.slotLength[slot];
    if (!selects(capture.program, memory, start, here, length)) return -1;
    const captured = Math.min(length, capture.snapBytes);
    const { ring } = capture;
    const at = ring.begin(hook, port, captured);
    if (at < 0) {
      counters.values[Counter.capturesLost]++;
      return -1;
    }
    ring.copy(at, 0, arena.bytes, start, Math.min(here, captured));
    counters.values[Counter.framesCaptured]++;
    counters.values[Counter.bytesCopied] += captured;
    const { words } = ring;
    words[at + RecordWord.INTERFACE] = interfaceIndex;
    words[at + RecordWord.OTHER_PORT] = -1;
    words[at + RecordWord.LENGTH] = length;
    words[at + RecordWord.STOP] = -1;
    words[at + RecordWord.RULE] = -1;
    words[at + RecordWord.DIRECTION] = -1;
    words[at + RecordWord.OWN] = 0;
    this.stampTime(words, at);
    return at;
  }

  /** Wall clock with the monotonic clock's resolution; set anew when the two have drifted apart. */
  private stampTime(words: Int32Array, at: number): void {
    const monotonic = performance.now();
    const wall = Date.now();
    let now = this.clockOffset + monotonic;
    if (now < wall || now >= wall + 2) {
      this.clockOffset = wall - monotonic;
      now = wall;
    }
    const seconds = Math.floor(now / 1000);
    words[at + RecordWord.SECONDS] = seconds;
    words[at + RecordWord.MICROSECONDS] = Math.floor((now - seconds * 1000) * 1000);
  }

  private settleRecord(router: Router, ring: CaptureRingWriter, records: Int32Array, frame: Frame, stop: number): void {
    const at = records[frame.slot];
    if (at < 0) return;
    records[frame.slot] = -1;
    describe(router, ring.words, at, frame, stop);
  }
}
