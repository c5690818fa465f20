/**
 * Judging flows again: those that a change of rules forbids end at once, also when no packet of them comes.
 *
 * Theory of operation. A change of rules raises the generation, so the next packet of each flow is judged anew: no packet
 * passes that the new rules refuse. What is done here is for the flows themselves. After a change all entries are gone
 * through, a bounded piece between two bursts, and each flow is judged from its tuples: as the next packet of the
 * original direction and, for TCP, of the reply direction. One that the rules before would have let pass and those in
 * force refuse is ended. What comes in where is told by the route to its source; where that guess is wrong, both
 * sets of rules answer alike, and the flow stays: its next packet decides. Nothing is ended while the rules ask for what
 * only a packet tells (`isToldByFlow`), nor for want of a route: routes come and go.
 *
 * A change that comes while a piece is left begins anew, against the rules before the first of them.
 */
import { FLOW_SHIFT, FlowFlag, FlowWord, HeaderWord, TUPLE_WORDS } from "../conntrack/flow_layout.ts";
import type { FlowId } from "../conntrack/flow_table.ts";
import { invertPorts } from "../conntrack/tuple.ts";
import type { CompiledRules } from "../filter/compiled_rules.ts";
import { FilterKey } from "../filter/key.ts";
import type { Surroundings } from "../filter/names.ts";
import { RuleState, StatusBit } from "../filter/rule_set.ts";
import { isToldByFlow, namesPorts } from "../filter/told_by_flow.ts";
import { Protocol } from "../packet/ipv4.ts";
import * as tcp from "../packet/tcp.ts";
import { areIsolated } from "./admit.ts";
import { natStates } from "./ask.ts";
import { PORT_BITS, PORT_MASK } from "./bridge_filter.ts";
import { Counter } from "./counters.ts";
import type { Interface } from "./interfaces.ts";
import type { Router } from "./router.ts";
import { RouteKind } from "./routes.ts";

/** Entries looked at, and flows judged, between two bursts: about 50 us of work. */
const SCANNED_AT_ONCE = 4096;
const JUDGED_AT_ONCE = 64;

/** All that judges, but routes and neighbours. */
export interface Judges {
  rules: CompiledRules;
  interfaces: readonly (Interface | undefined)[];
}

export class Rejudge {
  isPending = false;
  private readonly router: Router;
  private readonly key = new FilterKey();
  private before: Judges | undefined;
  private needsPorts = false;
  private cursor = 0;

  constructor(router: Router) {
    this.router = router;
    this.key.isDry = true;
  }

  /** The router's rules or interfaces have changed; `before` are those that were there. */
  begin(before: Judges, around: Surroundings): void {
    const { ruleSet } = this.router.rules;
    if (!this.isPending) this.before = before;
    this.isPending = isToldByFlow(ruleSet) && this.router.flows.count > 0;
    if (!this.isPending) this.before = undefined;
    const sets = [ruleSet, ...(this.before === undefined ? [] : [this.before.rules.ruleSet])];
    this.needsPorts = this.isPending && sets.some((set) => namesPorts(set, around));
    this.cursor = 0;
  }

  /** Judges the next flows. */
  run(): void {
    const { flows, now, counters } = this.router;
    const end = flows.header[HeaderWord.HIGH_WATER];
    const last = Math.min(end, this.cursor + SCANNED_AT_ONCE);
    let judged = 0;
    for (; this.cursor < last && judged < JUDGED_AT_ONCE; this.cursor++) {
      const flow = this.cursor as FlowId;
      if (!flows.isLive(flow, now)) continue;
      judged++;
      if (this.before === undefined || !this.isForbidden(flow << FLOW_SHIFT, this.before)) continue;
      flows.remove(flow);
      counters.values[Counter.flowsForbidden]++;
    }
    if (this.cursor < end) return;
    this.isPending = false;
    this.before = undefined;
  }

  /**
   * Whether the rules in force refuse a flow that comes from elsewhere, as far as its tuples tell: there are no rules
   * before to compare with.
   */
  isForbiddenNow(base: number): boolean {
    const { rules, surroundings } = this.router;
    if (!isToldByFlow(rules.ruleSet)) return false;
    this.needsPorts = namesPorts(rules.ruleSet, surroundings);
    return this.isForbidden(base, undefined);
  }

  private isForbidden(base: number, before: Judges | undefined): boolean {
    const status = this.router.flows.words[base + FlowWord.STATUS];
    const isOneWay = (status & FlowFlag.SEEN_REPLY) === 0 || (status & 0xff) !== Protocol.TCP;
    return this.isRefused(base, status, 0, before) || (!isOneWay && this.isRefused(base, status, 1, before));
  }

  /** Whether the rules in force refuse what those before, if there are any, let pass. */
  private isRefused(base: number, status: number, direction: number, before: Judges | undefined): boolean {
    const isKnown =
      (status & FlowFlag.BRIDGED) !== 0 ? this.fillBridged(base, direction) : this.fillRouted(base, status, direction);
    if (!isKnown) return false;
    this.fillFlow(base, status, direction);
    return !this.passes(this.router, status) && (before === undefined || this.passes(before, status));
  }

