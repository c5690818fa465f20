/**
 * Both ends of the traffic that a crash must not harm. Each says "ready" when it can be asked.
 *
 *   serve ADDRESS PORT            TCP: a piece every 20 ms to each connection, PIECES of them; UDP, on the same port: says
 *                                 from which address and port each datagram came
 *   load ADDRESS PORT TCP UDP     TCP transfers at once, and UDP flows that each ask once and are silent then; says "half"
 *                                 when the transfers are in the middle. At a line of its standard input each UDP flow asks again.
 *                                 Prints { whole, same }: transfers with the right hash, and flows whose port is the same.
 */
import { createHash } from "node:crypto";
import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";

const PIECES = 60;
const PIECE_MS = 20;
const PIECE_BYTES = 16 * 1024;
const ASK_AGAIN_MS = 200;
const MOST_ASKED = 50;

const piece = (number) => Buffer.alloc(PIECE_BYTES, `piece ${number} of a transfer `);

function serveOne(socket) {
  socket.on("error", () => {});
  let sent = 0;
  const timer = setInterval(() => {
    if (socket.destroyed) clearInterval(timer);
    else socket.write(piece(sent++));
    if (sent < PIECES) return;
    clearInterval(timer);
    socket.end();
  }, PIECE_MS);
}

async function serve(address, port) {
  const answers = dgram.createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  answers.on("message", (_, from) => answers.send(`${from.address}:${from.port}`, from.port, from.address));
  answers.bind(Number(port), address);
  await once(answers, "listening");
  net.createServer(serveOne).listen({ host: address, port: Number(port), backlog: 512 }, () => console.log("ready"));
}

/** The hash of what a connection brings. */
async function transfer(address, port, onBytes) {
  const socket = net.connect({ host: address, port: Number(port) });
  const hash = createHash("sha256");
  for await (const bytes of socket) {
    hash.update(bytes);
    onBytes(bytes.length);
  }
  return hash.digest("hex");
}

async function open(address, port) {
  const socket = dgram.createSocket("udp4");
  await new Promise((resolve) => socket.connect(Number(port), address, resolve));
  socket.on("error", () => {});
  return socket;
}

/** What the server says of where it is asked from; a datagram may be lost on the way. */
function ask(socket) {
  return new Promise((resolve) => {
    let asked = 0;
    const send = () => {
      if (asked++ < MOST_ASKED) socket.send("where from");
      else settle("silence");
    };
    const timer = setInterval(send, ASK_AGAIN_MS);
    const settle = (answer) => {
      clearInterval(timer);
      socket.removeAllListeners("message");
      resolve(String(answer));
    };
    socket.on("message", settle);
    send();
  });
}

async function load(address, port, transfers, flows) {
  const expected = createHash("sha256");
  for (let number = 0; number < PIECES; number++) expected.update(piece(number));
  const right = expected.digest("hex");
  const sockets = await Promise.all(Array.from({ length: Number(flows) }, () => open(address, port)));
  const before = [];
  for (const socket of sockets) before.push(await ask(socket));
  console.log("ready");
  let bytes = 0;
  const half = (Number(transfers) * PIECES * PIECE_BYTES) / 3;
  const hashes = Array.from({ length: Number(transfers) }, () =>
    transfer(address, port, (length) => {
      if (bytes < half && bytes + length >= half) console.log("half");
      bytes += length;
    }).catch((error) => error.code),
  );
  await once(process.stdin, "data");
  process.stdin.destroy();
  const after = [];
  for (const socket of sockets) after.push(await ask(socket));
  const whole = (await Promise.all(hashes)).filter((hash) => hash === right).length;
  console.log(JSON.stringify({ whole, same: after.filter((answer, index) => answer === before[index]).length }));
  process.exit(0);
}

const [use, ...words] = process.argv.slice(2);
await { serve, load }[use](...words);
