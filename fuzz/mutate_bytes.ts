/** Changes bytes as somebody would who knows what a field is: bits, lengths, boundary numbers, cuts, pieces of others. */
import { concat } from "../test/support/frames.ts";
import type { Dice } from "./dice.ts";

const BOUNDARIES = [0, 1, 2, 3, 4, 7, 8, 15, 16, 19, 20, 31, 32, 63, 64, 127, 128, 255];
const WIDE = [0, 1, 7, 8, 20, 28, 127, 128, 255, 256, 1500, 0x7fff, 0x8000, 0xfff8, 0xfffe, 0xffff];
const WIDEST = [0, 1, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff, 0x10000, 262_144];

type Change = (dice: Dice, bytes: Uint8Array, others: readonly Uint8Array[]) => Uint8Array;

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const CHANGES: readonly Change[] = [
  (dice, bytes) => {
    bytes[dice.below(bytes.length)] ^= 1 << dice.below(8);
    return bytes;
  },
  (dice, bytes) => {
    bytes[dice.below(bytes.length)] = dice.once(2) ? dice.below(256) : dice.pick(BOUNDARIES);
    return bytes;
  },
  (dice, bytes) => {
    if (bytes.length >= 2) view(bytes).setUint16(dice.below(bytes.length - 1), dice.pick(WIDE), dice.once(2));
    return bytes;
  },
  (dice, bytes) => {
    if (bytes.length >= 4) view(bytes).setUint32(dice.below(bytes.length - 3), dice.pick(WIDEST), dice.once(2));
    return bytes;
  },
  (dice, bytes) => {
    const at = dice.below(bytes.length);
    bytes[at] += dice.once(2) ? 1 : -1;
    return bytes;
  },
  (dice, bytes) => bytes.slice(0, dice.below(bytes.length + 1)),
  (dice, bytes) => {
    // A piece twice.
    const from = dice.below(bytes.length);
    const piece = bytes.subarray(from, from + 1 + dice.below(64));
    return concat(bytes.subarray(0, from), piece, bytes.subarray(from));
  },
  (dice, bytes) => {
    const from = dice.below(bytes.length);
    return concat(bytes.subarray(0, from), bytes.subarray(from + 1 + dice.below(32)));
  },
  (dice, bytes, others) => {
    const other = dice.pick(others);
    return concat(bytes.subarray(0, dice.below(bytes.length + 1)), other.subarray(dice.below(other.length + 1)));
  },
];

/** A changed copy of one of `seeds`. */
export function mutateBytes(dice: Dice, seeds: readonly Uint8Array[], most = 4): Uint8Array {
  let bytes: Uint8Array = dice.pick(seeds).slice();
  for (let count = 1 + dice.below(most); count > 0 && bytes.length > 0; count--) {
    bytes = dice.pick(CHANGES)(dice, bytes, seeds);
  }
  return bytes;
}

/** Smaller bytes: pieces left out, then bytes made zero. */
export function* shrinkBytes(bytes: Uint8Array): Generator<Uint8Array> {
  for (let piece = bytes.length >> 1; piece >= 1; piece >>= 1) {
    for (let at = 0; at < bytes.length; at += piece) yield concat(bytes.subarray(0, at), bytes.subarray(at + piece));
  }
  for (let at = 0; at < bytes.length; at++) {
    if (bytes[at] === 0) continue;
    const simpler = bytes.slice();
    simpler[at] = 0;
    yield simpler;
  }
}

export const toHex = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
export const fromHex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));
