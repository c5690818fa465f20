/** Two hosts and a tracker between them, on a manual clock: each packet is judged, and the hosts keep their numbers. */
import { Direction, FLOW_SHIFT, FlowFlag, FlowWord } from "../../src/conntrack/flow_layout.ts";
import { type FlowId, FlowTable } from "../../src/conntrack/flow_table.ts";
import { TcpTracker } from "../../src/conntrack/tcp.ts";
import { type TimeoutSeconds, Timeouts } from "../../src/conntrack/timeouts.ts";
import { stateName, stateOf, Tracker } from "../../src/conntrack/tracker.ts";
import { invertPorts } from "../../src/conntrack/tuple.ts";
import { Arena, SLOT_BYTES } from "../../src/packet/arena.ts";
import type { Frame } from "../../src/packet/frame.ts";
import { Stop } from "../../src/packet/stop_reasons.ts";
import type { TcpFields } from "./frames.ts";
import { buildIcmp, buildTcp, buildUdp } from "./packets.ts";

export const CLIENT = "10.55.66.2";
export const SERVER = "203.0.113.2";

/** What became of a packet. */
export type Verdict = "new" | "ok" | "invalid" | "reopen";

export interface ConversationOptions {
  liberal?: boolean;
  loose?: boolean;
  timeouts?: Partial<TimeoutSeconds>;
  /** Takes the general path for every segment. */
  general?: boolean;
}

export class Conversation {
  readonly arena = new Arena(new ArrayBuffer(SLOT_BYTES), 1);
  readonly table = new FlowTable(new ArrayBuffer(FlowTable.bytesFor(16)), 16, 1);
  readonly tracker: Tracker;
  private readonly general: TcpTracker | undefined;
  /** The clock begins shortly before it wraps. */
  now = 0x7fffff00 | 0;
  flow = -1 as FlowId;
  /** Next sequence number of client and server. */
  readonly next = [1000, 5000];
  window = 65535;

  constructor(options: ConversationOptions = {}) {
    const { liberal = false, loose = true, timeouts = {}, general = false } = options;
    const { milliseconds } = new Timeouts(timeouts);
    this.tracker = new Tracker(this.table, new Timeouts(timeouts), { liberal, loose });
    this.general = general ? new TcpTracker(this.table, milliseconds, { liberal, loose }) : undefined;
  }

  advance(seconds: number): void {
    this.now = (this.now + Math.round(seconds * 1000)) | 0;
  }

  /** Sends a segment with these flags: the client's direction is 0. Numbers that are not given are the next ones. */
  tcp(direction: number, flags: string, fields: TcpFields = {}): Verdict {
    const sequence = fields.sequence ?? this.next[direction];
    const acknowledgement = fields.acknowledgement ?? (flags.includes("A") ? this.next[1 - direction] : 0);
    const length = (fields.payload?.length ?? 0) + (flags.includes("S") ? 1 : 0) + (flags.includes("F") ? 1 : 0);
    if (fields.sequence === undefined) this.next[direction] += length;
    const frame = buildTcp(this.arena, 0, {
      ...this.ends(direction),
      sourcePort: direction === 0 ? 40000 : 80,
      destinationPort: direction === 0 ? 80 : 40000,
      window: this.window,
      ...fields,
      flags,
      sequence,
      acknowledgement,
    });
    return this.judge(frame, direction);
  }

  udp(direction: number): Verdict {
    const ports = direction === 0 ? [40000, 53] : [53, 40000];
    return this.judge(
      buildUdp(this.arena, 0, { ...this.ends(direction), sourcePort: ports[0], destinationPort: ports[1] }),
      direction,
    );
  }

  icmp(direction: number, type: number): Verdict {
    return this.judge(buildIcmp(this.arena, 0, { ...this.ends(direction), type }), direction);
  }

  private ends(direction: number): { source: string; destination: string } {
    return direction === 0 ? { source: CLIENT, destination: SERVER } : { source: SERVER, destination: CLIENT };
  }

  /** As the pipeline does: look up, then update, or open. */
  judge(frame: Frame, direction: number): Verdict {
    const hash = this.table.hash(frame.source, frame.destination, frame.ports, frame.protocol);
    const { source, destination, ports, protocol } = frame;
    const reference = this.table.lookup(hash, source, destination, ports, protocol, this.now);
    if (reference < 0) return this.open(frame) ? "new" : "invalid";
    if ((reference & 1) !== direction) throw new Error("the flow has another direction than the test thinks");
    const flow = (reference >> 1) as FlowId;
    const verdict =
      this.general === undefined
        ? this.tracker.update(this.arena.memory, frame, flow, direction, this.now)
        : this.general.updateAny(this.arena.memory, frame, flow, direction, this.now);
    if (verdict === Stop.CONTINUE) return "ok";
    return verdict === Stop.INVALID_STATE ? "invalid" : "reopen";
  }

  private open(frame: Frame): boolean {
    if (this.tracker.mayOpen(this.arena.memory, frame) !== Stop.CONTINUE) return false;
    const flow = this.table.allocate();
    const words = this.table.words;
    const base = flow << FLOW_SHIFT;
    words[base + FlowWord.SOURCE] = frame.source;
    words[base + FlowWord.DESTINATION] = frame.destination;
    words[base + FlowWord.PORTS] = frame.ports;
    words[base + FlowWord.REPLY_SOURCE] = frame.destination;
    words[base + FlowWord.REPLY_DESTINATION] = frame.source;
    words[base + FlowWord.REPLY_PORTS] = invertPorts(frame.protocol, frame.ports);
    words[base + FlowWord.STATUS] = frame.protocol;
    if (this.tracker.open(this.arena.memory, frame, flow, this.now) !== Stop.CONTINUE) {
      this.table.abandon(flow);
      return false;
    }
    this.table.insert(flow);
    this.flow = flow;
    return true;
  }

  /** All that is kept of the flow. */
  words(): number[] {
    return [...this.table.words.subarray(this.flow << FLOW_SHIFT, (this.flow + 1) << FLOW_SHIFT)];
  }

  word(name: keyof typeof FlowWord): number {
    return this.table.words[(this.flow << FLOW_SHIFT) + FlowWord[name]];
  }

  get status(): number {
    return this.word("STATUS");
  }

  /** Name of the TCP state. */
  get state(): string {
    return stateName(this.status & 0xff, stateOf(this.status));
  }

  get isAssured(): boolean {
    return (this.status & FlowFlag.ASSURED) !== 0;
  }

  get hasReply(): boolean {
    return (this.status & FlowFlag.SEEN_REPLY) !== 0;
  }

  get isAlive(): boolean {
    return this.table.isLive(this.flow, this.now);
  }

  /** Seconds until the flow ends. */
  get secondsLeft(): number {
    return ((this.word("DEADLINE") - this.now) | 0) / 1000;
  }

  /** The three segments of a handshake. */
  handshake(clientOptions?: Uint8Array, serverOptions?: Uint8Array): void {
    this.tcp(Direction.ORIGINAL, "S", clientOptions === undefined ? {} : { options: clientOptions });
    this.tcp(Direction.REPLY, "SA", serverOptions === undefined ? {} : { options: serverOptions });
    this.tcp(Direction.ORIGINAL, "A");
  }
}
