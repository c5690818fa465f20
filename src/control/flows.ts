/**
 * The flow table as the control process reads it: straight from the shared memory, while the dataplane goes on. An
 * entry may change under the reader's eyes: it is copied, and the copy counts only when the entry is still the same
 * flow afterwards. Counters and deadlines may be from different packets.
 */
import { EVERY_FLOW, type FlowFilter, matchesFlow } from "../conntrack/filter.ts";
import { FLOW_SHIFT, FLOW_WORDS, FlowFlag, FlowWord, HeaderWord } from "../conntrack/flow_layout.ts";
import { type FlowView, viewFlow } from "../conntrack/format.ts";
import type { RemovedFlows } from "../dataplane/messages.ts";

/** How often an entry is read again that became another flow meanwhile; then it is left out. */
const READ_ATTEMPTS = 4;
/** How often one is read again that changed meanwhile, where all its words have to be of one moment. */
const SETTLE_ATTEMPTS = 32;

export class FlowReader {
  readonly header: Int32Array;
  readonly words: Int32Array;
  private readonly copy = new Int32Array(FLOW_WORDS);

  constructor(memory: ArrayBuffer, capacity: number) {
    this.header = new Int32Array(memory, 0, HeaderWord.WORDS);
    this.words = new Int32Array(memory, HeaderWord.WORDS * 4, capacity * FLOW_WORDS);
  }

  /** Flows in use. */
  get count(): number {
    return this.header[HeaderWord.COUNT];
  }

  /** The flows of a filter that have not expired. */
  *flows(filter: FlowFilter = EVERY_FLOW): Generator<FlowView> {
    const { header, copy } = this;
    for (let flow = 0; flow < header[HeaderWord.HIGH_WATER]; flow++) {
      if (!this.read(flow << FLOW_SHIFT)) continue;
      // Read anew for each: a slow reader of a long table takes its time.
      const now = header[HeaderWord.NOW];
      if (((copy[FlowWord.DEADLINE] - now) | 0) > 0 && matchesFlow(filter, copy, 0)) yield viewFlow(copy, 0, now);
    }
  }

  /** The words of the flow that has entry `flow`, valid until the next is asked for; undefined where none has it. */
  entry(flow: number): Int32Array | undefined {
    return this.read(flow << FLOW_SHIFT) ? this.copy : undefined;
  }

  /**
   * As `entry`, with all words of one moment: read twice, the same both times. "torn" for one that has changed with
   * every reading.
   */
  settled(flow: number): Int32Array | "torn" | undefined {
    const base = flow << FLOW_SHIFT;
    for (let attempt = 0; attempt < SETTLE_ATTEMPTS; attempt++) {
      if (!this.read(base)) return undefined;
      if (this.isUnchanged(base)) return this.copy;
    }
    return "torn";
  }

  private isUnchanged(base: number): boolean {
    const { words, copy } = this;
    for (let word = 0; word < FLOW_WORDS; word++) if (words[base + word] !== copy[word]) return false;
    return true;
  }

  /** Copies an entry; false when it is not in use. */
  private read(base: number): boolean {
    const { words, copy } = this;
    for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
      if ((words[base + FlowWord.STATUS] & FlowFlag.CONFIRMED) === 0) return false;
      copy.set(words.subarray(base, base + FLOW_WORDS));
      if ((copy[FlowWord.STATUS] & FlowFlag.CONFIRMED) !== 0 && this.isStill(base)) return true;
    }
    return false;
  }

  /** Whether the entry is in use for the flow that was copied: both tuples, protocol and time of creation. */
  private isStill(base: number): boolean {
    const { words, copy } = this;
    for (let word = FlowWord.SOURCE; word <= FlowWord.REPLY_PORTS; word++) {
      if (words[base + word] !== copy[word]) return false;
    }
    const status = words[base + FlowWord.STATUS];
    if ((status & FlowFlag.CONFIRMED) === 0 || ((status ^ copy[FlowWord.STATUS]) & 0xff) !== 0) return false;
    return words[base + FlowWord.CREATED] === copy[FlowWord.CREATED];
  }
}

/** The flows that the dataplane has ended, as they were then. */
export function viewRemoved({ removed, now, flows }: RemovedFlows): FlowView[] {
  const words = new Int32Array(new Uint8Array(Buffer.from(flows, "base64")).buffer);
  return Array.from({ length: removed }, (_, index) => viewFlow(words, index * FLOW_WORDS, now));
}
