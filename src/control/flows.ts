/**
 * The flow table as the control process reads it: straight from the shared memory, while the dataplane goes on. An
 * entry may change under the reader's eyes; it is copied, and taken only when it was in use before and after.
 */
import { FLOW_SHIFT, FLOW_WORDS, FlowFlag, FlowWord, HeaderWord } from "../conntrack/flow_layout.ts";
import { type FlowView, viewFlow } from "../conntrack/format.ts";

export class FlowReader {
  private readonly header: Int32Array;
  private readonly words: Int32Array;
  private readonly copy = new Int32Array(FLOW_WORDS);

  constructor(memory: ArrayBuffer, capacity: number) {
    this.header = new Int32Array(memory, 0, HeaderWord.WORDS);
    this.words = new Int32Array(memory, HeaderWord.WORDS * 4, capacity * FLOW_WORDS);
  }

  /** Flows in use. */
  get count(): number {
    return this.header[HeaderWord.COUNT];
  }

  /** The flows that have not expired. */
  *flows(): Generator<FlowView> {
    const { header, words, copy } = this;
    const now = header[HeaderWord.NOW];
    for (let flow = 0; flow < header[HeaderWord.HIGH_WATER]; flow++) {
      const base = flow << FLOW_SHIFT;
      copy.set(words.subarray(base, base + FLOW_WORDS));
      const isInUse = (copy[FlowWord.STATUS] & words[base + FlowWord.STATUS] & FlowFlag.CONFIRMED) !== 0;
      if (!isInUse || ((copy[FlowWord.DEADLINE] - now) | 0) <= 0) continue;
      yield viewFlow(copy, 0, now);
    }
  }
}