  private passes({ rules, interfaces }: Judges, status: number): boolean {
    const { key } = this;
    if ((status & FlowFlag.BRIDGED) !== 0) return rules.evaluate(rules.bridge, key).kind === "ACCEPT";
    if ((status & FlowFlag.LOCAL) !== 0) return rules.evaluate(rules.input, key).kind === "ACCEPT";
    if (areIsolated(interfaces, key.inInterface, key.outInterface)) return false;
    const target = rules.evaluate(rules.forward, key);
    return target.kind === "ACCEPT" || (rules.isPolicy && (status & FlowFlag.PUBLISHED) !== 0);
  }

  /** Where packets come from and go to, by the routes; false where that does not tell. */
  private fillRouted(base: number, status: number, direction: number): boolean {
    const { routes, flows } = this.router;
    const { key } = this;
    const isLocal = (status & FlowFlag.LOCAL) !== 0;
    // What the router itself answers meets OUTPUT, and no flow depends on it.
    if (isLocal && direction !== 0) return false;
    const source = flows.words[base + direction * TUPLE_WORDS];
    const from = routes.lookup(source);
    const to = routes.findOwn(source, flows.words[base + (1 - direction) * TUPLE_WORDS]);
    if (from === undefined || from.kind !== RouteKind.UNICAST || to === undefined) return false;
    if (to.kind !== (isLocal ? RouteKind.LOCAL : RouteKind.UNICAST)) return false;
    key.isBridged = false;
    key.inInterface = from.interface;
    key.outInterface = isLocal ? -1 : to.interface;
    key.outPort = -1;
    key.inPort = this.needsPorts ? this.portOf(from.interface, source) : -1;
    return !this.needsPorts || key.inPort >= 0;
  }

  /** The port that a neighbour is behind; -1 when nobody knows. */
  private portOf(interfaceIndex: number, address: number): number {
    const { interfaces, neighbours, macs, now } = this.router;
    const owner = interfaces[interfaceIndex];
    if (owner === undefined) return -1;
    if (!owner.isNetwork) return owner.ports[0] ?? -1;
    const neighbour = neighbours.find(interfaceIndex, address);
    if (neighbour < 0) return -1;
    return macs.find(interfaceIndex, neighbours.macHigh[neighbour], neighbours.macLow[neighbour], now);
  }

  /** Between which ports its packets were switched, the flow remembers. */
  private fillBridged(base: number, direction: number): boolean {
    const { key } = this;
    const ports = this.router.flows.words[base + FlowWord.ROUTE + direction];
    if (ports === 0) return false;
    const outPort = ports & PORT_MASK;
    key.isBridged = true;
    key.inInterface = ports >>> 24;
    key.outInterface = key.inInterface;
    key.inPort = (ports >>> PORT_BITS) & PORT_MASK;
    key.outPort = outPort === PORT_MASK ? -1 : outPort;
    return true;
  }

  private fillFlow(base: number, status: number, direction: number): void {
    const { key } = this;
    const { words } = this.router.flows;
    const own = base + direction * TUPLE_WORDS;
    const other = base + (1 - direction) * TUPLE_WORDS;
    const protocol = status & 0xff;
    const hasPorts = protocol === Protocol.TCP || protocol === Protocol.UDP;
    const hasReply = (status & FlowFlag.SEEN_REPLY) !== 0;
    key.source = words[own];
    key.destination = words[other];
    key.protocol = protocol;
    key.sourcePort = hasPorts ? words[own + 2] >>> 16 : -1;
    key.destinationPort = hasPorts ? invertPorts(protocol, words[other + 2]) & 0xffff : -1;
    key.icmp = protocol === Protocol.ICMP ? words[own + 2] & 0xffff : -1;
    key.tcpFlags = protocol === Protocol.TCP ? (hasReply ? tcp.TcpFlag.ACK : tcp.TcpFlag.SYN) : -1;
    const isNew = !hasReply && direction === 0;
    const asNew = (status & FlowFlag.DESTINATION_MAPPED) === 0 ? RuleState.NEW : RuleState.RELATED;
    key.states = (isNew ? asNew : RuleState.ESTABLISHED) | natStates(status);
    key.status =
      StatusBit.CONFIRMED |
      (hasReply ? StatusBit.SEEN_REPLY : 0) |
      ((status & FlowFlag.ASSURED) !== 0 ? StatusBit.ASSURED : 0);
    key.mark = 0;
    key.connmark = words[base + FlowWord.MARK];
    key.direction = direction;
    key.originalSource = words[base + FlowWord.SOURCE];
    key.originalDestination = words[base + FlowWord.DESTINATION];
    key.originalPorts = words[base + FlowWord.PORTS];
    key.replySource = words[base + FlowWord.REPLY_SOURCE];
    key.replyDestination = words[base + FlowWord.REPLY_DESTINATION];
    key.now = this.router.now;
  }
}
