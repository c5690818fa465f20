/**
 * Who is in the flow table, counted from the shared memory while the dataplane goes on: flows by protocol and state,
 * translated ones, and the ports that translation has in use. A long table is gone through in pieces, and the event loop
 * is served in between; flows that come and go meanwhile may be missed or counted twice.
 */
import { FLOW_SHIFT, FlowFlag, FlowWord, HeaderWord } from "../../conntrack/flow_layout.ts";
import { tcpStateName } from "../../conntrack/tcp_states.ts";
import { Protocol } from "../../packet/ipv4.ts";

/** Entries between two turns of the event loop: about a millisecond. */
const ENTRIES_AT_ONCE = 65_536;
/** External addresses whose ports are counted; a bit for each port. */
const MOST_ADDRESSES = 256;
const BITMAP_WORDS = 65_536 / 32;

const NAMES: Record<number, string> = { [Protocol.ICMP]: "icmp", [Protocol.TCP]: "tcp", [Protocol.UDP]: "udp" };
/** Those whose translation takes ports (of ICMP: identifiers). */
const WITH_PORTS: readonly number[] = [Protocol.TCP, Protocol.UDP, Protocol.ICMP];

export interface FlowCensus {
  /** By protocol and state; TCP has the states of its connections, others are `unreplied`, `replied` or `assured`. */
  flows: { protocol: string; state: string; count: number }[];
  translated: { kind: "source" | "destination"; protocol: string; count: number }[];
  portsInUse: { protocol: string; count: number }[];
}

/** `header` and `words`: the flow table's, mapped. */
export async function countFlows(header: Int32Array, words: Int32Array): Promise<FlowCensus> {
  const census = new Census();
  for (let flow = 0; flow < header[HeaderWord.HIGH_WATER]; flow++) {
    if (flow > 0 && flow % ENTRIES_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
    census.add(words, flow << FLOW_SHIFT);
  }
  return census.result();
}

/** TCP's states are counted by their numbers, those of other protocols behind them. */
const OTHER_STATES = ["unreplied", "replied", "assured"] as const;
const FIRST_OTHER_STATE = 16;
const STATES = FIRST_OTHER_STATE + OTHER_STATES.length;
const PROTOCOLS = 256;

class Census {
  /** By protocol and state. */
  private readonly counts = new Uint32Array(PROTOCOLS * STATES);
  private readonly source = new Uint32Array(PROTOCOLS);
  private readonly destination = new Uint32Array(PROTOCOLS);
  /** Bitmaps of ports, by external address, for each protocol. */
  private readonly ports = new Map(WITH_PORTS.map((protocol) => [protocol, new Map<number, Int32Array>()]));

  add(words: Int32Array, base: number): void {
    const status = words[base + FlowWord.STATUS];
    if ((status & FlowFlag.CONFIRMED) === 0) return;
    const protocol = status & 0xff;
    this.counts[protocol * STATES + stateOf(status, protocol)]++;
    if ((status & FlowFlag.DESTINATION_NAT) !== 0) this.destination[protocol]++;
    if ((status & FlowFlag.SOURCE_NAT) === 0) return;
    this.source[protocol]++;
    this.notePort(words, base, protocol);
  }

  /** The reply goes to the port that translation has taken; an ICMP identifier stands in the high half. */
  private notePort(words: Int32Array, base: number, protocol: number): void {
    const bitmaps = this.ports.get(protocol);
    if (bitmaps === undefined) return;
    const ports = words[base + FlowWord.REPLY_PORTS];
    const port = protocol === Protocol.ICMP ? ports >>> 16 : ports & 0xffff;
    const address = words[base + FlowWord.REPLY_DESTINATION];
    let bitmap = bitmaps.get(address);
    if (bitmap === undefined) {
      if (bitmaps.size >= MOST_ADDRESSES) return;
      bitmap = new Int32Array(BITMAP_WORDS);
      bitmaps.set(address, bitmap);
    }
    bitmap[port >> 5] |= 1 << (port & 31);
  }

  result(): FlowCensus {
    return {
      flows: byName(this.counts),
      translated: [...translated("source", this.source), ...translated("destination", this.destination)],
      portsInUse: [...this.ports].map(([protocol, bitmaps]) => ({ protocol: NAMES[protocol], count: bitsIn(bitmaps) })),
    };
  }
}

function byName(counts: Uint32Array): FlowCensus["flows"] {
  const flows = new Map<string, FlowCensus["flows"][number]>();
  for (const [index, count] of counts.entries()) {
    if (count === 0) continue;
    const protocol = NAMES[Math.floor(index / STATES)] ?? "other";
    const number = index % STATES;
    const state = OTHER_STATES[number - FIRST_OTHER_STATE] ?? tcpStateName(number).toLowerCase();
    const before = flows.get(`${protocol} ${state}`)?.count ?? 0;
    flows.set(`${protocol} ${state}`, { protocol, state, count: before + count });
  }
  return [...flows.values()];
}

function translated(kind: "source" | "destination", counts: Uint32Array): FlowCensus["translated"] {
  const named = Object.entries(NAMES).map(([protocol, name]) => ({
    kind,
    protocol: name,
    count: counts[Number(protocol)],
  }));
  const all = counts.reduce((sum, count) => sum + count, 0);
  const other = all - named.reduce((sum, { count }) => sum + count, 0);
  return [...named, { kind, protocol: "other", count: other }].filter(({ count }) => count > 0);
}

function stateOf(status: number, protocol: number): number {
  if (protocol === Protocol.TCP) return (status >>> 8) & 0xf;
  if ((status & FlowFlag.ASSURED) !== 0) return FIRST_OTHER_STATE + 2;
  return FIRST_OTHER_STATE + ((status & FlowFlag.SEEN_REPLY) !== 0 ? 1 : 0);
}

function bitsIn(bitmaps: ReadonlyMap<number, Int32Array>): number {
  let count = 0;
  for (const bitmap of bitmaps.values()) for (const word of bitmap) count += bitsOf(word);
  return count;
}

function bitsOf(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
