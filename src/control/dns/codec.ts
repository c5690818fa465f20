/**
 * DNS messages (RFC 1035 section 4), as far as a forwarder reads and writes them; `dns-packet` knows their bytes.
 *
 * What a hostile message can have the package do is bounded here: it is given messages of one question and at most two
 * records more, none of which need a name to be followed far. Answers of servers are passed on as they are, so of those
 * the question alone is read. Whatever it throws is "no message".
 */
import dnsPacket from "dns-packet";

export const Rcode = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

const HEADER_BYTES = 12;
const CLASS_BYTES = 2;
const RESPONSE = 0x8000;
const OPCODE = 0x7800;
const AUTHORITATIVE = 0x0400;
const TRUNCATED = 0x0200;
const RECURSION_DESIRED = 0x0100;
const RECURSION_AVAILABLE = 0x0080;
const CHECKING_DISABLED = 0x0010;
const AUTHENTIC_DATA = 0x0020;
const RCODE = 0x000f;
/** What of a question's flags is passed on (RFC 1035 4.1.1, RFC 6840 5.7, 5.9). */
const PASSED_ON = RECURSION_DESIRED | AUTHENTIC_DATA | CHECKING_DISABLED;
/** An OPT and a signature. */
const MOST_ADDITIONALS = 2;
/** A name, its type and class. */
const LONGEST_QUESTION_BYTES = 259;
/** What every receiver takes (RFC 1035 4.2.1); what is asked for, so that no answer comes in fragments (RFC 9715). */
export const LEAST_PAYLOAD_BYTES = 512;
const EDNS_PAYLOAD_BYTES = 1232;
const DNSSEC_OK = 0x8000;

export interface DnsQuestion {
  id: number;
  /** Those that are passed on. */
  flags: number;
  name: string;
  type: string;
  /** EDNS (RFC 6891): what the sender takes, and whether it wants signatures. */
  edns?: { payloadBytes: number; isDnssecOk: boolean };
}

export type ReadQuestion =
  | { question: DnsQuestion; refusal?: undefined }
  /** To be answered with nothing but this code. */
  | { refusal: number; id: number; question?: undefined };

/** The head of a server's answer. */
export interface AnswerHead {
  id: number;
  rcode: number;
  name: string;
  type: string;
}

/** A record of an answer of the router's own. */
export type OwnRecord = { type: "A" | "PTR"; data: string };

/** What a client asks; undefined for what deserves no answer: none, an answer itself, or no whole message. */
export function readQuestion(bytes: Buffer): ReadQuestion | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const [id, flags, questions, answers, authorities, additionals] = wordsOf(bytes);
  if ((flags & RESPONSE) !== 0) return undefined;
  if ((flags & OPCODE) !== 0) return { refusal: Rcode.NOTIMP, id };
  if (questions !== 1 || answers !== 0 || authorities !== 0 || additionals > MOST_ADDITIONALS)
    return { refusal: Rcode.FORMERR, id };
  const packet = decode(bytes);
  if (packet === undefined) return { refusal: Rcode.FORMERR, id };
  const [asked] = packet.questions;
  if (!isExact(asked, bytes)) return { refusal: Rcode.FORMERR, id };
  if (asked.class !== "IN" || asked.type === "AXFR" || asked.type === "IXFR") return { refusal: Rcode.REFUSED, id };
  const opt = packet.additionals.find((each) => each.type === "OPT");
  const edns =
    opt?.type === "OPT" ? { edns: { payloadBytes: opt.udpPayloadSize, isDnssecOk: opt.flag_do === true } } : {};
  return { question: { id, flags: flags & PASSED_ON, name: asked.name, type: asked.type, ...edns } };
}

/** Id, code and question of an answer; undefined for what is none. Its records are not looked at. */
export function readAnswer(bytes: Buffer): AnswerHead | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const [id, flags, questions] = wordsOf(bytes);
  if ((flags & RESPONSE) === 0 || (flags & OPCODE) !== 0 || questions !== 1) return undefined;
  const head = Buffer.from(bytes.subarray(0, HEADER_BYTES + LONGEST_QUESTION_BYTES));
  // No records.
  head.fill(0, 6, HEADER_BYTES);
  const packet = decode(head);
  if (packet === undefined || packet.questions[0].class !== "IN") return undefined;
  const [{ name, type }] = packet.questions;
  return { id, rcode: flags & RCODE, name, type };
}

