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

class Census {
  private readonly counts = new Map<string, number>();
  private readonly source = new Map<string, number>();
  private readonly destination = new Map<string, number>();
  /** A bitmap of ports for each protocol and external address. */
  private readonly ports = new Map<string, Int32Array>();

  add(words: Int32Array, base: number): void {
    const status = words[base + FlowWord.STATUS];
    if ((status & FlowFlag.CONFIRMED) === 0) return;
    const protocol = status & 0xff;
    const name = NAMES[protocol] ?? "other";
    raise(this.counts, `${name} ${stateOf(status, protocol)}`);
    if ((status & FlowFlag.DESTINATION_NAT) !== 0) raise(this.destination, name);
    if ((status & FlowFlag.SOURCE_NAT) === 0) return;
    raise(this.source, name);
    if (WITH_PORTS.includes(protocol)) this.notePort(words, base, protocol);
  }

  /** The reply goes to the port that translation has taken; an ICMP identifier stands in the high half. */
  private notePort(words: Int32Array, base: number, protocol: number): void {
    const ports = words[base + FlowWord.REPLY_PORTS];
    const port = protocol === Protocol.ICMP ? ports >>> 16 : ports & 0xffff;
    const key = `${protocol} ${words[base + FlowWord.REPLY_DESTINATION]}`;
    let bitmap = this.ports.get(key);
    if (bitmap === undefined) {
      if (this.ports.size >= MOST_ADDRESSES * WITH_PORTS.length) return;
      bitmap = new Int32Array(BITMAP_WORDS);
      this.ports.set(key, bitmap);
    }
    bitmap[port >> 5] |= 1 << (port & 31);
  }

  result(): FlowCensus {
    const translated = (kind: "source" | "destination") =>
      [...this[kind]].map(([protocol, count]) => ({ kind, protocol, count }));
    return {
      flows: [...this.counts].map(([key, count]) => {
        const [protocol, state] = key.split(" ");
        return { protocol, state, count };
      }),
      translated: [...translated("source"), ...translated("destination")],
      portsInUse: WITH_PORTS.map((protocol) => ({ protocol: NAMES[protocol], count: this.portsOf(protocol) })),
    };
  }

  private portsOf(protocol: number): number {
    let count = 0;
    for (const [key, bitmap] of this.ports) {
      if (key.startsWith(`${protocol} `)) for (const word of bitmap) count += bitsOf(word);
    }
    return count;
  }
}

function stateOf(status: number, protocol: number): string {
  if (protocol === Protocol.TCP) return tcpStateName((status >>> 8) & 0xff).toLowerCase();
  if ((status & FlowFlag.ASSURED) !== 0) return "assured";
  return (status & FlowFlag.SEEN_REPLY) !== 0 ? "replied" : "unreplied";
}

function raise(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function bitsOf(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
