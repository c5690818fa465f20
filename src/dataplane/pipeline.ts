/**
 * The router on one page: the walk of a packet.
 *
 * A burst takes the walk in three passes, so that the memory of one frame is fetched while others are worked on:
 * `arrive` for all, then `look up` for all, then `depart` for all. Each stage returns CONTINUE or the reason why the
 * frame stops. No byte of a frame changes before `translate`: until then every decision about it has been made, an
 * error can quote it as it came, and a wait for ARP can park it. Only `dispose` sends, counts and frees.
 */

import { FLOW_SHIFT, FlowWord } from "../conntrack/flow_layout.ts";
import { EtherType } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import { Protocol } from "../packet/ipv4.ts";
import { parse, parseIpv4 } from "../packet/parse.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { receiveArp } from "./arp.ts";
import { BURST_LIMIT } from "./burst.ts";
import { Counter } from "./counters.ts";
import { dispose, sendOwnFrames } from "./dispose.ts";
import type { Recorder } from "./explain/recorder.ts";
import { limits } from "./limits.ts";
import { chooseEgress, resolveNextHop } from "./next_hop.ts";
import type { Router } from "./router.ts";
import { screen } from "./screen.ts";
import { stamp } from "./stamp.ts";
import { isForStation, learn, switchFrame } from "./switching.ts";
import { findFlow, track } from "./track.ts";
import { translateFrame } from "./translation.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const {
  CONTINUE: STOP_CONTINUE,
  CUSTOM_STAGE,
  ETHERTYPE_UNKNOWN,
  PACKET_RATE,
  PORT_UNUSABLE,
  ROUTED,
  VLAN_TAGGED,
} = Stop;
const { ARP, IPV4, VLAN } = EtherType;
const { REPLY_PACKETS: SECOND_LINE } = FlowWord;
const { TCP } = Protocol;

/** Flows that the caches hold anyway. */
const CACHED_FLOWS = 4096;

const stops = new Int32Array(BURST_LIMIT);
const touched = new Int32Array(BURST_LIMIT);

/** Takes the frames that `io` received through the router and puts what comes out into its transmit arrays. */
export function runBurst(router: Router, count: number): void {
  if (router.recorder !== undefined) {
    runRecordedBurst(router, router.recorder, count);
    return;
  }
  arriveAll(router, count);
  lookUp(router, count);
  departAll(router, count);
  finishBurst(router);
}

export function arriveAll(router: Router, count: number): void {
  const { receivedSlot, receivedPort } = router.io;
  router.captures?.ingress(router, count);
  if (router.police.isActive) arriveLimited(router, count);
  else {
    for (let i = 0; i < count; i++) {
      const frame = router.frames[receivedSlot[i]];
      begin(router, frame, receivedPort[i]);
      stops[i] = arrive(router, frame);
    }
  }
  if (router.customStage !== undefined) runCustomStage(router, count);
}

/** The same, where some ports may not send what they like. */
function arriveLimited(router: Router, count: number): void {
  const { receivedSlot, receivedPort } = router.io;
  for (let i = 0; i < count; i++) {
    const frame = router.frames[receivedSlot[i]];
    begin(router, frame, receivedPort[i]);
    stops[i] = arriveOrStop(router, frame);
  }
}

function arriveOrStop(router: Router, frame: Frame): number {
  const isTaken = router.police.takesFrame(frame.ingressPort, frame.length, router.now);
  return isTaken ? arrive(router, frame) : PACKET_RATE;
}

/** Asks a stage that was added to the router about each packet that is to go through it. */
function runCustomStage(router: Router, count: number): void {
  const { receivedSlot } = router.io;
  for (let i = 0; i < count; i++) {
    if (stops[i] === STOP_CONTINUE) stops[i] = askCustomStage(router, router.frames[receivedSlot[i]]);
  }
}

function askCustomStage({ customStage }: Router, frame: Frame): number {
  return customStage === undefined || customStage(frame) ? STOP_CONTINUE : CUSTOM_STAGE;
}

export function departAll(router: Router, count: number): void {
  const { receivedSlot } = router.io;
  router.captures?.prerouting(router, stops, count);
  for (let i = 0; i < count; i++) {
    const frame = router.frames[receivedSlot[i]];
    dispose(router, frame, stops[i] === STOP_CONTINUE ? depart(router, frame) : stops[i]);
  }
}

/** What a burst has made besides the frames that leave. */
export function finishBurst(router: Router): void {
  if (router.reassembled.length > 0) runReassembled(router);
  sendOwnFrames(router);
}

/** The same, told to somebody who asks what happens (`explain/recorder.ts`). */
function runRecordedBurst(router: Router, recorder: Recorder, count: number): void {
  const { receivedSlot, receivedPort } = router.io;
  router.captures?.ingress(router, count);
  for (let i = 0; i < count; i++) {
    const frame = router.frames[receivedSlot[i]];
    begin(router, frame, receivedPort[i]);
    recorder.begin(i, frame);
    stops[i] = router.police.isActive ? arriveOrStop(router, frame) : arrive(router, frame);
    recorder.arrived(frame, stops[i]);
  }
  if (router.customStage !== undefined) runCustomStage(router, count);
  lookUp(router, count);
  router.captures?.prerouting(router, stops, count);
  for (let i = 0; i < count; i++) {
    const frame = router.frames[receivedSlot[i]];
    recorder.resume(i, frame, stops[i]);
    const stop = stops[i] === STOP_CONTINUE ? depart(router, frame) : stops[i];
    dispose(router, frame, stop);
    recorder.finished(frame, stop);
  }
  finishBurst(router);
  recorder.endBurst();
}

