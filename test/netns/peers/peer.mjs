/**
 * What runs inside the namespaces of the traffic tests. Each use prints one line of JSON, or "listening" first:
 *
 *   serve ADDRESS PORT             TCP: a request line "up" reads to the end and answers the SHA-256; "down BYTES"
 *                                  sends that many bytes; "echo TEXT" sends the line back
 *   up|down ADDRESS PORT BYTES     one transfer; prints { hash, expected }
 *   many ADDRESS PORT COUNT        COUNT connections at once, each an echo; prints { answered, failed }
 *   udp-serve ADDRESS PORT         answers each datagram with who sent it, `from ADDRESS:PORT TEXT`
 *   udp ADDRESS PORT OWN TEXT N    sends N datagrams from port OWN, one after the other's answer; prints the answers
 */
import { createHash } from "node:crypto";
import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";

const CHUNK = Buffer.alloc(1 << 20, "0123456789abcdefghijklmnopqrstuvwxyz-tapir");
const PATIENCE_MS = 60_000;

/** The same bytes at both ends: the chunk over and over, with its number in front so that no two are alike. */
function* content(bytes) {
  for (let sent = 0, number = 0; sent < bytes; number++) {
    const chunk = Buffer.from(CHUNK.subarray(0, Math.min(CHUNK.length, bytes - sent)));
    if (chunk.length >= 4) chunk.writeUInt32BE(number, 0);
    sent += chunk.length;
    yield chunk;
  }
}

function hashOf(bytes) {
  const hash = createHash("sha256");
  for (const chunk of content(bytes)) hash.update(chunk);
  return hash.digest("hex");
}

async function write(socket, bytes) {
  for (const chunk of content(bytes)) if (!socket.write(chunk)) await once(socket, "drain");
}

async function hashRest(socket, early) {
  // Not by iteration: that would destroy the socket at the end of one direction.
  const hash = createHash("sha256").update(early);
  socket.on("data", (chunk) => hash.update(chunk));
  socket.resume();
  if (!socket.readableEnded) await once(socket, "end");
  return hash.digest("hex");
}

async function requestLine(socket) {
  let head = Buffer.alloc(0);
  while (!head.includes(10)) head = Buffer.concat([head, (await once(socket, "data"))[0]]);
  socket.pause();
  const end = head.indexOf(10);
  return [head.subarray(0, end).toString(), head.subarray(end + 1)];
}

async function serveOne(socket) {
  const [line, rest] = await requestLine(socket);
  const [verb, argument] = line.split(" ");
  if (verb === "up") socket.end(await hashRest(socket, rest));
  else if (verb === "down") {
    await write(socket, Number(argument));
    socket.end();
  } else socket.end(`${argument}\n`);
}

function serve(address, port) {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    serveOne(socket).catch(() => socket.destroy());
  });
  server.listen({ port: Number(port), host: address, backlog: 512 }, () => console.log("listening"));
}

function connect(address, port) {
  const socket = net.connect({ host: address, port: Number(port), allowHalfOpen: true });
  socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error("timed out")));
  return socket;
}

async function up(address, port, bytes) {
  const socket = connect(address, port);
  await once(socket, "connect");
  socket.write("up\n");
  await write(socket, Number(bytes));
  socket.end();
  let answer = "";
  for await (const chunk of socket) answer += chunk;
  return { hash: answer, expected: hashOf(Number(bytes)) };
}

async function down(address, port, bytes) {
  const socket = connect(address, port);
  await once(socket, "connect");
  socket.end(`down ${bytes}\n`);
  return { hash: await hashRest(socket, Buffer.alloc(0)), expected: hashOf(Number(bytes)) };
}

async function echo(address, port, text) {
  const socket = connect(address, port);
  await once(socket, "connect");
  socket.end(`echo ${text}\n`);
  let answer = "";
  for await (const chunk of socket) answer += chunk;
  return answer === `${text}\n`;
}

async function many(address, port, count) {
  const all = Array.from({ length: Number(count) }, (_, index) => echo(address, port, `word-${index}`));
  const ended = await Promise.allSettled(all);
  const answered = ended.filter((each) => each.status === "fulfilled" && each.value).length;
  return { answered, failed: ended.length - answered };
}

function udpServe(address, port) {
  const socket = dgram.createSocket("udp4");
  socket.on("message", (text, from) =>
    socket.send(`from ${from.address}:${from.port} ${text}`, from.port, from.address),
  );
  socket.bind(Number(port), address, () => console.log("listening"));
}

async function udp(address, port, own, text, count) {
  const socket = dgram.createSocket("udp4");
  await new Promise((resolve) => socket.bind(Number(own), resolve));
  const answers = [];
  for (let i = 0; i < Number(count); i++) {
    const answer = once(socket, "message", { signal: AbortSignal.timeout(5_000) });
    socket.send(`${text}-${i}`, Number(port), address);
    answers.push(String((await answer)[0]));
  }
  socket.close();
  return { answers };
}

const [use, ...words] = process.argv.slice(2);
const uses = { up, down, many, udp };
if (use === "serve") serve(...words);
else if (use === "udp-serve") udpServe(...words);
else console.log(JSON.stringify(await uses[use](...words)));
