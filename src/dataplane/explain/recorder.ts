/**
 * The recorder: what a frame meets on its walk, told stage by stage. A router has one only while somebody asks (`explain`
 * for one frame, `trace` for live ones); without, the pipeline pays one branch for each burst, and the slow paths (a new
 * flow, a question to the rules, an answer of the router's own) one branch each.
 *
 * Theory of operation. The recorded burst of `pipeline.ts` says when a frame begins, has arrived, is looked up and has
 * ended. In between the slow paths tell what they decide, of whatever frame is `current`. What the fast path decides is
 * read from the frame, where it left it. A recorder changes nothing that a packet could notice: it reads tables without
 * touching them, and keeps its own notes.
 */
import { FLOW_SHIFT, FlowFlag, FlowWord } from "../../conntrack/flow_layout.ts";
import { type FlowView, viewFlow } from "../../conntrack/format.ts";
import { FragmentResult } from "../../conntrack/fragments.ts";
import type { CompiledChain } from "../../filter/compiled_chain.ts";
import { RuleState } from "../../filter/rule_set.ts";
import type { DestinationChoice, SourceChoice } from "../../nat/rules.ts";
import { ArpOperation, operation } from "../../packet/arp.ts";
import * as ethernet from "../../packet/ethernet.ts";
import { ETHERNET_HEADER_BYTES } from "../../packet/ethernet.ts";
import type { Frame } from "../../packet/frame.ts";
import { isError } from "../../packet/icmp.ts";
import * as ipv4 from "../../packet/ipv4.ts";
import { formatMac } from "../../packet/mac_address.ts";
import { isL4ChecksumValid } from "../../packet/parse.ts";
import { printFrame } from "../../packet/print.ts";
import { STOP_REASONS, Stop } from "../../packet/stop_reasons.ts";
import type { Router } from "../router.ts";
import type { Route } from "../routes.ts";
import { bridgeSteps } from "./bridge_steps.ts";
import { Draft } from "./draft.ts";
import { endSteps, limitsStep } from "./end_steps.ts";
import { whyInvalid, whyNoOpening } from "./invalid_reason.ts";
import { routeText } from "./route_text.ts";
import { destinationStep, filterStep, sourceStep } from "./rule_steps.ts";
import { isByRule, sentenceOf } from "./sentence.ts";
import type { Walk } from "./steps.ts";
import { endpoint, flowState, flowTuple, interfaceName, portName, translatedEnds, tupleText } from "./texts.ts";

const { REQUEST } = ArpOperation;

export interface RecorderEvents {
  /** Who wants the walk of a frame that has just come, as bits; 0: nobody. */
  wants(frame: Frame): number;
  /** `reference` is that of its flow, -1 without one; `wantedBy` what `wants` said. */
  done(walk: Walk, reference: number, wantedBy: number): void;
}

export class Recorder {
  private readonly router: Router;
  private readonly events: RecorderEvents;
  private current: Draft | undefined = undefined;
  /** Of a burst: what is recorded of each frame. */
  private readonly drafts: (Draft | undefined)[] = [];
  /** Of datagrams that a fragment has completed, by their slots. */
  private readonly datagrams = new Map<number, Draft>();
  private completed = -1;

  constructor(router: Router, events: RecorderEvents) {
    this.router = router;
    this.events = events;
  }

  /** A frame of the burst has come, at `position`; nothing has been read of it. */
  begin(position: number, frame: Frame): void {
    const wantedBy = this.events.wants(frame);
    const draft = wantedBy === 0 ? undefined : this.open(frame, wantedBy);
    this.drafts[position] = draft;
    this.current = draft;
    this.completed = -1;
  }

  private open(frame: Frame, wantedBy: number): Draft {
    const { memory, macs, now } = this.router;
    const draft = new Draft(Date.now(), frame.ingressPort, wantedBy);
    const { at } = frame;
    draft.frame = printFrame(memory, at, frame.length);
    if (frame.length >= ETHERNET_HEADER_BYTES) {
      const high = ethernet.sourceMacHigh(memory, at);
      const low = ethernet.sourceMacLow(memory, at);
      draft.sourceMac = formatMac(high, low);
      draft.destinationMac = formatMac(ethernet.destinationMacHigh(memory, at), ethernet.destinationMacLow(memory, at));
      const port = frame.ingressInterface < 0 ? -1 : macs.find(frame.ingressInterface, high, low, now);
      draft.station = { port };
    }
    draft.add("in", `${draft.sourceMac} > ${draft.destinationMac}, ${draft.frame}`);
    return draft;
  }

  /** `arrive` has ended with `stop`. */
  arrived(frame: Frame, stop: number): void {
    const draft = this.current;
    if (draft === undefined) return;
    // They come first, whatever the bridge's filter has told already.
    draft.steps.splice(1, 0, ...bridgeSteps(this.router, frame, stop, draft.station));
  }

  /** The second part of a frame's walk begins. */
  resume(position: number, frame: Frame, stop: number): void {
    this.current = this.drafts[position];
    if (stop === Stop.CONTINUE) this.found(frame);
  }

