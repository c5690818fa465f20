/**
 * What runs in a namespace of the soak, started by `world.ts`: `serve ADDRESS` answers, `talk ADDRESS` does what the lines
 * of its input ask for, and answers each with a line.
 *
 * TCP: the client says in a line how much it sends and wants, and from which seed; the server greets, and the client sends; the
 * server answers with the digest of what it got, in a line, and what is wanted. Both ends of every byte are compared. UDP: the
 * server sends back what it gets.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { digest, payload } from "./dice.ts";

export const TCP_PORT = 8080;
export const UDP_PORT = 9000;
const GREETING = "welcome";
/** A transfer that takes so long has stalled: the longest break of the soak is two seconds. */
const STALLED_MS = 120_000;
const CONNECT_TRIES = 100;
const CONNECT_PAUSE_MS = 100;
/** Wait for the last datagram's answer. */
const UDP_MS = 500;

export interface Order {
  id: number;
  kind: "tcp" | "udp";
  seed: number;
  /** Bytes there and back; of UDP, datagrams and their bytes. */
  up: number;
  down: number;
}

export interface Done {
  id: number;
  /** What was wrong; undefined when all is well. */
  problem?: string;
  /** Datagrams without an answer. */
  lost?: number;
  /** Times that the client was connected, and the server not. */
  again?: number;
}

/** Collects exactly as many bytes as are asked for, in turn. */
class Reader {
  private chunks: Buffer[] = [];
  private length = 0;
  private readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  async take(bytes: number): Promise<Buffer> {
    while (this.length < bytes) await this.more();
    const all = Buffer.concat(this.chunks);
    this.chunks = [all.subarray(bytes)];
    this.length = all.length - bytes;
    return all.subarray(0, bytes);
  }

  async line(): Promise<string> {
    for (;;) {
      const all = Buffer.concat(this.chunks);
      const end = all.indexOf("\n");
      if (end >= 0) return (await this.take(end + 1)).toString("latin1").trim();
      await this.more();
    }
  }

  private async more(): Promise<void> {
    const chunk: Buffer | null = this.socket.read();
    if (chunk !== null) {
      this.chunks.push(chunk);
      this.length += chunk.length;
      return;
    }
    if (this.socket.readableEnded || this.socket.destroyed) throw new Error("the connection has ended");
    await Promise.race([once(this.socket, "readable"), once(this.socket, "close")]);
  }
}

async function answer(socket: Socket): Promise<void> {
  const reader = new Reader(socket);
  socket.write(`${GREETING}\n`);
  const [up, down, seed] = (await reader.line()).split(" ").map(Number);
  const got = await reader.take(up);
  socket.write(`${digest(got)}\n`);
  socket.end(payload(seed + 1, down));
}

function serve(address: string): void {
  const udp = createSocket("udp4");
  udp.on("message", (data, from) => udp.send(data, from.port, from.address));
  // An answer may come back as an ICMP error while the router is busy being torn apart.
  udp.on("error", () => {});
  const server = createServer((socket) => {
    socket.on("error", () => {});
    answer(socket).catch(() => socket.destroy());
  });
  udp.bind(UDP_PORT, address, () => server.listen(TCP_PORT, address, 512, () => process.stdout.write("ready\n")));
}

/** A connection that both ends have. */
class Connection {
  readonly socket: Socket;
  readonly reader: Reader;
  private failure = "";
  private readonly timer: NodeJS.Timeout;

  constructor(address: string) {
    this.socket = connect({ host: address, port: TCP_PORT });
    this.reader = new Reader(this.socket);
    this.timer = setTimeout(() => this.socket.destroy(new Error("stalled")), STALLED_MS);
    this.socket.on("error", (error) => {
      this.failure = error.message;
    });
  }

  /** What has gone wrong, and where the connection was then. */
  blame(error: unknown): string {
    const { bytesRead, bytesWritten, localPort } = this.socket;
    const what = this.failure || (error as Error).message;
    return `${what}, port ${localPort}, ${bytesWritten} bytes there, ${bytesRead} back`;
  }

  end(): void {
    clearTimeout(this.timer);
    this.socket.destroy();
  }
}

/**
 * Connects, says `line`, and waits until the server has greeted. Before that the client may think that it is connected, and the
 * server's kernel have given up: it forgets a half-open connection when its SYN-ACK cannot leave (no carrier), or when nobody answers
 * its ARP for three seconds, as after many crashes in a row. Then the client tries again, as it does while a device is down and
 * there is no way to the server.
 */
async function connected(address: string, line: string): Promise<{ connection: Connection; again: number }> {
  let again = 0;
  for (let attempt = 0; ; attempt++) {
    const connection = new Connection(address);
    try {
      await once(connection.socket, "connect");
      again++;
      connection.socket.write(line);
      const greeting = await connection.reader.line();
      if (greeting === GREETING) return { connection, again: again - 1 };
      throw new Error(`not greeted: ${greeting}`);
    } catch (error) {
      connection.end();
      if (attempt === CONNECT_TRIES) throw new Error(connection.blame(error));
      await new Promise((next) => setTimeout(next, CONNECT_PAUSE_MS));
    }
  }
}

async function transfer(address: string, { up, down, seed }: Order): Promise<Omit<Done, "id">> {
  const { connection, again } = await connected(address, `${up} ${down} ${seed}\n`);
  const { reader, socket } = connection;
  const verdict = async (): Promise<string | undefined> => {
    const sent = payload(seed, up);
    socket.write(sent);
    if ((await reader.line()) !== digest(sent)) return "the server got other bytes than were sent";
    const got = await reader.take(down);
    return digest(got) === digest(payload(seed + 1, down)) ? undefined : "other bytes came than the server has sent";
  };
  const problem = await verdict().catch((error: Error) => connection.blame(error));
  connection.end();
  return { again, ...(problem === undefined ? {} : { problem }) };
}

async function datagrams(address: string, { up, down, seed }: Order): Promise<Omit<Done, "id">> {
  const socket = createSocket("udp4");
  socket.on("error", () => {});
  const waiting = new Set(Array.from({ length: up }, (_, index) => digest(payload(seed + index, down))));
  let problem: string | undefined;
  socket.on("message", (data) => {
    if (!waiting.delete(digest(data))) problem = "a datagram came that was not sent, or twice";
  });
  for (let index = 0; index < up; index++) socket.send(payload(seed + index, down), UDP_PORT, address, () => {});
  for (let left = UDP_MS; left > 0 && waiting.size > 0; left -= 20) await new Promise((next) => setTimeout(next, 20));
  socket.close();
  return { lost: waiting.size, ...(problem === undefined ? {} : { problem }) };
}

async function carryOut(address: string, order: Order): Promise<Done> {
  try {
    const done = await (order.kind === "udp" ? datagrams(address, order) : transfer(address, order));
    return { id: order.id, ...done };
  } catch (error) {
    return { id: order.id, problem: (error as Error).message };
  }
}

function talk(address: string): void {
  createInterface({ input: process.stdin })
    .on("line", (line) => {
      carryOut(address, JSON.parse(line) as Order).then((done) => process.stdout.write(`${JSON.stringify(done)}\n`));
    })
    .on("close", () => process.exit(0));
  process.stdout.write("ready\n");
}

if (process.argv[1]?.endsWith("agent.js")) {
  const [, , mode, address] = process.argv;
  if (mode === "serve") serve(address);
  else talk(address);
}
