/**
 * Assertions about a router that runs: its own stages say what they would do with the first packet (`tapir explain`),
 * with the flows, neighbours and rules that it has now. It changes nothing, so there is no answer to wait for: what is
 * allowed is the way there.
 */
import { composeFrame } from "../../packet/compose.ts";
import { ETHERNET_HEADER_BYTES } from "../../packet/ethernet.ts";
import { formatAddress } from "../../packet/ipv4_address.ts";
import type { ResolvedPlan } from "../configuration/configuration.ts";
import { decodeFrame } from "./decode.ts";
import { formatEnd, type Question } from "./question.ts";
import { describeReason, isRefusal, questionFields, type Reached } from "./reach.ts";

const ANY_MAC = { high: 0, low: 0 };

/** What `/v1/explain` is asked, and what of its answer matters here. */
export interface ExplainQuestion {
  in: string;
  /** An IPv4 packet in hexadecimal digits. */
  ip: string;
}

export interface ExplainAnswer {
  verdict: string;
  outcome: string;
  egress: string[];
  sent: { port: string; own: boolean; hex: string }[];
}

export function explainQuestion(question: Question): ExplainQuestion {
  const frame = composeFrame(questionFields(question), ANY_MAC, ANY_MAC);
  return { in: question.port.name, ip: Buffer.from(frame.subarray(ETHERNET_HEADER_BYTES)).toString("hex") };
}

export function reachedBy(answer: ExplainAnswer, question: Question, { plan }: ResolvedPlan): Reached {
  const frames = answer.sent.map(({ port, own, hex }) => ({ port, own, packet: decodeFrame(Buffer.from(hex, "hex")) }));
  if (answer.outcome === "dropped") {
    const isRejected = frames.some(({ own, packet }) => own && isRefusal(packet, question));
    const text = `${describeReason(answer.verdict)}${isRejected ? ", and its sender is told" : ""}`;
    return { isAllowed: false, isRejected, via: [], reason: answer.verdict, text };
  }
  const to = formatEnd(question.destination, question.protocol, question.destinationPort);
  if (answer.verdict === "local") {
    return { isAllowed: true, isRejected: false, via: [], to, text: "the router itself takes it" };
  }
  const left = frames.find(({ own, packet }) => !own && packet !== undefined);
  if (left?.packet === undefined) {
    return { isAllowed: true, isRejected: false, via: answer.egress, text: `leaves by ${answer.egress.join(", ")}` };
  }
  const { port, packet } = left;
  const owner = plan.ports.find(({ name }) => name === port)?.interface;
  const arrived = formatEnd(packet.destination, packet.protocol, packet.destinationPort);
  return {
    isAllowed: true,
    isRejected: false,
    via: [port, ...plan.interfaces.filter(({ index }) => index === owner).map(({ name }) => name)],
    source: formatAddress(packet.source),
    to: arrived,
    text: `leaves by ${port} as ${formatEnd(packet.source, packet.protocol, packet.sourcePort)} > ${arrived}`,
  };
}
