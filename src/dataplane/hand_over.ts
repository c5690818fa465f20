/**
 * The dataplane without its control process. When that ends without having said "stop" (it crashed, was killed, or is
 * becoming another version of itself), forwarding goes on, and whoever is the next control process finds the dataplane
 * at a socket of its own and asks for all that it holds: memory, devices, and the estate, which is what the former
 * control process has left in writing.
 *
 * Rules: nothing that a guest says or does stops the dataplane, except "stop". Guests are of the same user. Each has at
 * most one message read a round, and is sent away for one that is not understood, and when it does not read its answers.
 * There is room for a few; the newest takes the place of the oldest. What is handed over stays here, too, until "stop":
 * a guest that dies in the middle has changed nothing.
 *
 * Descriptors go a few at a time, each few when they are asked for: the kernel limits how many may be under way.
 */
import { closeSync } from "node:fs";
import { Channel } from "../io/channel.ts";
import { native } from "../io/native.ts";

/** What a guest may ask; each is answered by a `Reply` of its id. */
export type HandOverRequest =
  /** The result is `Described`. */
  | { id: number; type: "describe" }
  /** Devices of the ports from a number on; the result is `HandedPorts`. */
  | { id: number; type: "ports"; from: number }
  /** The dataplane does nothing any more from its answer on, and ends. */
  | { id: number; type: "stop" };

/** Descriptors: flow table, counters, counters of the ports, the listening socket, and the estate where there is one. */
export interface Described {
  pid: number;
  hasEstate: boolean;
}

/** Descriptors: the devices, in the order of `ports`. */
export interface HandedPorts {
  ports: number[];
  /** Where the next piece begins; -1 after the last one. */
  next: number;
}

const MOST_GUESTS = 4;
const DEVICES_AT_ONCE = 32;

export interface HandOverOptions {
  /** A listening socket (`native().listenAt`). */
  listener: number;
  /** Flow table, counters, counters of the ports. */
  memory: readonly number[];
  /** Descriptors of the devices that work, by port. */
  devices: ReadonlyMap<number, number>;
  /** Whose guests are let in. */
  user: number;
}

interface Guest {
  fd: number;
  channel: Channel;
}

export class HandOver {
  private readonly options: HandOverOptions;
  private readonly guests = new Set<Guest>();
  private estate: number | undefined;
  private watch: (fd: number) => void = () => {};

  /** The descriptors are this object's from now on, those of devices excepted. */
  constructor(options: HandOverOptions) {
    this.options = options;
  }

  /** Keeps what the control process leaves in writing, in place of what it left before. */
  keepEstate(fd: number): void {
    if (this.estate !== undefined) closeSync(this.estate);
    this.estate = fd;
  }

  /** The control process is gone: guests are let in. `watch` has the loop notice what a descriptor brings. */
  open(watch: (fd: number) => void): void {
    this.watch = watch;
    watch(this.options.listener);
  }

  /** Does what guests ask; true once one has said that the dataplane is to stop. */
  serve(): boolean {
    for (let fd = this.accept(); fd !== null; fd = this.accept()) this.welcome(fd);
    for (const guest of this.guests) if (this.hear(guest)) return true;
    return false;
  }

  private accept(): number | null {
    try {
      return native().acceptFrom(this.options.listener, this.options.user);
    } catch {
      // Too many descriptors are open: it waits.
      return null;
    }
  }

  private welcome(fd: number): void {
    const [oldest] = this.guests;
    if (this.guests.size >= MOST_GUESTS) this.dismiss(oldest);
    this.guests.add({ fd, channel: new Channel(native(), fd) });
    this.watch(fd);
  }

  private dismiss(guest: Guest): void {
    this.guests.delete(guest);
    guest.channel.close();
    native().closeDescriptor(guest.fd);
  }

  private hear(guest: Guest): boolean {
    try {
      const { channel } = guest;
      const received = channel.receive();
      if (received === null && channel.malformed === 0) return false;
      if (received !== null && received !== "closed") {
        for (const descriptor of received.descriptors) closeSync(descriptor);
        const isStop = this.answer(channel, received.message as HandOverRequest);
        if (!channel.isWaiting && channel.malformed === 0) return isStop;
      }
    } catch {
      // What it sent is no request.
    }
    this.dismiss(guest);
    return false;
  }

  /** Throws for what is no request. */
  private answer(channel: Channel, { id, ...request }: HandOverRequest): boolean {
    const reply = (result: object, descriptors: number[] = []): void =>
      channel.send({ id, ok: true, result }, descriptors);
    if (request.type === "describe") {
      const { memory, listener } = this.options;
      const estate = this.estate === undefined ? [] : [this.estate];
      const result: Described = { pid: process.pid, hasEstate: estate.length > 0 };
      reply(result, [...memory, listener, ...estate]);
    } else if (request.type === "ports") {
      const ports = [...this.options.devices.keys()].filter((port) => port >= request.from).sort((a, b) => a - b);
      const piece = ports.slice(0, DEVICES_AT_ONCE);
      const result: HandedPorts = { ports: piece, next: ports[DEVICES_AT_ONCE] ?? -1 };
      reply(
        result,
        piece.map((port) => this.options.devices.get(port) as number),
      );
    } else if (request.type === "stop") reply({});
    else throw new Error("not a request");
    return request.type === "stop";
  }
}
