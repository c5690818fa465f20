/** What is told of a packet's walk, stage by stage: plain data, ready to be sent and printed. */

import type { FlowView } from "../../conntrack/format.ts";

export type StageName =
  | "in"
  | "guard"
  | "bridge"
  | "fragments"
  | "conntrack"
  | "dnat"
  | "route"
  | "limits"
  | "filter"
  | "snat"
  | "flow"
  | "service"
  | "neighbour"
  | "egress"
  | "answer"
  | "question"
  | "out"
  | "stop";

/** A rule that the packet was held against. */
export interface WalkedRule {
  table: string;
  chain: string;
  /** From 1, as `iptables` counts. */
  number: number;
  rule: string;
  matched: boolean;
  /** Of one that does not match: the first thing it asks for that the packet does not have. */
  because?: string;
}

export interface Step {
  stage: StageName;
  text: string;
  /** Rules in the order in which they were met; of those that do not match, a bounded number. */
  rules?: WalkedRule[];
  /** Rules that do not match and are not listed. */
  omitted?: number;
}

/** The rule or policy that stopped a packet; number 0 is the policy. */
export interface DecidingRule {
  chain: string;
  number: number;
  rule: string;
}

/** One packet's walk. */
export interface Walk {
  /** Milliseconds since 1970. */
  time: number;
  port: string;
  interface: string;
  /** The frame as it came, in one line; and its hardware addresses. */
  frame: string;
  sourceMac: string;
  destinationMac: string;
  steps: Step[];
  /** Name of the stop reason: `routed`, `switched`, `forward-drop`, … */
  verdict: string;
  outcome: "done" | "dropped";
  rule?: DecidingRule;
  /** Its flow after it, where it has one that is not over. */
  flow?: FlowView;
  /** Ports that it leaves by, and the frame as it leaves. */
  egress: string[];
  frameAfter?: string;
  /** All of it in one sentence. */
  sentence: string;
}

/** A frame that would leave: the packet itself, or (`own`) what the router itself sends. */
export interface SentFrame {
  port: string;
  own: boolean;
  frame: string;
  /** The Ethernet frame. */
  hex: string;
  /** The 10 bytes of offload header before it. */
  vnetHeader: string;
}

export interface Explanation extends Walk {
  sent: SentFrame[];
}