  /** A datagram that was put together goes on in place of its last fragment. */
  datagram(frame: Frame): void {
    this.current = this.datagrams.get(frame.slot);
    this.datagrams.delete(frame.slot);
    this.completed = -1;
    if (this.current !== undefined) this.current.add("fragments", "the whole datagram goes on");
  }

  /** Its flow has been looked up. */
  found(frame: Frame): void {
    const { router, current: draft } = this;
    if (frame.reference >= 0) router.flows.keep(frame.reference >> 1);
    if (draft === undefined) return;
    draft.ttl = ipv4.timeToLive(router.memory, frame.ip);
    if (!isL4ChecksumValid(router.memory, frame)) return;
    if (frame.protocol === ipv4.Protocol.ICMP && isError((frame.ports >>> 8) & 0xff)) return;
    draft.found = frame.reference;
    draft.reference = frame.reference;
    if (frame.reference < 0) {
      const tuple = tupleText(frame.protocol, frame.source, frame.destination, frame.ports);
      const mayOpen = router.tracker.mayOpen(router.memory, frame) === Stop.CONTINUE;
      const verdict = mayOpen ? "NEW" : `INVALID (${whyNoOpening(router.memory, frame)})`;
      draft.conntrack = draft.add("conntrack", `no flow has ${tuple}: ${verdict}`);
      return;
    }
    const { words } = router.flows;
    const base = (frame.reference >> 1) << FLOW_SHIFT;
    draft.statusBefore = words[base + FlowWord.STATUS];
    const direction = (frame.reference & 1) === 0 ? "original" : "reply";
    const verdict =
      (draft.statusBefore & FlowFlag.SEEN_REPLY) === 0 && direction === "original" ? "NEW" : "ESTABLISHED";
    const text = `${verdict}: ${direction} direction of ${flowTuple(words, base, 0)} (${flowState(draft.statusBefore)})`;
    draft.conntrack = draft.add("conntrack", text);
  }

  /** Its flow has been looked up again: an earlier frame of the burst has opened or ended one. */
  foundAnew(frame: Frame): void {
    const draft = this.current;
    if (draft?.conntrack !== undefined && draft.steps.at(-1) === draft.conntrack) draft.steps.pop();
    this.found(frame);
  }

  /** `dispose` has ended the walk. */
  finished(frame: Frame, stop: number): void {
    const draft = this.current;
    if (draft === undefined) return;
    if (this.completed >= 0) {
      this.datagrams.set(this.completed, draft);
      this.completed = -1;
      return;
    }
    // As `dispose` has it: what is flooded ends so, whatever the router made of its own copy.
    const end = frame.flood !== 0 && stop !== Stop.ROUTED && stop !== Stop.SWITCHED ? Stop.FLOODED : stop;
    this.events.done(this.walkOf(frame, end, draft), draft.reference, draft.wantedBy);
  }

  private walkOf(frame: Frame, stop: number, draft: Draft): Walk {
    const { router } = this;
    endSteps(router, frame, stop, draft);
    const { name, outcome } = STOP_REASONS[stop];
    const flow = viewOf(router, draft.reference);
    return {
      time: draft.time,
      port: portName(router, draft.port),
      interface: interfaceName(router, router.ports.interfaceOf[draft.port]),
      frame: draft.frame,
      sourceMac: draft.sourceMac,
      destinationMac: draft.destinationMac,
      steps: draft.steps,
      verdict: name,
      outcome,
      ...(draft.rule !== undefined && isByRule(stop) ? { rule: draft.rule } : {}),
      ...(flow === undefined ? {} : { flow }),
      egress: draft.egress,
      ...(draft.frameAfter === undefined ? {} : { frameAfter: draft.frameAfter }),
      sentence: sentenceOf(router, frame, stop, draft),
    };
  }

  /** All frames of the burst have ended: what the router itself sends now is of no frame in particular. */
  endBurst(): void {
    this.current = undefined;
    this.drafts.length = 0;
    this.datagrams.clear();
  }

  // What the slow paths tell. Each does nothing for a frame that is not recorded.

  /** A fragment has been put to its datagram. */
  collected(frame: Frame, result: number): void {
    const draft = this.current;
    if (draft === undefined) return;
    const { memory } = this.router;
    const offset = (frame.fragment & ipv4.Fragment.OFFSET) * 8;
    const what = `fragment at ${offset} of datagram ${ipv4.identification(memory, frame.ip)}`;
    if (result >= 0) {
      draft.add("fragments", `${what} makes it whole`);
      this.completed = result;
    } else if (result === FragmentResult.HELD) draft.add("fragments", `${what} is kept; others are missing`);
    else if (result === FragmentResult.DUPLICATE) draft.add("fragments", `${what} has come before`);
    else draft.add("fragments", `${what} does not fit, or there is no room for it`);
  }

