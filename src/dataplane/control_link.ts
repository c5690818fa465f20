/**
 * Who tells the dataplane what to do: the control process, over the channel that it has given; and once that is gone,
 * whoever comes to take the dataplane over, if it has been told how it is found (`hand_over.ts`).
 */
import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";
import { Channel } from "../io/channel.ts";
import { native } from "../io/native.ts";
import type { HandOver } from "./hand_over.ts";
import type { Notice, Reply, Request } from "./messages.ts";

const CHANNEL_DESCRIPTOR = 3;

export class ControlLink {
  /** The control process is gone. */
  isAlone = false;
  handOver: HandOver | undefined;
  private noticesLost = 0;
  private readonly channel = new Channel(native(), CHANNEL_DESCRIPTOR);
  private readonly watch: (fd: number) => void;
  private readonly answer: (request: Request, descriptors: number[]) => Reply;

  /** `watch` has the loop notice what a descriptor brings; then `serve` is called. */
  constructor(watch: (fd: number) => void, answer: (request: Request, descriptors: number[]) => Reply) {
    this.watch = watch;
    this.answer = answer;
    watch(CHANNEL_DESCRIPTOR);
  }

  /** Tells the control process, if there is one. What it cannot be told costs no packet: that it is gone, `serve` hears. */
  send(message: Reply | Notice): void {
    if (this.isAlone) return;
    try {
      this.channel.send(message);
    } catch (error) {
      if ("notice" in message) this.noticesLost++;
      // An answer that is too long for the memory or the descriptors that are left.
      else if (message.ok) this.send({ id: message.id, ok: false, error: (error as Error).message });
    }
  }

  /** Tells the control process something that it can do without; false where it does not read fast enough. */
  offer(notice: Notice): boolean {
    if (this.isAlone || this.channel.isWaiting) return false;
    try {
      this.channel.send(notice);
      return true;
    } catch {
      return false;
    }
  }

  /** Sends what could not be sent before. */
  flush(): void {
    if (this.isAlone || !this.channel.isWaiting) return;
    try {
      if (!this.channel.flush() || this.noticesLost === 0) return;
    } catch {
      return;
    }
    const message = `${this.noticesLost} messages of the dataplane are lost: the control process did not read for long`;
    this.noticesLost = 0;
    this.send({ notice: "log", level: "warn", message });
  }

  /** Does what has been asked; false when the dataplane is to end because nobody is there to tell it. */
  serve(): boolean {
    if (this.isAlone) return this.handOver?.serve() === false;
    for (;;) {
      const received = this.channel.receive();
      if (received === null) return true;
      if (received === "closed") return this.goOnAlone();
      const request = received.message as Request;
      if (received.lost === undefined) this.send(this.answer(request, received.descriptors));
      else this.send({ id: request.id, ok: false, error: `the dataplane: ${received.lost}` });
      if (request.type === "stop") return true;
    }
  }

  private goOnAlone(): boolean {
    this.isAlone = true;
    // It would be readable for ever.
    native().closeDescriptor(CHANNEL_DESCRIPTOR);
    if (this.handOver === undefined) return false;
    this.handOver.open(this.watch);
    say(
      `tapir: warning: the control process has ended; forwarding goes on without it in process ${process.pid}: ` +
        `the next tapir run on its socket takes it over, kill ${process.pid} ends it\n`,
    );
    return true;
  }
}

/** A line on standard error, whoever still reads that: nobody may, and a full pipe must not hold the dataplane up. */
function say(line: string): void {
  const own = openStandardError();
  try {
    writeSync(own ?? 2, line);
  } catch {
    // Nobody listens any more.
  }
  if (own !== undefined) closeSync(own);
}

/** Standard error as a description of its own, which does not wait; undefined for all but pipes, the rest need none. */
function openStandardError(): number | undefined {
  try {
    if (!fstatSync(2).isFIFO()) return undefined;
    return openSync("/proc/self/fd/2", constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
}
