/**
 * What the control process and the dataplane process say to each other over their channel, as JSON; descriptors ride
 * along. The control process sends requests, each with an `id`; the dataplane answers each with a `Reply` of that id,
 * between bursts, in order. `Notice`s come unasked.
 */

import type { FlowFilter } from "../conntrack/filter.ts";
import type { ChainCounters } from "../filter/compiled_rules.ts";
import type { RuleSet, TableName } from "../filter/rule_set.ts";
import type { PolicyRule } from "../routing/policy.ts";
import type { CapturePlan } from "./capture_plan.ts";
import type { DecidingRule } from "./explain/steps.ts";
import type { ImpairmentPlan, LimitsPlan, NeighbourPlan, PortPlan, RouteChange, RouterPlan } from "./plan.ts";

export type Request =
  /**
   * First message. Descriptors: the flow table's memfd, the statistics' memfd, and, for a dataplane that is to outlive its
   * control process, the socket at which the next one finds it (`hand_over.ts`). `adopts`: another dataplane
   * fills the memory, perhaps still: all is made ready, and no flow is read or written there until `adopt`.
   */
  | { id: number; type: "start"; plan: RouterPlan; limits: LimitsPlan; spinMicroseconds: number; adopts: boolean }
  /** The other dataplane has ended, and what it has left goes on; the result is an `Adoption`. */
  | { id: number; type: "adopt" }
  /**
   * A whole new plan, applied between two bursts; without rules, those in force stay. Ports are added and removed by
   * their own messages.
   */
  | { id: number; type: "apply"; plan: Omit<RouterPlan, "rules"> & { rules?: RuleSet }; carry?: CounterCarry }
  /** Sets rule counters to zero: of all tables, a table, a chain, or one rule of it (from 0; the policy is behind the last). */
  | { id: number; type: "zero-rules"; table: TableName; chain?: string; rule?: number }
  /** Gives prefixes of a table other routes; at most some hundred at a time, so that nobody waits. */
  | { id: number; type: "change-routes"; change: RouteChange }
  | { id: number; type: "set-policy"; rules: PolicyRule[] }
  | { id: number; type: "set-neighbour"; neighbour: NeighbourPlan }
  | { id: number; type: "remove-neighbour"; interface: number; address: number }
  /** Which way a packet would take; the result is `FoundRoute`. */
  | { id: number; type: "find-route"; question: RouteQuestion }
  /** Descriptor: the device. `kind` as in `PortKind`. */
  | { id: number; type: "add-port"; port: PortPlan; kind: "tap" | "packet" }
  | { id: number; type: "remove-port"; port: number }
  | { id: number; type: "show"; table: ShowTable }
  /** Ends live flows of a filter from entry `from` on, a piece at a time; the result is `RemovedFlows`. */
  | { id: number; type: "remove-flows"; filter: FlowFilter; from: number; isQuiet: boolean }
  /** Flows that another router has left: base64 of this machine's words. The result is `Restored`. */
  | { id: number; type: "restore-flows"; flows: string }
  /** Descriptor: a ring for events of `capacity` records. They are written until the next message, or the end. */
  | { id: number; type: "watch-flows"; capacity: number }
  | { id: number; type: "unwatch-flows" }
  /** The device of an interface has gone down or come up. */
  | { id: number; type: "set-link"; interface: number; isUp: boolean }
  /** Times the stages of one burst in so many, until so much later (see `stage_timer.ts`). */
  | { id: number; type: "time-stages"; everyBursts: number; forMs: number }
  /** What would happen to a frame (base64) that comes in by a port; the result is an `Explanation`. Changes nothing. */
  | { id: number; type: "explain"; port: number; frame: string; fitsNumbers: boolean }
  /** Descriptor: the memory of the capture's ring. Frames are recorded until the next message, or the end. */
  | { id: number; type: "start-capture"; plan: CapturePlan }
  | { id: number; type: "stop-capture"; capture: number }
  /** Records the walks of frames that a program of pcap-filter selects; the result is the trace's number. `port` -1: any. */
  | { id: number; type: "trace-start"; program: number[]; port: number; perSecond: number }
  /** What a trace has recorded; the result is a `TracePiece`. One that is not read for ten seconds ends. */
  | { id: number; type: "trace-read"; trace: number }
  | { id: number; type: "trace-stop"; trace: number }
  /** Descriptor: memory that holds what the next control process is to know, should this one end before it says "stop". */
  | { id: number; type: "keep-estate" }
  /** Sends a datagram to a station of a network. */
  | { id: number; type: "send-datagram"; datagram: SentDatagram }
  /** Sends a datagram of the router's own to a server, from a port of its choice; the result is an `OwnSocket`. */
  | { id: number; type: "ask-server"; question: ServerQuestion }
  /** Nothing more is expected of a server. */
  | { id: number; type: "forget-server"; socket: OwnSocket }
  /** Ends the loop; the process exits with 0 after its reply. */
  | { id: number; type: "stop" };

export type ShowTable = "fdb" | "neighbours" | "rules" | "stats" | "drops" | "ports" | "invariants" | "impairments";

export type Reply = { id: number; ok: true; result?: unknown } | { id: number; ok: false; error: string };

