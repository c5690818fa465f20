/**
 * The tracer: records the walks of live packets for those who trace, while somebody does.
 *
 * Theory of operation. A trace is an expression of pcap-filter, run over each frame as it comes in, and perhaps a port.
 * What matches is recorded, at most `perSecond` a second, into a ring that the control process empties; what comes
 * faster, or finds the ring full, is not recorded but counted. Nothing waits for a reader. A trace that nobody has read
 * for a while ends by itself, so a reader that has died costs nothing for long. With the last trace the recorder goes,
 * and with it all cost.
 */
import type { Frame } from "../../packet/frame.ts";
import { type Program, selects } from "../../pcap_filter/expression.ts";
import type { Router } from "../router.ts";
import { Recorder } from "./recorder.ts";
import type { Walk } from "./steps.ts";

/** Traces at once: each has a bit. */
export const MOST_TRACES = 8;
const RING_WALKS = 256;
const UNREAD_MS = 10_000;

export interface TracePiece {
  walks: Walk[];
  /** Packets that matched and were not recorded, since the last piece. */
  lost: number;
}

class Trace {
  readonly program: Program;
  readonly port: number;
  readonly walks: Walk[] = [];
  lost = 0;
  readAt: number;
  private readonly perSecond: number;
  /** Thousandths of a packet. */
  private credit: number;
  private since: number;

  constructor(program: Program, port: number, perSecond: number, now: number) {
    this.program = program;
    this.port = port;
    this.perSecond = perSecond;
    this.credit = perSecond * 1000;
    this.since = now;
    this.readAt = now;
  }

  /** Whether a frame that matches may be recorded; counts it as lost when not. */
  admits(now: number): boolean {
    const passed = (now - this.since) >>> 0;
    this.since = now;
    this.credit = Math.min(this.perSecond * 1000, this.credit + passed * this.perSecond);
    if (this.credit >= 1000 && this.walks.length < RING_WALKS) {
      this.credit -= 1000;
      return true;
    }
    this.lost++;
    return false;
  }
}

export class Tracer {
  private readonly router: Router;
  private readonly traces = new Map<number, Trace>();

  constructor(router: Router) {
    this.router = router;
  }

  /** Begins a trace of what comes in by `port` (-1: any); returns its number. @throws RangeError when there are too many. */
  start(program: readonly number[], port: number, perSecond: number): number {
    const { router, traces } = this;
    this.endUnread();
    for (let id = 0; id < MOST_TRACES; id++) {
      if (traces.has(id)) continue;
      traces.set(id, new Trace(Int32Array.from(program), port, perSecond, router.now));
      router.recorder ??= new Recorder(router, {
        wants: (frame) => this.wantedBy(frame),
        done: (walk, _, wantedBy) => this.take(walk, wantedBy),
      });
      return id;
    }
    throw new RangeError(`${MOST_TRACES} traces run already`);
  }

  /** What has been recorded since the last time. @throws RangeError for a trace that has ended. */
  read(id: number): TracePiece {
    const trace = this.traces.get(id);
    if (trace === undefined) throw new RangeError("the trace has ended: it was not read for too long");
    trace.readAt = this.router.now;
    const piece = { walks: trace.walks.splice(0), lost: trace.lost };
    trace.lost = 0;
    return piece;
  }

  stop(id: number): void {
    this.traces.delete(id);
    if (this.traces.size === 0) this.router.recorder = undefined;
  }

  /** Bits of the traces that record a frame. */
  private wantedBy(frame: Frame): number {
    const { memory, now } = this.router;
    let wanted = 0;
    for (const [id, trace] of this.traces) {
      if (trace.port >= 0 && trace.port !== frame.ingressPort) continue;
      if (selects(trace.program, memory, frame.at, frame.length) && trace.admits(now)) wanted |= 1 << id;
    }
    return wanted;
  }

  private take(walk: Walk, wantedBy: number): void {
    for (const [id, trace] of this.traces) if ((wantedBy & (1 << id)) !== 0) trace.walks.push(walk);
  }

  /** To be called now and then: ends what nobody reads. */
  endUnread(): void {
    if (this.traces.size === 0) return;
    const { now } = this.router;
    for (const [id, { readAt }] of this.traces) if (((now - readAt) | 0) > UNREAD_MS) this.stop(id);
  }
}
