/** One capture: what it looks at, and its ring. */
import { INSTRUCTION_WORDS, type Program } from "../pcap_filter/expression.ts";
import type { CaptureRingWriter } from "./capture_ring.ts";

/** What to capture, as it crosses the channel between the processes. */
export interface CapturePlan {
  /** Which of the captures: 0 to `MOST_CAPTURES` - 1. */
  capture: number;
  /** Bits: 1 << `Hook`. */
  hooks: number;
  /** The one port or interface that is looked at; -1: any. */
  port: number;
  interface: number;
  snapBytes: number;
  program: number[];
  /** It has begun in another dataplane, which has ended. */
  isBegun?: true;
}

export class Capture {
  readonly hooks: number;
  readonly port: number;
  readonly interface: number;
  readonly snapBytes: number;
  readonly program: Program;
  readonly ring: CaptureRingWriter;
  /** For each slot, its records of this turn that wait for what becomes of the frame; -1: none. */
  readonly ingressRecord: Int32Array;
  readonly preroutingRecord: Int32Array;

  constructor(plan: CapturePlan, ring: CaptureRingWriter, slotCount: number) {
    if (plan.program.length % INSTRUCTION_WORDS !== 0) throw new RangeError("not a program");
    this.hooks = plan.hooks;
    this.port = plan.port;
    this.interface = plan.interface;
    this.snapBytes = plan.snapBytes;
    this.program = Int32Array.from(plan.program);
    this.ring = ring;
    this.ingressRecord = new Int32Array(slotCount).fill(-1);
    this.preroutingRecord = new Int32Array(slotCount).fill(-1);
  }

  wants(hook: number): boolean {
    return (this.hooks & (1 << hook)) !== 0;
  }

  /** Whether it looks at a port (-1: each of the interface) of an interface. */
  covers(port: number, interfaceIndex: number, interfaceOf: Int32Array): boolean {
    if (this.port < 0) return this.interface < 0 || this.interface === interfaceIndex;
    return port === this.port || (port < 0 && interfaceOf[this.port] === interfaceIndex);
  }
}
