/**
 * Floods from inside a namespace, by a packet socket of eth0: datagrams of flows of their own, from made-up hardware
 * addresses, until it is told to end or COUNT are sent. Says "flooding" once it does, and how many were sent at the end.
 *
 *   flood.mjs GATEWAY-MAC SOURCE DESTINATION COUNT
 */
import { writeSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { native } from "../../../dist/src/io/native.js";

const VNET = 10;
const IP = VNET + 14;
const WAVE = 256;

const [gateway, source, destination, count] = process.argv.slice(2);
const octets = (text, separator, base) => text.split(separator).map((part) => Number.parseInt(part, base));

const frame = Buffer.alloc(IP + 20 + 26);
frame.set(octets(gateway, ":", 16), VNET);
frame.set([6, 0, 0, 0, 0, 0, 8, 0], VNET + 6);
frame.set([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0], IP);
frame.set(octets(source, ".", 10), IP + 12);
frame.set(octets(destination, ".", 10), IP + 16);
let sum = 0;
for (let at = IP; at < IP + 20; at += 2) sum += frame.readUInt16BE(at);
while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
frame.writeUInt16BE(~sum & 0xffff, IP + 10);
frame.writeUInt16BE(26, IP + 24);

const { fd } = native().openPacketSocket({ device: "eth0", netns: "/proc/self/ns/net" });
let sent = 0;
let isOver = false;
process.on("SIGTERM", () => {
  isOver = true;
});

function send(number) {
  // UDP without a checksum (RFC 768): ports alone make another flow.
  frame.writeUInt32BE(number, VNET + 8);
  frame.writeUInt16BE(1024 + (number % 60_000), IP + 20);
  frame.writeUInt16BE(1 + Math.floor(number / 60_000), IP + 22);
  try {
    writeSync(fd, frame);
    sent++;
  } catch (error) {
    // The device's queue is full: as it should be.
    if (!["EAGAIN", "ENOBUFS"].includes(error.code)) throw error;
  }
}

for (let number = 0; number < Number(count) && !isOver; number++) {
  send(number);
  if (number === WAVE) console.log("flooding");
  if (number % WAVE === 0) await setImmediate();
}
console.log(JSON.stringify({ sent }));
