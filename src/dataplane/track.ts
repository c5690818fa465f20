/**
 * Track: which flow a packet belongs to, and what conntrack thinks of it there. A hit knows verdict, rewrite, egress
 * and next hop; only a flow that was admitted under older rules, or whose packets have come of another class (the
 * first reply, the first after it), is judged again. A miss is admitted and then goes on as a hit.
 */
import { ANY_ADMITTED, COUNTER_WORDS, FLOW_SHIFT, FlowFlag, FlowWord, HeaderWord } from "../conntrack/flow_layout.ts";
import type { FlowId, FlowTable } from "../conntrack/flow_table.ts";
import { TRACK_REOPEN } from "../conntrack/tracker.ts";
import { RuleState } from "../filter/rule_set.ts";
import type { Frame } from "../packet/frame.ts";
import { isError } from "../packet/icmp.ts";
import { Protocol } from "../packet/ipv4.ts";
import { isL4ChecksumValid } from "../packet/parse.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { admit, admitInvalid, readmit } from "./admit.ts";
import { deliver } from "./local.ts";
import { trackError } from "./related.ts";
import type { Router } from "./router.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { CONTINUE, L4_CHECKSUM } = Stop;
const { GENERATION, PACKETS, REPLY_SOURCE, ROUTE, SOURCE, STATUS } = FlowWord;
const { CARRY_AT, CARRY_BYTES, CARRY_HIGH, CARRY_PACKETS } = HeaderWord;
const { ADMITTED_NEW, ADMITTED_ORIGINAL, ADMITTED_REPLY, DESTINATION_MAPPED, LOCAL, SEEN_REPLY } = FlowFlag;
const { ICMP } = Protocol;
const { ESTABLISHED, NEW, RELATED } = RuleState;

/** The look-up, made for a whole burst before the first frame of it goes on. */
export function findFlow(router: Router, frame: Frame): void {
  const flows = router.flows;
  frame.reference = flows.lookup(frame.hash, frame.source, frame.destination, frame.ports, frame.protocol, router.now);
  frame.tableVersion = flows.version;
}

export function track(router: Router, frame: Frame): number {
  if (!isL4ChecksumValid(router.memory, frame)) return L4_CHECKSUM;
  if (frame.protocol === ICMP && isError((frame.ports >>> 8) & 0xff)) return trackError(router, frame);
  // An earlier frame of the burst may have made the flow, or ended it.
  if (frame.tableVersion !== router.flows.version) {
    findFlow(router, frame);
    if (router.recorder !== undefined) router.recorder.foundAnew(frame);
  }
  return frame.reference < 0 ? admit(router, frame) : trackKnown(router, frame);
}

function trackKnown(router: Router, frame: Frame): number {
  const flow = (frame.reference >> 1) as FlowId;
  const direction = frame.reference & 1;
  const verdict = router.tracker.update(router.memory, frame, flow, direction, router.now);
  if (verdict === TRACK_REOPEN) {
    frame.reference = -1;
    return admit(router, frame);
  }
  if (verdict !== CONTINUE) return admitInvalid(router, frame);
  countPacket(router.flows, frame, flow, direction);
  return judge(router, frame, flow, direction);
}

/** Sees to it that the packet's class has been admitted, and takes the route from the flow. */
function judge(router: Router, frame: Frame, flow: FlowId, direction: number): number {
  const words = router.flows.words;
  const base = flow << FLOW_SHIFT;
  let status = words[base + STATUS];
  const generation = words[base + GENERATION];
  if (generation !== router.generation) {
    if (isConcerned(router, base, generation)) {
      status &= ~ANY_ADMITTED;
      words[base + STATUS] = status;
    }
    words[base + GENERATION] = router.generation;
  }
  const admission = admissionOf(status, direction);
  frame.state = admission === ADMITTED_NEW ? stateOfNew(status) : ESTABLISHED;
  if ((status & admission) === 0) {
    const { reference } = frame;
    const stop = readmit(router, frame, flow, direction, admission);
    // Another reference: the flow was over and the packet has opened one of its own, which knows the way already.
    if (stop !== CONTINUE || frame.reference !== reference) return stop;
  } else {
    router.rules.paths.count(words[base + ROUTE + direction] >>> 16, frame.end - frame.ip);
  }
  if ((status & LOCAL) !== 0) return deliver(router, frame);
  const neighbour = words[base + ROUTE + direction] & 0xffff;
  frame.egressInterface = router.neighbours.interfaceOf[neighbour];
  frame.neighbour = neighbour;
  return CONTINUE;
}

/** Whether what has changed after `generation` may concern a flow: not, if it was routes to elsewhere alone. */
function isConcerned({ epochs, flows }: Router, base: number, generation: number): boolean {
  if (epochs.concernsAll(generation)) return true;
  const { words } = flows;
  // Where packets of the original and of the reply direction go, once translated.
  return epochs.concerns(words[base + REPLY_SOURCE], generation) || epochs.concerns(words[base + SOURCE], generation);
}

/** What came in through a mapping is related to the flow that made it. */
function stateOfNew(status: number): number {
  return (status & DESTINATION_MAPPED) === 0 ? NEW : RELATED;
}

/** The class of a packet, as iptables' states tell them apart. */
export function admissionOf(status: number, direction: number): number {
  if (direction !== 0) return ADMITTED_REPLY;
  return (status & SEEN_REPLY) !== 0 ? ADMITTED_ORIGINAL : ADMITTED_NEW;
}

/** Packets and bytes of IPv4, 48 bits each. */
export function countPacket(flows: FlowTable, frame: Frame, flow: FlowId, direction: number): void {
  const { words } = flows;
  const at = (flow << FLOW_SHIFT) + PACKETS + direction * COUNTER_WORDS;
  const packets = (words[at] + 1) | 0;
  const before = words[at + 1];
  const bytes = (before + (frame.end - frame.ip)) | 0;
  // A low word passes zero: compare as unsigned.
  const isFull = (bytes ^ 0x80000000) < (before ^ 0x80000000);
  if (isFull || packets === 0) {
    carry(flows, at, packets, bytes, isFull);
    return;
  }
  words[at] = packets;
  words[at + 1] = bytes;
}

/**
 * Writes low and high halves as one: what is about to be written stands in the header first, so that whoever finds the
 * memory of a process that ended in between can finish it (`adopt.ts`).
 */
function carry({ header, words }: FlowTable, at: number, packets: number, bytes: number, isFull: boolean): void {
  const before = words[at + 2];
  const counted = packets === 0 ? (before + 0x10000) | 0 : before;
  const high = isFull ? carryBytes(counted) : counted;
  header[CARRY_PACKETS] = packets;
  header[CARRY_BYTES] = bytes;
  header[CARRY_HIGH] = high;
  header[CARRY_AT] = at + 1;
  words[at] = packets;
  words[at + 1] = bytes;
  words[at + 2] = high;
  header[CARRY_AT] = 0;
}

function carryBytes(high: number): number {
  return (high & 0xffff0000) | ((high + 1) & 0xffff);
}
