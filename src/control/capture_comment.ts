/**
 * The comment of a captured packet: what became of it, which rule decided, and its flow.
 *
 *     verdict=routed rule=FORWARD:1 flow=tcp:10.55.66.2:4000>203.0.113.2:443 nat=203.0.113.1:4000>203.0.113.2:443 direction=original
 *     verdict=dropped reason=forward-drop rule=FORWARD:policy
 */
import { FLOW_WORDS, FlowWord } from "../conntrack/flow_layout.ts";
import { viewFlow } from "../conntrack/format.ts";
import { type CaptureRecord, RECORDED_FLOW_WORDS, RecordWord } from "../dataplane/capture_ring.ts";
import { type RuleSet, TABLE_NAMES } from "../filter/rule_set.ts";
import { STOP_REASONS } from "../packet/stop_reasons.ts";

/** What rules and policies are called, by their number through all chains. */
export function ruleLabels(rules: RuleSet): string[] {
  return TABLE_NAMES.flatMap((table) =>
    rules[table].chains.flatMap((chain) => [
      ...chain.rules.map(({ name }, index) => `${chain.name}:${index + 1}${name === undefined ? "" : `(${name})`}`),
      `${chain.name}:policy`,
    ]),
  );
}

/** `portName`: of the port that a bridged frame goes to. */
export function commentOf(
  { words, at }: CaptureRecord,
  labels: readonly string[],
  portName: (port: number) => string,
): string {
  if (words[at + RecordWord.OWN] === 1) return "verdict=own";
  const reason = STOP_REASONS[words[at + RecordWord.STOP]];
  if (reason === undefined) return "";
  const isDropped = reason.outcome === "dropped";
  const parts = [isDropped ? `verdict=dropped reason=${reason.name}` : `verdict=${reason.name}`];
  const other = words[at + RecordWord.OTHER_PORT];
  if (other >= 0) parts.push(`to=${portName(other)}`);
  const rule = words[at + RecordWord.RULE];
  if (rule >= 0) parts.push(`rule=${labels[rule] ?? rule}`);
  if (words[at + RecordWord.DIRECTION] >= 0) parts.push(describeFlow(words, at));
  return parts.join(" ");
}

const flow = new Int32Array(FLOW_WORDS);

function describeFlow(words: Int32Array, at: number): string {
  for (let i = 0; i < RECORDED_FLOW_WORDS; i++) flow[i] = words[at + RecordWord.FLOW + i];
  const { protocol, protocolNumber, original, reply } = viewFlow(flow, 0, flow[FlowWord.DEADLINE]);
  const from = endpoint(original.source, original.sourcePort ?? original.icmpId);
  const to = endpoint(original.destination, original.destinationPort);
  const as = endpoint(reply.destination, reply.destinationPort ?? reply.icmpId);
  const behind = endpoint(reply.source, reply.sourcePort);
  const name = protocol === "unknown" ? String(protocolNumber) : protocol;
  const parts = [`flow=${name}:${from}>${to}`];
  if (as !== from || behind !== to) parts.push(`nat=${as}>${behind}`);
  parts.push(`direction=${words[at + RecordWord.DIRECTION] === 0 ? "original" : "reply"}`);
  return parts.join(" ");
}

function endpoint(address: string, port: number | undefined): string {
  return port === undefined ? address : `${address}:${port}`;
}
