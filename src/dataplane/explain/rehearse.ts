/**
 * A rehearsal: a frame takes the walk that it would take if it came in now, through the very stages and tables of the
 * running router, between two bursts; then everything is put back. No device sees a frame, no counter, timer, token
 * bucket, table or random number is changed in the end.
 *
 * Theory of operation. Every table that a packet can change notes what it changes in one journal (`packet/journal.ts`),
 * small ones as a whole. Frames that would leave are taken by the `Stage` that stands in for the devices. Rules with a
 * limit are asked dry: they say what they would, and use nothing up. Random words that are drawn are drawn again by the
 * next packet, so that it gets the very port that was foretold. Frames that already wait for a neighbour are left
 * waiting. The digest of all of the router's state is the same before and after (`test/walk/explain.test.ts`).
 *
 * Cost: the journal copies the neighbour table, the counters, the rules' counters and the free list, together some
 * hundred kilobytes: less than a millisecond, in which the devices' queues hold what comes.
 */
import { LARGEST_FRAME_BYTES, VNET_HEADER_BYTES } from "../../packet/arena.ts";
import { Journal } from "../../packet/journal.ts";
import { runBurst } from "../pipeline.ts";
import type { Router } from "../router.ts";
import { Recorder } from "./recorder.ts";
import type { Walk } from "./steps.ts";

/** A frame that would have left. */
export interface Performed {
  port: number;
  /** The router's own: an answer, or a question for a next hop. */
  own: boolean;
  bytes: Uint8Array;
  vnetHeader: Uint8Array;
}

/** Takes the place of the devices. */
export class Stage {
  readonly performed: Performed[] = [];

  /** Takes the first `count` entries of the transmit arrays, and frees them. */
  take(router: Router, count: number): void {
    const { arena, io, frames } = router;
    for (let i = 0; i < count; i++) {
      const slot = io.transmitSlot[i];
      const { at, own } = frames[slot];
      this.performed.push({
        port: io.transmitPort[i],
        own: own !== 0,
        bytes: arena.bytes.slice(at, at + arena.slotLength[slot]),
        vnetHeader: arena.bytes.slice(at - VNET_HEADER_BYTES, at),
      });
      arena.release(slot);
    }
    router.transmitCount = 0;
  }
}

export interface Rehearsal {
  walk: Walk;
  /** Reference of its flow, -1 without one: that which the packet would get, or has. */
  reference: number;
  performed: Performed[];
}

/**
 * What the router would do with `frame` (an Ethernet frame) if it came in by `port` now. To be called between bursts,
 * when nothing waits to be sent.
 * @throws RangeError for a frame that no device could bring, and when no slot is free.
 */
export function rehearse(router: Router, port: number, frame: Uint8Array, vnetHeader?: Uint8Array): Rehearsal {
  if (frame.length > LARGEST_FRAME_BYTES) throw new RangeError(`a frame has at most ${LARGEST_FRAME_BYTES} bytes`);
  const journal = new Journal();
  const stage = new Stage();
  let ended: { walk: Walk; reference: number } | undefined;
  journalRouter(router, journal, port);
  try {
    router.stage = stage;
    // What does not happen is not captured.
    router.captures = undefined;
    router.recorder = new Recorder(router, {
      wants: () => 1,
      done: (walk, reference) => {
        ended = { walk, reference };
      },
    });
    place(router, port, frame, vnetHeader);
    runBurst(router, 1);
    router.flush();
  } finally {
    journal.undo();
  }
  if (ended === undefined) throw new Error("the walk of the packet has no end");
  return { ...ended, performed: stage.performed };
}

function journalRouter(router: Router, journal: Journal, port: number): void {
  journal.numbers(router);
  journal.fields(router, "hasRuns", "recorder", "stage", "captures");
  journal.copy(router.counters.stops);
  journal.copy(router.counters.values);
  router.arena.rehearse(journal);
  router.epochs.rehearse(journal);
  router.macs.rehearse(journal, port);
  router.neighbours.rehearse(journal);
  router.flows.rehearse(journal);
  router.sourceNat.rehearse(journal);
  router.hostFlows.rehearse(journal);
  router.fragments.rehearse(journal);
  router.icmpLimiter.rehearse(journal);
  router.police.rehearse(journal, port);
  router.rules.rehearse(journal);
  router.randomSource.rehearse(journal);
}

/** Puts the frame where a device would put it. */
function place(router: Router, port: number, frame: Uint8Array, vnetHeader?: Uint8Array): void {
  const { arena, io } = router;
  const slot = arena.take();
  if (slot < 0) throw new RangeError("no slot is free for the packet");
  const { at } = arena.frames[slot];
  arena.bytes.fill(0, at - VNET_HEADER_BYTES, at);
  if (vnetHeader !== undefined) arena.bytes.set(vnetHeader, at - VNET_HEADER_BYTES);
  arena.bytes.set(frame, at);
  arena.slotLength[slot] = frame.length;
  io.receivedSlot[0] = slot;
  io.receivedPort[0] = port;
}
