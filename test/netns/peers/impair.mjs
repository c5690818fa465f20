// A bad cable: carries frames between two devices, and loses, doubles and delays some by a seeded generator.
//
//     node impair.mjs DEVICE DEVICE SEED
import { native } from "../../../dist/src/io/native.js";

const SLOTS = 512;
const SLOT_BYTES = 65_728;
const BURST = 64;
/** Of a thousand frames. */
const LOST = 10;
const DOUBLED = 10;
const DELAYED = 20;
/** Frames that overtake a delayed one; it goes on by itself when so many milliseconds bring none. */
const OVERTAKING = 3;
const IDLE_MS = 5;

const [left, right, seed] = process.argv.slice(2);
const addon = native();
const state = new Int32Array(16);
const memory = {
  arena: addon.allocateMemory(SLOTS * SLOT_BYTES),
  slotBytes: SLOT_BYTES,
  slotCount: SLOTS,
  slotLength: new Int32Array(SLOTS),
  freeSlots: Int32Array.from({ length: SLOTS }, (_, slot) => slot),
  receivedSlot: new Int32Array(BURST),
  receivedPort: new Int32Array(BURST),
  transmitSlot: new Int32Array(BURST * 4),
  transmitPort: new Int32Array(BURST * 4),
  state,
  portErrors: new Int32Array(2),
  portCounters: new Float64Array(2 * 8),
};
state[0] = SLOTS;
const engine = addon.createEngine(memory);
[left, right].forEach((device, port) => {
  engine.addPort(port, addon.openPacketSocket({ device }).fd, 1);
});

let random = Number(seed);
function dice() {
  random = (Math.imul(random, 1_664_525) + 1_013_904_223) | 0;
  return ((random >>> 8) % 1000) + 1;
}

let count = 0;
/** Frames that wait to be overtaken: slot, port, and how many have yet to pass. */
const delayed = [];

function queue(slot, port) {
  memory.transmitSlot[count] = slot;
  memory.transmitPort[count++] = port;
}

function take(slot, port) {
  const thrown = dice();
  if (thrown <= LOST) return;
  if (thrown <= LOST + DELAYED) {
    delayed.push({ slot, port, left: OVERTAKING });
    return;
  }
  queue(slot, port);
  if (thrown <= LOST + DELAYED + DOUBLED) queue(slot, port);
}

process.on("SIGTERM", () => process.exit(0));
console.log("ready");

function turn() {
  const got = engine.receive(BURST, IDLE_MS);
  count = 0;
  const held = new Set();
  for (let i = 0; i < got; i++) take(memory.receivedSlot[i], 1 - memory.receivedPort[i]);
  for (const frame of delayed.splice(0)) {
    if (got === 0 || frame.left <= 0) queue(frame.slot, frame.port);
    else delayed.push({ ...frame, left: frame.left - got });
  }
  for (const frame of delayed) held.add(frame.slot);
  if (count > 0) engine.transmit(count);
  // What has been sent or lost is free again; what waits is not.
  const used = new Set([...memory.receivedSlot.subarray(0, got), ...memory.transmitSlot.subarray(0, count)]);
  for (const slot of used) if (!held.has(slot)) memory.freeSlots[state[0]++] = slot;
  setImmediate(turn);
}
turn();
