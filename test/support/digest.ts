/**
 * A digest of all that a router remembers, by walking its objects: whatever table somebody adds is in it without being
 * told. What is only scratch paper of one packet or one question is left out by name.
 */
import type { Router } from "../../src/dataplane/router.ts";
import type { Arena } from "../../src/packet/arena.ts";

/** Fields that hold nothing from one packet to the next. `random` and its source are tested by what they give. */
const SCRATCH = new Set([
  "Router.filterKey",
  "Router.plan",
  "Router.merger",
  "Router.outbox",
  "Router.randomSource",
  "Router.routes",
  "Router.nat",
  "Router.surroundings",
  "CompiledRules.trace",
  "CompiledRules.traced",
  "CompiledRules.decided",
  "CompiledRules.isPolicy",
  "CompiledRules.stackChain",
  "CompiledRules.stackRule",
  "CompiledRules.depth",
  "CompiledRules.ruleSet",
  "CompiledChain.found",
  "CompiledChain.chain",
  "CompiledChain.dimensions",
]);

/** Where the frames lie is looked at apart (`visitArena`); devices hold nothing between bursts. */
const APART = new Set(["Arena", "Frame", "DataView", "MemoryIo"]);

/** Hash of each leaf by its path. */
export type Digest = Map<string, number>;

export function digest(router: Router): Digest {
  const leaves: Digest = new Map();
  const seen = new Set<object>();
  const visit = (value: unknown, path: string): void => {
    if (value === undefined || typeof value === "function") return;
    if (APART.has((value as object | null)?.constructor.name ?? "")) return;
    if (typeof value !== "object" || value === null) {
      leaves.set(path, hashOfText(String(value)));
    } else if (ArrayBuffer.isView(value)) {
      leaves.set(path, hashOfBytes(value));
    } else if (!seen.has(value)) {
      seen.add(value);
      for (const [name, next] of value instanceof Map ? value : Object.entries(value)) {
        if (!SCRATCH.has(`${value.constructor.name}.${name}`)) visit(next, `${path}.${name}`);
      }
    }
  };
  visit(router, "router");
  visitArena(router.arena, leaves);
  return leaves;
}

/** Slots that somebody holds: their bytes and frames. What lies in free ones is nobody's. */
function visitArena(arena: Arena, leaves: Digest): void {
  const free = arena.free[0];
  leaves.set("arena.free", free);
  leaves.set("arena.freeSlots", hashOfBytes(arena.freeSlots.subarray(0, free)));
  leaves.set("arena.references", hashOfBytes(arena.references));
  const isFree = new Set(arena.freeSlots.subarray(0, free));
  for (const frame of arena.frames) {
    if (isFree.has(frame.slot)) continue;
    const length = arena.slotLength[frame.slot];
    leaves.set(
      `slot ${frame.slot}`,
      hashOfBytes(arena.bytes.subarray(frame.at - 10, frame.at + Math.max(length, 2048))),
    );
    leaves.set(`frame ${frame.slot}`, hashOfText(JSON.stringify(frame)));
  }
}

function hashOfText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}

function hashOfBytes(view: ArrayBufferView): number {
  const isAligned = view.byteOffset % 4 === 0 && view.byteLength % 4 === 0;
  const values = isAligned
    ? new Int32Array(view.buffer, view.byteOffset, view.byteLength / 4)
    : new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  let hash = 0x811c9dc5;
  for (let i = 0; i < values.length; i++) hash = Math.imul(hash ^ values[i], 0x01000193);
  return hash;
}

/** Paths whose hashes differ. */
export function differences(before: Digest, after: Digest): string[] {
  const paths = new Set([...before.keys(), ...after.keys()]);
  return [...paths].filter((path) => before.get(path) !== after.get(path));
}
