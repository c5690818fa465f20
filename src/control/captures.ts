/**
 * Captures, on the control process's side: what the dataplane copies into a capture's ring becomes pcapng, and goes to the
 * client that asked.
 *
 * Theory of operation. There are `MOST_CAPTURES` rings; each is made when it is first used and kept, as the dataplane's
 * mapping of it is. A client that does not read stops the reading of its ring, never the dataplane: the ring fills, and
 * what comes then is lost and counted. A capture ends when its count is reached, when it is asked to, when its client
 * goes away, or with the router; in each case the dataplane is told first, and only then is the ring free for another.
 */
import type { Writable } from "node:stream";
import type { CapturePlan } from "../dataplane/capture_plan.ts";
import {
  CAPTURE_MEMORY_BYTES,
  CaptureRingReader,
  type HookName,
  hookBits,
  MOST_CAPTURES,
} from "../dataplane/capture_ring.ts";
import { native } from "../io/native.ts";
import { compileExpression } from "../pcap_filter/expression.ts";
import { CaptureFile } from "./capture_file.ts";
import type { ResolvedPlan } from "./configuration/configuration.ts";
import { suggestion } from "./configuration/nearest.ts";
import { ExitCode, TapirError } from "./errors.ts";

const READ_INTERVAL_MS = 5;
/** Packets written in one turn of the event loop: the API and the dataplane's replies are served in between. */
const READ_AT_ONCE = 2048;
/** Bytes that may wait for a client who does not read. */
const WAITING_LIMIT = 4 << 20;

/** How long the end of a capture may take to reach its client. */
const LAST_WAIT_MS = 1000;

export interface CaptureWish {
  hooks: readonly HookName[];
  /** A port, network or uplink. */
  name?: string;
  expression: string;
  snapBytes: number;
  /** Packets after which it ends; 0: none. */
  count: number;
}

type Ask = (
  request: { type: "start-capture"; plan: CapturePlan } | { type: "stop-capture"; capture: number },
  descriptors: readonly number[],
) => Promise<unknown>;

interface Ring {
  fd: number;
  memory: ArrayBuffer;
  isUsed: boolean;
  /** Of the capture that is written into it. */
  plan?: CapturePlan | undefined;
}

export class CaptureHub {
  private readonly ask: Ask;
  private readonly present: () => ResolvedPlan;
  private readonly rings: (Ring | undefined)[] = new Array(MOST_CAPTURES).fill(undefined);
  private readonly running = new Map<number, Capture>();
  private lastId = 0;

  constructor(ask: Ask, present: () => ResolvedPlan) {
    this.ask = ask;
    this.present = present;
  }

  /**
   * Begins a capture into `output`; throws what is wrong with the wish. `onStart` is told its id before anything is
   * written. It is there until `done` is kept.
   */
  async start(wish: CaptureWish, output: Writable, onStart: (id: number) => void = () => {}): Promise<Capture> {
    const plan = this.planOf(wish);
    const number = this.takeRing();
    const ring = this.rings[number] as Ring;
    try {
      await this.ask({ type: "start-capture", plan: { ...plan, capture: number } }, [ring.fd]);
      ring.plan = { ...plan, capture: number };
    } catch (error) {
      ring.isUsed = false;
      throw error;
    }
    const id = ++this.lastId;
    onStart(id);
    const file = new CaptureFile(wish, new CaptureRingReader(ring.memory), this.present);
    const capture = new Capture(id, wish, file, output, async () => {
      ring.plan = undefined;
      await this.ask({ type: "stop-capture", capture: number }, []);
    });
    this.running.set(id, capture);
    void capture.done.finally(() => {
      this.running.delete(id);
      ring.isUsed = false;
    });
    return capture;
  }

  /** Has another dataplane go on with the captures of the last one. */
  async resume(ask: Ask): Promise<void> {
    for (const ring of this.rings) {
      if (ring?.plan !== undefined)
        await ask({ type: "start-capture", plan: { ...ring.plan, isBegun: true } }, [ring.fd]);
    }
  }

  /** Ends a capture as if its count were reached. */
  finish(id: number): void {
    const capture = this.running.get(id);
    if (capture === undefined) throw new TapirError(`there is no capture ${id}`);
    capture.finish(true);
  }

