/**
 * One end of the lab's TCP transfer, run as a process of its own inside a namespace:
 *
 *     node transfer_peer.js serve ADDRESS PORT       prints "listening", then serves until it is ended
 *     node transfer_peer.js send|receive ADDRESS PORT       prints one line of JSON (`TransferResult`)
 *
 * The client says with its first byte who sends. A stream is random bytes, then their SHA-256. The receiver takes the
 * time from the first byte to the last of the random bytes, so that hashing is not measured.
 */
import { createHash, randomFillSync } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import type { TransferResult } from "./transfer.ts";

const LARGEST_BYTES = 64 << 20;
const LONGEST_MS = 2_000;
const WRITE_BYTES = 1 << 20;
const HASH_BYTES = 32;
const SILENCE_MS = 4_000;

/** First byte of the client: it sends, or it receives. */
const Request = { SEND: 0x53, RECEIVE: 0x52 } as const;

const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

/** Sends for at most two seconds or 64 MiB, then the hash, then ends its direction. */
async function send(socket: Socket, payload: Uint8Array): Promise<void> {
  const deadline = performance.now() + LONGEST_MS;
  let sent = 0;
  while (sent < payload.length && performance.now() < deadline) {
    const part = payload.subarray(sent, sent + WRITE_BYTES);
    sent += part.length;
    if (!socket.write(part)) await once(socket, "drain");
  }
  socket.end(sha256(payload.subarray(0, sent)));
}

/** Receives until the other side ends its direction; the socket stays open for an answer. */
async function receive(socket: Socket, early: Buffer): Promise<TransferResult> {
  const chunks: Buffer[] = [];
  const arrivals: { total: number; at: number }[] = [];
  let total = 0;
  const take = (chunk: Buffer) => {
    if (chunk.length === 0) return;
    chunks.push(chunk);
    total += chunk.length;
    arrivals.push({ total, at: performance.now() });
  };
  take(early);
  socket.on("data", take);
  await once(socket, "end");
  const bytes = Math.max(0, total - HASH_BYTES);
  const received = Buffer.concat(chunks);
  const last = arrivals.find((arrival) => arrival.total >= bytes);
  return {
    bytes,
    seconds: ((last?.at ?? 0) - (arrivals[0]?.at ?? 0)) / 1000,
    isIntact: bytes > 0 && sha256(received.subarray(0, bytes)).equals(received.subarray(bytes)),
  };
}

async function serveOne(socket: Socket): Promise<void> {
  socket.setTimeout(SILENCE_MS, () => socket.destroy());
  const [first] = (await once(socket, "data")) as [Buffer];
  if (first[0] === Request.RECEIVE) return send(socket, randomPayload());
  socket.end(JSON.stringify(await receive(socket, first.subarray(1))));
}

function serve(address: string, port: number): void {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    serveOne(socket).catch(() => socket.destroy());
  });
  server.listen(port, address, () => console.log("listening"));
}

function randomPayload(): Uint8Array {
  return randomFillSync(new Uint8Array(LARGEST_BYTES));
}

async function request(direction: "send" | "receive", address: string, port: number): Promise<TransferResult> {
  const payload = direction === "send" ? randomPayload() : new Uint8Array(0);
  const socket = connect({ host: address, port, allowHalfOpen: true, noDelay: true });
  socket.setTimeout(SILENCE_MS, () => socket.destroy(new Error("the connection fell silent")));
  await once(socket, "connect");
  if (direction === "receive") {
    socket.write(Uint8Array.of(Request.RECEIVE));
    const result = await receive(socket, Buffer.alloc(0));
    socket.end();
    return result;
  }
  socket.write(Uint8Array.of(Request.SEND));
  await send(socket, payload);
  let answer = "";
  socket.setEncoding("utf8").on("data", (text: string) => {
    answer += text;
  });
  await once(socket, "end");
  return JSON.parse(answer) as TransferResult;
}

const [role, address, port] = process.argv.slice(2);
if (role === "serve") serve(address, Number(port));
else if (role === "send" || role === "receive") console.log(JSON.stringify(await request(role, address, Number(port))));
else throw new Error("serve, send or receive");
