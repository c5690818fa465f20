/**
 * Source NAT: which address and port a new flow gets, by Linux's rules (nf_nat).
 *
 * A mapping is unique by the *reply tuple* of its flow: the flow table itself says whether a port is taken, so there
 * is no second book of ports that could drift from the live flows. The order of choice:
 *   1. a flow that needs no new address keeps its tuple, where the reply tuple is free;
 *   2. the port that this source address and port already use on the chosen address, where it is free to this peer;
 *   3. the original port on the chosen address, where it is free;
 *   4. a random start in the same class of ports (1-511, 600-1023, 1024-65535; identifiers 0-65535), and a bounded
 *      number of tries, each round half as many from a new start. Then the packet is dropped.
 * Only flows whose port was changed are in the index of sources (2.): for the others 2. and 3. agree.
 */
import { FLOW_SHIFT, FlowFlag, FlowWord } from "../conntrack/flow_layout.ts";
import type { FlowId, FlowTable } from "../conntrack/flow_table.ts";
import { HashIndex } from "../conntrack/hash_index.ts";
import { invertPorts, sourceIdent, withSourceIdent } from "../conntrack/tuple.ts";
import { Protocol } from "../packet/ipv4.ts";

/** Flows of one source and port that the index of sources holds: any of them tells the port. */
const REMEMBERED_PER_SOURCE = 8;

/** Tries of the first round of a search; a round shorter than `LEAST_TRIES` ends it. */
const MAX_TRIES = 128;
const LEAST_TRIES = 16;

export class SourceNat {
  /** Searches that found no free port. */
  exhausted = 0;
  private readonly table: FlowTable;
  private readonly random: () => number;
  private readonly sources: HashIndex;
  private readonly sourcesLimit: number;

  /** `random` gives a uniformly distributed 32-bit word. */
  constructor(table: FlowTable, random: () => number) {
    this.table = table;
    this.random = random;
    this.sourcesLimit = table.capacity;
    this.sources = new HashIndex(new Int32Array(HashIndex.slotsFor(table.capacity) * 2));
  }

  /**
   * Writes the reply tuple of `flow`, whose original tuple is set, so that it leaves with source `address`; false when
   * no free port was found. Sets SOURCE_NAT when anything changes.
   */
  bind(flow: FlowId, protocol: number, address: number, now: number): boolean {
    const words = this.table.words;
    const base = flow << FLOW_SHIFT;
    const source = words[base + FlowWord.SOURCE];
    const ports = words[base + FlowWord.PORTS];
    words[base + FlowWord.REPLY_SOURCE] = words[base + FlowWord.DESTINATION];
    words[base + FlowWord.REPLY_DESTINATION] = address;
    const chosen = this.choose(base, protocol, source, address, ports, now);
    if (chosen < 0) {
      this.exhausted++;
      return false;
    }
    const replyPorts = invertPorts(protocol, withSourceIdent(ports, chosen));
    words[base + FlowWord.REPLY_PORTS] = replyPorts;
    if (source !== address || chosen !== sourceIdent(ports)) words[base + FlowWord.STATUS] |= FlowFlag.SOURCE_NAT;
    return true;
  }

  /** Notes a flow whose port was changed, after it has been inserted: later flows of its source use the same port. */
  remember(flow: FlowId): void {
    const words = this.table.words;
    const base = flow << FLOW_SHIFT;
    const status = words[base + FlowWord.STATUS];
    if ((status & FlowFlag.SOURCE_NAT) === 0) return;
    if (sourceIdent(words[base + FlowWord.PORTS]) === this.boundIdent(base)) return;
    const hash = this.sourceHash(base);
    if (this.sources.size >= this.sourcesLimit || this.sources.count(hash) >= REMEMBERED_PER_SOURCE) return;
    words[base + FlowWord.STATUS] = status | FlowFlag.SOURCE_INDEXED;
    this.sources.insert(hash, flow);
  }