export type Notice =
  /** A device failed for good (`error` is the errno's name); the port has been taken out of the loop. */
  | { notice: "port-error"; port: number; errno: number }
  | { notice: "rule-log"; entry: RuleLog }
  | { notice: "datagram"; datagram: ReceivedDatagram }
  | { notice: "log"; level: "info" | "warn" | "error"; message: string };

/** A UDP datagram for a service of the router's own. Addresses are host-order words, the payload is base64. */
export interface ReceivedDatagram {
  service: "dhcp" | "dns" | "answer";
  /** Where it came in. */
  interface: number;
  port: number;
  /** Of the frame's sender. */
  mac: string;
  source: number;
  destination: number;
  sourcePort: number;
  destinationPort: number;
  payload: string;
}

/** A datagram that leaves by a port of a network, to a hardware address. */
export interface SentDatagram extends Omit<ReceivedDatagram, "service" | "mac"> {
  /** Of the station that it is for. */
  mac: string;
}

export interface ServerQuestion {
  destination: number;
  destinationPort: number;
  payload: string;
}

/** Both ends of a question to a server. */
export interface OwnSocket {
  source: number;
  sourcePort: number;
  destination: number;
  destinationPort: number;
}

/** Which counters rules begin with; without it, rules in the same words keep theirs. Numbers as `CompiledRules` has them. */
export interface CounterCarry {
  /** For each rule and policy of the new plan its number in the present one; -1: it begins with none. */
  origins: number[];
  /** Counters that are given. */
  counted: { number: number; packets: number; bytes: number }[];
}

export interface RemovedFlows {
  /** Where the next piece begins; -1 after the last one. */
  next: number;
  removed: number;
  /** The dataplane's clock, to tell deadlines by. */
  now: number;
  /** The words of the flows that were ended, as they were then: base64 of this machine's words; empty when quiet. */
  flows: string;
}

/** What became of flows that were to be restored. */
export interface Restored {
  restored: number;
  expired: number;
  /** Not consistent in themselves. */
  unsound: number;
  /** The rules in force would not let them pass, or would translate them otherwise. */
  forbidden: number;
  /** Another flow has one of their tuples or ends. */
  taken: number;
  /** The table is full, or the flows of their host are as many as it may have. */
  noRoom: number;
}

export type ToDataplane = Request;
export type ToControl = Reply | Notice;

/** Rows of `show`; addresses are dotted quads, MACs colon-separated, ready for printing. */
export interface FdbRow {
  network: number;
  mac: string;
  port: number;
  ageMs: number;
}

export interface RouteQuestion {
  destination: number;
  /** 0: the router's own packet. */
  source: number;
  mark: number;
  /** -1: none. */
  interface: number;
  port: number;
}

export interface FoundRoute {
  /** A `RouteKind`; -1: no route. */
  kind: number;
  interface: number;
  via: number;
  table: number;
}

export interface NeighbourRow {
  interface: number;
  address: string;
  mac: string | null;
  state: "incomplete" | "reachable" | "stale" | "probe" | "failed" | "permanent";
  parked: number;
}

/** The last packet that met a reason (`last_drops.ts`). */
export interface LastDrop {
  /** Milliseconds since 1970. */
  time: number;
  /** Port that it came in by. */
  port: string;
  /** In one line, as tcpdump prints it. */
  frame: string;
  /** The rule or policy (number 0) that stopped it. */
  rule?: DecidingRule;
}

export interface DropRow {
  reason: string;
  text: string;
  outcome: "done" | "dropped";
  count: number;
  /** The stage where it comes about. */
  stage: string;
  last?: LastDrop;
}

export interface PortRow {
  port: number;
  rxFrames: number;
  rxBytes: number;
  txFrames: number;
  txBytes: number;
  txFull: number;
  txErrors: number;
  rxErrors: number;
  /** Frames, and packets of new flows, beyond what the port may send in a second. */
  rxLimited: number;
  flowsLimited: number;
}

/** One for each port and direction that is impaired. */
export interface ImpairmentRow {
  port: number;
  direction: "in" | "out";
  plan: ImpairmentPlan;
  /** What came, and what became of it. */
  frames: number;
  bytes: number;
  lost: number;
  duplicated: number;
  corrupted: number;
  reordered: number;
  overLimit: number;
  waiting: number;
}

export interface StatsResult {
  /** Named counters of the dataplane, e.g. `frames`, `bursts`, `flows`, `icmpErrorsSent`. */
  counters: Record<string, number>;
}

/** Counters of each table's chains, in the order of the rule set. */
export type RulesResult = Record<TableName, ChainCounters[]>;

/** A packet has met a rule with LOG; addresses as dotted quads, `mac` as the kernel's log has it. */
export interface RuleLog {
  prefix: string;
  level: number;
  table: TableName;
  chain: string;
  in: string;
  out: string;
  physin?: string;
  mac: string;
  src: string;
  dst: string;
  len: number;
  tos: number;
  ttl: number;
  id: number;
  df: boolean;
  proto: number;
  mark: number;
  spt?: number;
  dpt?: number;
  flags?: string;
  type?: number;
  code?: number;
}
