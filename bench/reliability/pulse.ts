/**
 * Datagrams with numbers, one a millisecond, and their echo:
 *
 *     pulse.js serve ADDRESS PORT    sends each back
 *     pulse.js send ADDRESS PORT     until a line comes on standard input; prints `Pulse` as JSON
 */
import { createSocket } from "node:dgram";
import { setTimeout as sleep } from "node:timers/promises";

export interface Pulse {
  sent: number;
  answered: number;
  /** Longest time between two answers, in milliseconds. */
  silenceMs: number;
}

const INTERVAL_MS = 1;
/** After the last datagram, for what still waits in a queue. */
const LAST_MS = 1000;

function serve(address: string, port: number): void {
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  socket.on("message", (bytes, from) => socket.send(bytes, from.port, from.address));
  socket.bind(port, address, () => process.stdout.write("listening\n"));
}

async function send(address: string, port: number): Promise<void> {
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  const pulse: Pulse = { sent: 0, answered: 0, silenceMs: 0 };
  let isOver = false;
  let lastAt: number | undefined;
  process.stdin.once("data", () => {
    isOver = true;
  });
  socket.on("error", () => {});
  socket.on("message", () => {
    const now = performance.now();
    if (lastAt === undefined) process.stdout.write("going\n");
    else pulse.silenceMs = Math.max(pulse.silenceMs, now - lastAt);
    lastAt = now;
    pulse.answered++;
  });
  await new Promise<void>((resolve) => socket.connect(port, address, resolve));
  while (!isOver) {
    socket.send(String(pulse.sent++));
    await sleep(INTERVAL_MS);
  }
  await sleep(LAST_MS);
  process.stdout.write(`${JSON.stringify(pulse)}\n`);
  process.exit(0);
}

const [use, address, port] = process.argv.slice(2);
if (use === "serve") serve(address, Number(port));
else if (use === "send") await send(address, Number(port));
