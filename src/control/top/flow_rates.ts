/**
 * The busiest flows: what each entry of the flow table has counted since it was looked at last, for as long as somebody
 * asks. The table is read in the shared memory while the dataplane goes on, in pieces; several who ask at about the same
 * time get the same answer.
 */
import { COUNTER_WORDS, FLOW_SHIFT, FlowFlag, FlowWord, HeaderWord } from "../../conntrack/flow_layout.ts";
import { type FlowView, viewFlow } from "../../conntrack/format.ts";
import type { FlowReader } from "../flows.ts";

/** Flows that are told of at most. */
export const MOST_FLOWS = 100;
/** A look is not taken again before this has passed. */
const SHORTEST_MS = 200;
/** After this the memory of the last look is given back. */
const FORGET_MS = 30_000;
const ENTRIES_AT_ONCE = 65_536;

export const ORDERS = ["packets", "bytes"] as const;
export type Order = (typeof ORDERS)[number];

/** Rates of both directions together. */
export interface FlowRate {
  packetsPerSecond: number;
  bytesPerSecond: number;
  flow: FlowView;
}

type FlowSource = Pick<FlowReader, "header" | "words" | "entry">;
type Ranked = Record<Order, FlowRate[]>;

interface Look {
  atMs: number;
  /** What tells the flow of an entry from the one before it, and what it had counted. */
  marks: Int32Array;
  packets: Float64Array;
  bytes: Float64Array;
}

interface Place {
  flow: number;
  rate: number;
}

export class FlowRates {
  private readonly flows: FlowSource;
  private last: Look | undefined;
  private ranked: Ranked = { packets: [], bytes: [] };
  private looking: Promise<void> | undefined;
  private forget: NodeJS.Timeout | undefined;

  constructor(flows: FlowSource) {
    this.flows = flows;
  }

  /** The busiest flows since the look before; none at the first. `nowMs`: any steady clock. */
  async busiest(order: Order, most: number, nowMs: number): Promise<FlowRate[]> {
    clearTimeout(this.forget);
    if (this.last === undefined || nowMs - this.last.atMs >= SHORTEST_MS) {
      this.looking ??= this.look(nowMs).finally(() => {
        this.looking = undefined;
      });
    }
    await this.looking;
    this.forget = setTimeout(() => this.close(), FORGET_MS).unref();
    return this.ranked[order].slice(0, most);
  }

  close(): void {
    clearTimeout(this.forget);
    this.last = undefined;
    this.ranked = { packets: [], bytes: [] };
  }

  private async look(nowMs: number): Promise<void> {
    const { header, words } = this.flows;
    const before = this.last;
    const entries = header[HeaderWord.HIGH_WATER];
    const look = { atMs: nowMs, ...room(entries) };
    const tops = { packets: new Top(MOST_FLOWS), bytes: new Top(MOST_FLOWS) };
    for (let flow = 0; flow < entries; flow++) {
      if (flow > 0 && flow % ENTRIES_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
      const base = flow << FLOW_SHIFT;
      if ((words[base + FlowWord.STATUS] & FlowFlag.CONFIRMED) === 0) continue;
      const mark = words[base + FlowWord.CREATED] ^ words[base + FlowWord.SOURCE] ^ words[base + FlowWord.PORTS];
      const [packets, bytes] = countedBy(words, base);
      look.marks[flow] = mark;
      look.packets[flow] = packets;
      look.bytes[flow] = bytes;
      if (before === undefined) continue;
      const isSame = flow < before.marks.length && before.marks[flow] === mark && before.packets[flow] <= packets;
      tops.packets.offer(flow, packets - (isSame ? before.packets[flow] : 0));
      tops.bytes.offer(flow, bytes - (isSame ? before.bytes[flow] : 0));
    }
    if (before !== undefined) this.rank(tops, before, look);
    this.last = look;
  }

  private rank(tops: Record<Order, Top>, before: Look, look: Look): void {
    const seconds = (look.atMs - before.atMs) / 1000;
    const rateOf = ({ flow }: Place): FlowRate[] => {
      const words = this.flows.entry(flow);
      if (words === undefined) return [];
      const isSame = flow < before.marks.length && before.marks[flow] === look.marks[flow];
      const since = (values: "packets" | "bytes"): number =>
        Math.max(0, look[values][flow] - (isSame ? before[values][flow] : 0)) / seconds;
      const view = viewFlow(words, 0, this.flows.header[HeaderWord.NOW]);
      return [{ packetsPerSecond: since("packets"), bytesPerSecond: since("bytes"), flow: view }];
    };
    this.ranked = {
      packets: tops.packets.places.flatMap(rateOf),
      bytes: tops.bytes.places.flatMap(rateOf),
    };
  }
}

function room(entries: number): Omit<Look, "atMs"> {
  return { marks: new Int32Array(entries), packets: new Float64Array(entries), bytes: new Float64Array(entries) };
}

function countedBy(words: Int32Array, base: number): [packets: number, bytes: number] {
  let [packets, bytes] = [0, 0];
  for (const at of [base + FlowWord.PACKETS, base + FlowWord.PACKETS + COUNTER_WORDS]) {
    const high = words[at + 2];
    packets += (words[at] >>> 0) + (high >>> 16) * 2 ** 32;
    bytes += (words[at + 1] >>> 0) + (high & 0xffff) * 2 ** 32;
  }
  return [packets, bytes];
}

/** The `limit` largest of those that are offered, the largest first. */
class Top {
  readonly places: Place[] = [];
  private readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  offer(flow: number, rate: number): void {
    const { places, limit } = this;
    if (rate <= 0 || (places.length === limit && rate <= places[limit - 1].rate)) return;
    let at = places.length;
    while (at > 0 && places[at - 1].rate < rate) at--;
    places.splice(at, 0, { flow, rate });
    if (places.length > limit) places.pop();
  }
}
