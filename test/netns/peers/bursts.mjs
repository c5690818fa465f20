/**
 * Senders and receivers of bursts, for what is merged. Each says "ready" when it waits, goes on at a line of its
 * standard input, says "sent" when the kernel has what it sends, and the receiver prints a line of JSON at the end:
 *
 *   datagrams ADDRESS PORT COUNT LENGTH   after one datagram that is answered: COUNT of them, number first, one of ten
 *                                         shorter by its number
 *   take-datagrams ADDRESS PORT COUNT     answers the first; prints numbers and lengths of the others, in order
 *   segments ADDRESS PORT COUNT LENGTH    COUNT times LENGTH bytes on one connection, at once; prints the lengths that came back
 *   echo ADDRESS PORT                     sends each connection's bytes back
 */
import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";

async function signal() {
  console.log("ready");
  await once(process.stdin, "data");
  process.stdin.destroy();
}

/** Datagram `number` of a burst: its length, and bytes that tell it from the others. */
function datagram(number, length) {
  const bytes = Buffer.alloc(number % 10 === 9 ? length - (number % 50) : length, number);
  bytes.writeUInt32BE(number, 0);
  return bytes;
}

async function datagrams(address, port, count, length) {
  const socket = dgram.createSocket("udp4");
  await new Promise((resolve) => socket.connect(Number(port), address, resolve));
  socket.send("hello");
  await once(socket, "message");
  await signal();
  for (let i = 0; i < Number(count); i++) socket.send(datagram(i, Number(length)));
  await new Promise((resolve) => socket.send("end", resolve));
  socket.close();
  console.log("sent");
}

async function takeDatagrams(address, port, count) {
  const socket = dgram.createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  const received = [];
  socket.on("message", (bytes, from) => {
    if (bytes.toString() === "hello") socket.send("hello", from.port, from.address);
    else if (bytes.toString() !== "end") {
      const number = bytes.readUInt32BE(0);
      received.push([number, bytes.length, bytes.subarray(4).every((byte) => byte === (number & 0xff))]);
    }
    if (received.length === Number(count) || bytes.toString() === "end") {
      console.log(JSON.stringify(received));
      socket.close();
    }
  });
  socket.bind(Number(port), address, () => console.log("ready"));
}

async function segments(address, port, count, length) {
  const socket = net.connect({ host: address, port: Number(port), noDelay: true });
  socket.write("hello");
  await once(socket, "data");
  await signal();
  // In one write: only its last segment pushes.
  const parts = Array.from({ length: Number(count) }, (_, index) => Buffer.alloc(Number(length), index + 1));
  await new Promise((resolve) => socket.write(Buffer.concat(parts), resolve));
  console.log("sent");
  socket.end();
  const back = [];
  for await (const bytes of socket) back.push(bytes);
  const runs =
    Buffer.concat(back)
      .toString("hex")
      .match(/(..)\1*/g) ?? [];
  console.log(JSON.stringify(runs.map((run) => run.length / 2)));
}

function echo(address, port) {
  net
    .createServer((socket) => socket.pipe(socket))
    .listen({ host: address, port: Number(port) }, () => {
      console.log("ready");
    });
}

const [use, ...words] = process.argv.slice(2);
await { datagrams, "take-datagrams": takeDatagrams, segments, echo }[use](...words);