  /** The router ends: what has been captured is written, then nothing more. */
  async close(): Promise<void> {
    const running = [...this.running.values()];
    for (const capture of running) capture.finish(true);
    await Promise.all(running.map((capture) => capture.done));
    for (const ring of this.rings.splice(0)) if (ring !== undefined) native().closeDescriptor(ring.fd);
  }

  private takeRing(): number {
    const number = this.rings.findIndex((ring) => ring?.isUsed !== true);
    if (number < 0) throw new TapirError(`${MOST_CAPTURES} captures are running, which is as many as there may be`);
    this.rings[number] ??= { ...native().createMemory("tapir-capture", CAPTURE_MEMORY_BYTES), isUsed: false };
    (this.rings[number] as Ring).isUsed = true;
    return number;
  }

  private planOf({ hooks, name, expression, snapBytes }: CaptureWish): Omit<CapturePlan, "capture"> {
    const { plan } = this.present();
    const program = Array.from(compileExpression(expression));
    const base = { hooks: hookBits(hooks), port: -1, interface: -1, snapBytes, program };
    if (name === undefined) return base;
    const owner = plan.interfaces.find((each) => each.name === name);
    if (owner !== undefined) return { ...base, interface: owner.index };
    const port = plan.ports.find((each) => each.name === name);
    if (port !== undefined) return { ...base, port: port.index };
    const names = [...plan.interfaces, ...plan.ports].map((each) => each.name);
    const text = `no network, port or uplink is called "${name}"${suggestion(name, names)}`;
    throw new TapirError(text, ExitCode.USAGE);
  }
}

/** One capture that runs. */
export class Capture {
  readonly id: number;
  /** Kept when the dataplane no longer writes, and the last byte has been handed over. Never fails. */
  readonly done: Promise<void>;
  private readonly wish: CaptureWish;
  private readonly file: CaptureFile;
  private readonly output: Writable;
  private readonly stop: () => Promise<void>;
  private timer: NodeJS.Timeout | undefined;
  private isFinishing = false;
  private settle: () => void = () => {};

  constructor(id: number, wish: CaptureWish, file: CaptureFile, output: Writable, stop: () => Promise<void>) {
    this.id = id;
    this.wish = wish;
    this.file = file;
    this.output = output;
    this.stop = stop;
    this.done = new Promise((resolve) => {
      this.settle = resolve;
    });
    output.on("close", () => this.finish(false));
    output.write(file.begin());
    this.readSoon(READ_INTERVAL_MS);
  }

  /** Ends it, once; `withRest`: what is in the ring is written before. */
  finish(withRest: boolean): void {
    if (this.isFinishing) return;
    this.isFinishing = true;
    clearTimeout(this.timer);
    // A dataplane that has ended needs no telling.
    void this.stop()
      .catch(() => {})
      .then(() => this.writeEnd(withRest))
      .finally(this.settle);
  }

  /** A client who does not read is not waited for long. */
  private writeEnd(withRest: boolean): Promise<void> {
    const { output } = this;
    if (output.destroyed) return Promise.resolve();
    if (withRest) this.writePackets(Number.MAX_SAFE_INTEGER);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, LAST_WAIT_MS);
      output.once("close", resolve);
      output.end(this.file.end(), resolve);
      output.once("close", () => clearTimeout(timer));
    });
  }

  private readSoon(milliseconds: number): void {
    this.timer = setTimeout(() => this.read(), milliseconds);
  }

  private read(): void {
    if (this.output.destroyed) {
      this.finish(false);
      return;
    }
    const isReady = this.output.writableLength < WAITING_LIMIT;
    const written = isReady ? this.writePackets(READ_AT_ONCE) : 0;
    if (this.wish.count > 0 && this.file.packets >= this.wish.count) this.finish(false);
    else this.readSoon(written === READ_AT_ONCE ? 0 : READ_INTERVAL_MS);
  }

  /** Writes at most so many packets, and no more than are wished for, in one piece. */
  private writePackets(most: number): number {
    const { count } = this.wish;
    const left = count === 0 ? most : Math.min(most, count - this.file.packets);
    const blocks = this.file.packetsOf(left);
    if (blocks.length > 0) this.output.write(Buffer.concat(blocks));
    return blocks.length;
  }
}