/** Finds the flows of a burst; a run of frames of one flow may be merged when it leaves. */
export function lookUp(router: Router, count: number): void {
  if (router.flows.count > CACHED_FLOWS) touchFlows(router, count);
  const { receivedSlot } = router.io;
  let before = -1;
  for (let i = 0; i < count; i++) {
    if (stops[i] !== STOP_CONTINUE) continue;
    const frame = router.frames[receivedSlot[i]];
    findFlow(router, frame);
    if (frame.reference === before && before >= 0) router.hasRuns = true;
    before = frame.reference;
  }
}

/**
 * Fetches what the look-ups of a burst will read, from a table that no cache holds: first each one's place in the index,
 * then the entry that it names, or, where a flow begins, the place of the reply that is most likely. Loops so short that
 * the processor waits for many lines of memory at once; one look-up after the other waits for each by itself
 * (docs/decisions/0004-touching.md).
 */
function touchFlows(router: Router, count: number): void {
  const { receivedSlot } = router.io;
  const { frames, flows, sourceNat } = router;
  const { likelyAddress } = sourceNat;
  const { words, index } = flows;
  const { slots, mask } = index;
  for (let i = 0; i < count; i++) {
    touched[i] = stops[i] === STOP_CONTINUE ? slots[(frames[receivedSlot[i]].hash & mask) * 2 + 1] : 0;
  }
  for (let i = 0; i < count; i++) {
    const reference = touched[i] - 1;
    const { destination, ports, protocol } = frames[receivedSlot[i]];
    if (reference < 0) {
      const inverted = (ports << 16) | (ports >>> 16);
      touched[i] = slots[(flows.hash(destination, likelyAddress, inverted, protocol) & mask) * 2 + 1];
      continue;
    }
    const base = (reference >> 1) << FLOW_SHIFT;
    const needsBoth = (reference & 1) !== 0 || protocol === TCP;
    touched[i] = words[base] ^ words[needsBoth ? base + SECOND_LINE : base];
  }
}

/** Datagrams that are whole now take the rest of the walk as one frame each. */
function runReassembled(router: Router): void {
  for (const slot of router.reassembled) {
    const frame = router.frames[slot];
    router.count(Counter.datagramsReassembled);
    if (router.recorder !== undefined) router.recorder.datagram(frame);
    const stop = isForStation(router, frame) ? switchFrame(router, frame) : routeWhole(router, frame);
    dispose(router, frame, stop);
    if (router.recorder !== undefined) router.recorder.finished(frame, stop);
  }
  router.reassembled.length = 0;
}

function routeWhole(router: Router, frame: Frame): number {
  let stop = parseIpv4(router.memory, frame);
  if (stop === STOP_CONTINUE) stop = screen(router, frame);
  if (stop === STOP_CONTINUE) stop = askCustomStage(router, frame);
  if (stop !== STOP_CONTINUE) return stop;
  findFlow(router, frame);
  if (router.recorder !== undefined) router.recorder.found(frame);
  router.captures?.preroutingOne(router, frame);
  return depart(router, frame);
}

function begin(router: Router, frame: Frame, port: number): void {
  frame.ingressPort = port;
  frame.ingressInterface = router.ports.interfaceOf[port];
  frame.length = router.arena.slotLength[frame.slot];
  frame.flood = 0;
  frame.own = 0;
  frame.largestFragment = 0;
  frame.reference = -1;
  frame.rule = -1;
  router.arena.adopt(frame.slot);
}

/** From the wire to the question which flow it is: CONTINUE only for IPv4 packets that go through the router. */
function arrive(router: Router, frame: Frame): number {
  if (frame.ingressInterface < 0) return PORT_UNUSABLE;
  let stop = parse(router.memory, frame);
  if (stop !== STOP_CONTINUE) return stop;
  stop = learn(router, frame);
  if (stop !== STOP_CONTINUE) return stop;
  stop = switchFrame(router, frame);
  if (stop !== STOP_CONTINUE) return stop;
  if (frame.etherType === ARP) return receiveArp(router, frame);
  if (frame.etherType !== IPV4) {
    return frame.etherType === VLAN ? VLAN_TAGGED : ETHERTYPE_UNKNOWN;
  }
  stop = parseIpv4(router.memory, frame);
  if (stop !== STOP_CONTINUE) return stop;
  return screen(router, frame);
}

/** From the flow to the egress. `track` admits a packet of no known flow, and then goes on as for a known one. */
function depart(router: Router, frame: Frame): number {
  let stop = track(router, frame);
  if (stop !== STOP_CONTINUE) return stop;
  stop = limits(router, frame);
  if (stop !== STOP_CONTINUE) return stop;
  stop = resolveNextHop(router, frame);
  if (stop !== STOP_CONTINUE) return stop;
  return leave(router, frame);
}

/** The end of the walk, also for a frame that was parked: from here on its bytes change. */
export function leave(router: Router, frame: Frame): number {
  const stop = chooseEgress(router, frame);
  if (stop !== STOP_CONTINUE) return stop;
  translateFrame(router, frame);
  stamp(router, frame);
  return ROUTED;
}
