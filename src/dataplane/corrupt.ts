/**
 * Corruption: one random bit of a frame is turned over, as a bad wire does it, so that whoever verifies the frame finds
 * it wrong.
 *
 * A checksum that is still to be completed (offload) would be computed over the wrong bit and hide it: it is completed
 * first. In a super-frame nothing is covered by a checksum but the IPv4 header: its bit is one of the first byte of the
 * packet (version and header length), which every receiver looks at.
 */
import type { Arena } from "../packet/arena.ts";
import { VNET_HEADER_BYTES } from "../packet/arena.ts";
import { ETHERNET_HEADER_BYTES } from "../packet/ethernet.ts";
import { completeChecksum } from "../packet/offload.ts";
import { clearVnetHeader, GsoType, gsoType } from "../packet/vnet_header.ts";
import type { Impairment } from "./impairment.ts";

/**
 * Turns a bit of the frame in `slot`. A slot that others hold too is copied first. Returns the slot to
 * go on with, or -1 where there was none to copy to; the reference to `slot` goes over to it.
 */
export function corruptFrame(arena: Arena, slot: number, chance: Impairment): number {
  const own = arena.references[slot] === 1 ? slot : copyFrame(arena, slot);
  if (own < 0) return -1;
  if (own !== slot) arena.release(slot);
  const { memory } = arena;
  const { at } = arena.frames[own];
  const length = arena.slotLength[own];
  if (gsoType(memory, at) !== GsoType.NONE && length > ETHERNET_HEADER_BYTES) {
    flip(memory, at + ETHERNET_HEADER_BYTES, chance.pick(8));
    return own;
  }
  completeChecksum(memory, at, length);
  // "Verified already" holds no more either.
  clearVnetHeader(memory, at);
  if (length > 0) flip(memory, at + chance.pick(length), chance.pick(8));
  return own;
}

/** A copy of a frame in a slot of its own, with one reference; -1 when no slot is free. */
export function copyFrame(arena: Arena, slot: number): number {
  const copy = arena.take();
  if (copy < 0) return -1;
  const from = arena.frames[slot].at - VNET_HEADER_BYTES;
  const length = arena.slotLength[slot];
  arena.bytes.copyWithin(arena.frames[copy].at - VNET_HEADER_BYTES, from, from + VNET_HEADER_BYTES + length);
  arena.slotLength[copy] = length;
  return copy;
}

function flip(memory: DataView, at: number, bit: number): void {
  memory.setUint8(at, memory.getUint8(at) ^ (1 << bit));
}
