/**
 * The package `raw-socket` as far as it is used here: AF_INET raw sockets on the event loop. It builds natively when it is
 * installed, and is an optional dependency: whoever has no raw uplink can do without it. It must stay in the main
 * thread: its handles belong to the default loop, whichever thread makes them (docs/decisions).
 */
import { createRequire } from "node:module";
import { ExitCode, TapirError } from "../../errors.ts";

export interface RawSocket {
  on(event: "message", listener: (packet: Buffer, source: string) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  /** Sends when the socket takes it; `done` is called once it has gone, or has failed. */
  send(packet: Uint8Array, offset: number, length: number, address: string, done: (error: Error | null) => void): void;
  setOption(level: number, option: number, value: number): void;
  pauseRecv(): void;
  close(): void;
}

interface RawSocketPackage {
  createSocket(options: { protocol: number; bufferSize: number }): RawSocket;
}

const SOL_SOCKET = 1;
const SO_MARK = 36;
const SO_RCVBUFFORCE = 33;
const SO_SNDBUFFORCE = 32;
/** Send only, and with an IPv4 header of one's own (raw(7)). */
const IPPROTO_RAW = 255;
const BUFFER_BYTES = 4 << 20;
const LARGEST_PACKET_BYTES = 65_535;

/** What tells Tapir's packets from the kernel's own in the host's OUTPUT chains ("tapir" has no better number). */
export const TAPIR_MARK = 0x7a910001;

let loaded: RawSocketPackage | undefined;

/** Loads the package. @throws TapirError that says how to get it. */
export function loadRawSocket(): RawSocketPackage {
  try {
    loaded ??= createRequire(import.meta.url)("raw-socket") as RawSocketPackage;
    return loaded;
  } catch (error) {
    const why = String((error as Error).message).split("\n")[0];
    throw new TapirError(
      `uplinks of kind raw need the npm package raw-socket, which does not load (${why}): npm install raw-socket`,
      ExitCode.PRIVILEGE,
    );
  }
}

/** Hears the packets of a protocol that come for this host, headers included. */
export function openReceiver(protocol: number): RawSocket {
  const socket = loadRawSocket().createSocket({ protocol, bufferSize: LARGEST_PACKET_BYTES });
  tune(socket, SO_RCVBUFFORCE, BUFFER_BYTES);
  return socket;
}

/** Sends whole IPv4 packets, each with the mark. */
export function openSender(): RawSocket {
  const socket = loadRawSocket().createSocket({ protocol: IPPROTO_RAW, bufferSize: 1 });
  socket.pauseRecv();
  socket.setOption(SOL_SOCKET, SO_MARK, TAPIR_MARK);
  tune(socket, SO_SNDBUFFORCE, BUFFER_BYTES);
  return socket;
}

/** A buffer of the kernel's default size is worse, but no reason to fail. */
function tune(socket: RawSocket, option: number, bytes: number): void {
  try {
    socket.setOption(SOL_SOCKET, option, bytes);
  } catch {
    // The kernel's default stays.
  }
}
