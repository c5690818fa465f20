/**
 * Traffic that goes on until it is told to end, by a line on standard input. Each says "going" once it is answered, and
 * prints a line of JSON at the end:
 *
 *   up ADDRESS PORT COUNT     that many TCP connections to `peer.mjs serve`, each sending a piece now and then; how many got the
 *                             right hash back, and the bytes of all
 *   pulse ADDRESS PORT OWN    numbered datagrams to `peer.mjs udp-serve` from port OWN; how many went and were answered, from
 *                             which ports they seemed to come, and the longest time without an answer
 */
import { createHash } from "node:crypto";
import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const PIECE_BYTES = 20_000;
const PIECE_MS = 10;
const PULSE_MS = 2;
/** After the last datagram, for what is still under way. */
const LAST_MS = 500;

let isOver = false;
process.stdin.once("data", () => {
  isOver = true;
  process.stdin.destroy();
});

async function send(socket, seed) {
  const hash = createHash("sha256");
  let bytes = 0;
  socket.write("up\n");
  for (let number = 0; !isOver; number++) {
    const piece = Buffer.alloc(PIECE_BYTES, `${seed}-${number}-`);
    hash.update(piece);
    bytes += piece.length;
    if (!socket.write(piece)) await once(socket, "drain");
    await sleep(PIECE_MS);
  }
  socket.end();
  const answer = [];
  for await (const part of socket) answer.push(part);
  return { isSame: Buffer.concat(answer).toString() === hash.digest("hex"), bytes };
}

async function up(address, port, count) {
  const sockets = Array.from({ length: Number(count) }, () => net.connect({ host: address, port: Number(port) }));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  console.log("going");
  const results = await Promise.all(sockets.map(send));
  const bytes = results.reduce((sum, result) => sum + result.bytes, 0);
  console.log(JSON.stringify({ same: results.filter(({ isSame }) => isSame).length, bytes }));
}

async function pulse(address, port, own) {
  const socket = dgram.createSocket("udp4");
  await new Promise((resolve) => socket.bind(Number(own), resolve));
  await new Promise((resolve) => socket.connect(Number(port), address, resolve));
  // While nobody listens: an ICMP error, and no more.
  socket.on("error", () => {});
  const answered = new Set();
  const seenAs = new Set();
  let sent = 0;
  let silentMs = 0;
  let lastAt = performance.now();
  socket.on("message", (bytes) => {
    const [, from, number] = bytes.toString().split(" ");
    if (answered.size === 0) console.log("going");
    else silentMs = Math.max(silentMs, performance.now() - lastAt);
    lastAt = performance.now();
    answered.add(number);
    seenAs.add(from);
  });
  while (!isOver) {
    socket.send(String(sent++));
    await sleep(PULSE_MS);
  }
  await sleep(LAST_MS);
  socket.close();
  console.log(JSON.stringify({ sent, answered: answered.size, seenAs: [...seenAs], silentMs: Math.round(silentMs) }));
}

const [use, ...words] = process.argv.slice(2);
await { up, pulse }[use](...words);