  /** To be called for every flow that is removed. */
  forget(flow: FlowId): void {
    const base = flow << FLOW_SHIFT;
    if ((this.table.words[base + FlowWord.STATUS] & FlowFlag.SOURCE_INDEXED) === 0) return;
    this.sources.remove(this.sourceHash(base), flow);
  }

  /** Flows in the index of sources. */
  get remembered(): number {
    return this.sources.size;
  }

  private choose(base: number, protocol: number, source: number, address: number, ports: number, now: number): number {
    const original = sourceIdent(ports);
    if (!hasIdent(protocol)) return this.isFree(base, protocol, 0, now) ? 0 : -1;
    if (source !== address) {
      const used = this.identInUse(base, protocol, source, original, address, now);
      if (used >= 0 && this.isFree(base, protocol, withSourceIdent(ports, used), now)) return used;
    }
    if (this.isFree(base, protocol, ports, now)) return original;
    return this.search(base, protocol, ports, now);
  }

  private search(base: number, protocol: number, ports: number, now: number): number {
    const original = sourceIdent(ports);
    let low = 1024;
    let size = 64_512;
    if (protocol === Protocol.ICMP) {
      low = 0;
      size = 65_536;
    } else if (original < 512) {
      low = 1;
      size = 511;
    } else if (original < 1024) {
      low = 600;
      size = 424;
    }
    let tries = Math.min(size, MAX_TRIES);
    for (;;) {
      const start = (this.random() >>> 0) % size;
      for (let i = 0; i < tries; i++) {
        const ident = low + ((start + i) % size);
        if (this.isFree(base, protocol, withSourceIdent(ports, ident), now)) return ident;
      }
      if (tries >= size || tries < LEAST_TRIES) return -1;
      tries >>= 1;
    }
  }

  /** Whether no flow has the reply tuple that `ports` (of the original direction, translated) would give. */
  private isFree(base: number, protocol: number, ports: number, now: number): boolean {
    const words = this.table.words;
    const source = words[base + FlowWord.REPLY_SOURCE];
    const destination = words[base + FlowWord.REPLY_DESTINATION];
    const inverted = invertPorts(protocol, ports);
    const hash = this.table.hash(source, destination, inverted, protocol);
    return this.table.lookup(hash, source, destination, inverted, protocol, now) < 0;
  }

  /** The port that the same source already uses on `address`; -1 when it uses none but its own. */
  private identInUse(
    base: number,
    protocol: number,
    source: number,
    ident: number,
    address: number,
    now: number,
  ): number {
    if (this.sources.size === 0) return -1;
    const words = this.table.words;
    const hash = this.sourceHash(base);
    const { slots, mask } = this.sources;
    for (let position = hash & mask; ; position = (position + 1) & mask) {
      const stored = slots[position * 2 + 1];
      if (stored === 0) return -1;
      if (slots[position * 2] !== hash) continue;
      const other = (stored - 1) << FLOW_SHIFT;
      if (
        words[other + FlowWord.SOURCE] === source &&
        sourceIdent(words[other + FlowWord.PORTS]) === ident &&
        words[other + FlowWord.REPLY_DESTINATION] === address &&
        (words[other + FlowWord.STATUS] & 0xff) === protocol &&
        this.table.isLive((stored - 1) as FlowId, now)
      ) {
        return this.boundIdent(other);
      }
    }
  }

  /** The translated source port or identifier of a bound flow. */
  private boundIdent(base: number): number {
    const words = this.table.words;
    const ports = words[base + FlowWord.REPLY_PORTS];
    return (words[base + FlowWord.STATUS] & 0xff) === Protocol.ICMP ? ports >>> 16 : ports & 0xffff;
  }

  private sourceHash(base: number): number {
    const words = this.table.words;
    const protocol = words[base + FlowWord.STATUS] & 0xff;
    return this.table.hash(words[base + FlowWord.SOURCE], 0, sourceIdent(words[base + FlowWord.PORTS]), protocol);
  }
}

/** Protocols with a port or identifier that NAT can change. */
function hasIdent(protocol: number): boolean {
  return protocol === Protocol.TCP || protocol === Protocol.UDP || protocol === Protocol.ICMP;
}