  /** A packet that no flow takes, or that its flow (`reference`) does not take. */
  invalid(frame: Frame, reference: number): void {
    const { router, current: draft } = this;
    if (draft === undefined || reference < 0) return;
    const { words } = router.flows;
    const why = whyInvalid(router.memory, frame, words, reference, draft.statusBefore);
    const text = `INVALID: ${why}; flow ${flowTuple(words, (reference >> 1) << FLOW_SHIFT, 0)}`;
    if (draft.conntrack === undefined) draft.conntrack = draft.add("conntrack", text);
    else draft.conntrack.text = text;
    draft.found = -1;
  }

  /** An ICMP error quotes a packet of a flow; -1: of none. */
  related(reference: number): void {
    const { router, current: draft } = this;
    if (draft === undefined) return;
    const { words } = router.flows;
    const base = (reference >> 1) << FLOW_SHIFT;
    if (reference < 0) {
      draft.conntrack = draft.add("conntrack", "INVALID: it quotes no packet of a known flow");
      return;
    }
    draft.conntrack = draft.add("conntrack", `RELATED: it quotes a packet of ${flowTuple(words, base, 0)}`);
  }

  /** A known flow is judged again. */
  readmitted(admission: number): void {
    const draft = this.current;
    if (draft === undefined) return;
    draft.isReadmitted = true;
    const isChanged = (draft.statusBefore & admission) !== 0;
    const why = isChanged ? "rules, routes or neighbours have changed since" : "the first packet of its kind";
    draft.add("flow", `the rules are asked again: ${why}`);
  }

  /** What a flow was given does not hold any more: the packet begins another one. */
  startedOver(): void {
    this.current?.add("flow", "its binding does not hold any more: the flow ends, and the packet opens another one");
  }

  /** The routing table has been asked. */
  routed(destination: number, port: number, protocol: number, route: Route | undefined): void {
    const { router, current: draft } = this;
    if (draft === undefined) return;
    if (draft.dnat !== undefined) {
      draft.dnat.text += `: the destination becomes ${endpoint(protocol, destination, port)}`;
      draft.dnat = undefined;
    }
    draft.add("route", routeText(router, destination, route));
  }

  limited(frame: Frame, stop: number): void {
    const draft = this.current;
    if (draft !== undefined) limitsStep(this.router, frame, draft, stop);
  }

  /** A chain of the filter table has decided. */
  judged(chain: CompiledChain, verdict: string, isPublished: boolean): void {
    if (this.current !== undefined) filterStep(this.router, this.current, chain, verdict, isPublished);
  }

  /** PREROUTING has been asked. */
  choseDestination(choice: DestinationChoice | undefined): void {
    if (this.current !== undefined) destinationStep(this.router, this.current, choice !== undefined);
  }

  /** POSTROUTING has been asked; what it gives is known when the flow is open. */
  choseSource(choice: SourceChoice | undefined): void {
    if (this.current !== undefined) sourceStep(this.router, this.current, choice !== undefined);
  }

  /** The packet has opened a flow. */
  opened(frame: Frame): void {
    const { router, current: draft } = this;
    if (draft === undefined) return;
    const { words } = router.flows;
    const base = (frame.reference >> 1) << FLOW_SHIFT;
    const status = words[base + FlowWord.STATUS];
    draft.isOpened = true;
    draft.reference = frame.reference;
    const original = endpoint(frame.protocol, frame.source, frame.ports >>> 16);
    const { source } = translatedEnds(words, base);
    const becomes = `the source ${original} becomes ${source}`;
    if (draft.snat !== undefined) draft.snat.text += `: ${becomes}`;
    else if ((status & FlowFlag.SOURCE_NAT) !== 0 && frame.state !== RuleState.INVALID) draft.add("snat", becomes);
    draft.add("flow", `opened: ${flowTuple(words, base, 0)}, answers ${flowTuple(words, base, 1)}`);
  }

  /** A frame of the router's own, because of this one. */
  posted(slot: number): void {
    const draft = this.current;
    if (draft === undefined) return;
    const { memory, arena, frames } = this.router;
    const { at, etherType } = frames[slot];
    const line = printFrame(memory, at, arena.slotLength[slot]);
    const isQuestion =
      etherType === ethernet.EtherType.ARP && operation(memory, at + ETHERNET_HEADER_BYTES) === REQUEST;
    if (!isQuestion) draft.answers.push(line);
    draft.add(isQuestion ? "question" : "answer", line);
  }

  /** No error is sent, for this reason. */
  unanswered(why: string): void {
    if (this.current !== undefined) this.current.silence = why;
  }

  /** A service of the router's own takes it. */
  handed(who: string): void {
    this.current?.add("service", `is for ${who}`);
  }

  /** Packets that wait for a neighbour would go on now. */
  waitersWouldGoOn(count: number): void {
    this.current?.add("neighbour", `${count} packets that wait for it would go on now`);
  }
}

/** The flow as it is after the packet; undefined where it has none, or is over. */
function viewOf(router: Router, reference: number): FlowView | undefined {
  if (reference < 0) return undefined;
  const { words } = router.flows;
  const base = (reference >> 1) << FLOW_SHIFT;
  const isInUse = (words[base + FlowWord.STATUS] & FlowFlag.CONFIRMED) !== 0;
  return isInUse ? viewFlow(words, base, router.now) : undefined;
}