/** The question as it is sent on to a server. */
export function composeQuestion({ flags, name, type, edns }: DnsQuestion, id: number): Buffer {
  return dnsPacket.encode({
    id,
    type: "query",
    flags,
    questions: [{ name, type, class: "IN" }],
    additionals: edns === undefined ? [] : [optOf(edns.isDnssecOk)],
  });
}

/** An answer of the router's own. */
export function composeAnswer(
  question: DnsQuestion,
  rcode: number,
  records: readonly OwnRecord[],
  ttl: number,
): Buffer {
  const { id, flags, name, type, edns } = question;
  return dnsPacket.encode({
    id,
    type: "response",
    flags: (flags & (RECURSION_DESIRED | CHECKING_DISABLED)) | AUTHORITATIVE | RECURSION_AVAILABLE | rcode,
    questions: [{ name, type, class: "IN" }],
    answers: records.map((record) => ({ ...record, name, ttl })),
    additionals: edns === undefined ? [] : [optOf(false)],
  });
}

/** That a question has failed, without saying more. */
export function composeFailure(question: DnsQuestion, rcode: number): Buffer {
  const bytes = composeAnswer(question, rcode, [], 0);
  bytes.writeUInt16BE(bytes.readUInt16BE(2) & ~AUTHORITATIVE, 2);
  return bytes;
}

/** To a message whose question could not be read, or not be answered. */
export function composeRefusal(id: number, rcode: number): Buffer {
  return dnsPacket.encode({ id, type: "response", flags: RECURSION_AVAILABLE | rcode, questions: [] });
}

/**
 * A server's answer for a client: with the client's id, and cut to its head where it is longer than the client takes or
 * the network lets pass. `mostBytes` is what fits the network.
 */
export function passOn(answer: Buffer, question: DnsQuestion, mostBytes: number): Buffer {
  const takes = Math.max(LEAST_PAYLOAD_BYTES, question.edns?.payloadBytes ?? 0);
  const bytes = answer.length <= Math.min(takes, mostBytes) ? Buffer.from(answer) : cut(answer, question);
  bytes.writeUInt16BE(question.id, 0);
  return bytes;
}

function cut(answer: Buffer, question: DnsQuestion): Buffer {
  const { id, name, type, edns } = question;
  const flags = (answer.readUInt16BE(2) & ~RESPONSE) | TRUNCATED;
  return dnsPacket.encode({
    id,
    type: "response",
    flags,
    questions: [{ name, type, class: "IN" }],
    additionals: edns === undefined ? [] : [optOf(false)],
  });
}

function optOf(isDnssecOk: boolean) {
  return {
    type: "OPT",
    name: ".",
    udpPayloadSize: EDNS_PAYLOAD_BYTES,
    flags: isDnssecOk ? DNSSEC_OK : 0,
  } as const;
}

function wordsOf(bytes: Buffer): number[] {
  return [0, 2, 4, 6, 8, 10].map((at) => bytes.readUInt16BE(at));
}

function decode(bytes: Buffer): ReturnType<typeof dnsPacket.decode> | undefined {
  try {
    return dnsPacket.decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * Whether the package would write a question as it was read: it takes names for text, and not every name is one. (Nor
 * does it write classes that it does not know.)
 */
function isExact(question: { name: string; type: string; class: string }, bytes: Buffer): boolean {
  try {
    const { name, type } = question;
    const written = dnsPacket.encode({ id: 0, type: "query", flags: 0, questions: [{ name, type, class: "IN" }] });
    const end = written.length - CLASS_BYTES;
    return written.subarray(HEADER_BYTES, end).equals(bytes.subarray(HEADER_BYTES, end));
  } catch {
    return false;
  }
}
