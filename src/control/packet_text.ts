/**
 * Packets as people write them, for questions and experiments:
 *
 *     tcp 10.55.66.2:4000 > 203.0.113.2:443 syn
 *     udp 10.55.66.2:4000 > 203.0.113.2:53 length 100 ttl 1
 *     icmp 10.55.66.2 > 203.0.113.2 echo-request id 7 seq 1
 *     47 10.55.66.2 > 203.0.113.2 length 20
 *
 * Words behind the addresses: of TCP `syn`, `ack`, `fin`, `rst`, `psh`, `urg` (also joined: `syn-ack`), `seq N`, `ackno N`,
 * `win N`; of ICMP `echo-request`, `echo-reply` or `type N` and `code N`, `id N`, `seq N`; of all `length N` (bytes of
 * payload, also `len N`), `ttl N`, `tos N`, `ipid N` and `fragments` (may be fragmented).
 */
import { PACKET_DEFAULTS, type PacketFields } from "../packet/compose.ts";
import { Protocol } from "../packet/ipv4.ts";
import { TcpFlag } from "../packet/tcp.ts";
import { readAddress } from "./configuration/addresses.ts";
import { quote } from "./configuration/errors.ts";
import { suggestion } from "./configuration/nearest.ts";

/** What is wrong with a packet's text, in one line. */
export class PacketTextError extends Error {}

const PROTOCOLS: Record<string, number> = { icmp: Protocol.ICMP, tcp: Protocol.TCP, udp: Protocol.UDP };

const FLAGS: Record<string, number> = {
  syn: TcpFlag.SYN,
  ack: TcpFlag.ACK,
  fin: TcpFlag.FIN,
  rst: TcpFlag.RST,
  psh: TcpFlag.PSH,
  urg: TcpFlag.URG,
};

interface NumberWord {
  field: keyof PacketFields;
  largest: number;
  /** Of these protocols alone. */
  of?: readonly number[];
}

const NUMBERS: Record<string, readonly NumberWord[]> = {
  length: [{ field: "payloadBytes", largest: 65_000 }],
  len: [{ field: "payloadBytes", largest: 65_000 }],
  ttl: [{ field: "ttl", largest: 255 }],
  tos: [{ field: "tos", largest: 255 }],
  ipid: [{ field: "id", largest: 65_535 }],
  seq: [
    { field: "sequence", largest: 4_294_967_295, of: [Protocol.TCP] },
    { field: "icmpSequence", largest: 65_535, of: [Protocol.ICMP] },
  ],
  ackno: [{ field: "acknowledgement", largest: 4_294_967_295, of: [Protocol.TCP] }],
  win: [{ field: "window", largest: 65_535, of: [Protocol.TCP] }],
  type: [{ field: "icmpType", largest: 255, of: [Protocol.ICMP] }],
  code: [{ field: "icmpCode", largest: 255, of: [Protocol.ICMP] }],
  id: [{ field: "icmpId", largest: 65_535, of: [Protocol.ICMP] }],
};

/** Words that stand alone, and what they set; `of` as above. */
const WORDS: Record<string, { set: Partial<PacketFields>; of?: number }> = {
  "echo-request": { set: { icmpType: 8, icmpCode: 0 }, of: Protocol.ICMP },
  echo: { set: { icmpType: 8, icmpCode: 0 }, of: Protocol.ICMP },
  "echo-reply": { set: { icmpType: 0, icmpCode: 0 }, of: Protocol.ICMP },
  fragments: { set: { fragment: 0 } },
};

/** Which fields of a packet its text has named; a packet that is expected is compared in these alone. */
export interface ParsedPacket {
  fields: PacketFields;
  named: ReadonlySet<keyof PacketFields>;
}

/** @throws `PacketTextError` */
export function parsePacket(text: string): ParsedPacket {
  const words = text.trim().split(/\s+/);
  if (words.length < 4 || words[2] !== ">") {
    throw new PacketTextError(`expected a packet like "tcp 10.55.66.2:4000 > 203.0.113.2:443 syn", not ${quote(text)}`);
  }
  const protocol = readProtocol(words[0]);
  const reader = new PacketReader(protocol);
  reader.readEnd(words[1], "source", "sourcePort");
  reader.readEnd(words[3], "destination", "destinationPort");
  reader.readWords(words.slice(4));
  return { fields: reader.fields, named: reader.named };
}

/** `tcp`, `udp`, `icmp` or a protocol's number. */
export function readProtocol(word: string): number {
  const known = Object.hasOwn(PROTOCOLS, word) ? PROTOCOLS[word] : undefined;
  if (known !== undefined) return known;
  if (/^[0-9]{1,3}$/.test(word) && Number(word) <= 255) return Number(word);
  throw new PacketTextError(
    `${quote(word)} is no protocol: tcp, udp, icmp or a number up to 255${suggestion(word, Object.keys(PROTOCOLS))}`,
  );
}

export function hasPorts(protocol: number): boolean {
  return protocol === Protocol.TCP || protocol === Protocol.UDP;
}

class PacketReader {
  readonly fields: PacketFields;
  readonly named = new Set<keyof PacketFields>(["protocol"]);

  constructor(protocol: number) {
    this.fields = { ...PACKET_DEFAULTS, protocol };
    if (protocol === Protocol.TCP) this.fields.flags = TcpFlag.ACK;
  }

  /** `ADDRESS`, or `ADDRESS:PORT` of protocols with ports. */
  readEnd(word: string, address: "source" | "destination", port: "sourcePort" | "destinationPort"): void {
    const [addressText, portText, ...more] = word.split(":");
    if (hasPorts(this.fields.protocol)) {
      if (portText === undefined || more.length > 0) throw new PacketTextError(`${quote(word)} is not ADDRESS:PORT`);
      this.set(port, readNumber(portText, 65_535, `port of ${word}`));
    } else if (portText !== undefined) {
      throw new PacketTextError(`${quote(word)}: this protocol has no ports`);
    }
    this.set(address, readPlainAddress(addressText));
  }

  readWords(words: readonly string[]): void {
    for (let at = 0; at < words.length; at++) {
      const word = words[at];
      if (Object.hasOwn(NUMBERS, word)) this.readNumberWord(word, words[++at]);
      else this.readWord(word);
    }
  }

  private readNumberWord(word: string, value: string | undefined): void {
    const { protocol } = this.fields;
    const found = NUMBERS[word].find(({ of }) => of === undefined || of.includes(protocol));
    if (found === undefined) throw new PacketTextError(`${quote(word)} does not fit the protocol`);
    this.set(found.field, readNumber(value ?? "", found.largest, word) | 0);
  }

  private readWord(word: string): void {
    const { protocol } = this.fields;
    const plain = Object.hasOwn(WORDS, word) ? WORDS[word] : undefined;
    if (plain !== undefined) {
      if (plain.of !== undefined && plain.of !== protocol)
        throw new PacketTextError(`${quote(word)} does not fit the protocol`);
      for (const [field, value] of Object.entries(plain.set)) this.set(field as keyof PacketFields, value);
      return;
    }
    const flags = word.split("-").map((flag) => (Object.hasOwn(FLAGS, flag) ? FLAGS[flag] : undefined));
    if (protocol !== Protocol.TCP || flags.includes(undefined)) {
      const known = [...Object.keys(NUMBERS), ...Object.keys(WORDS), ...Object.keys(FLAGS)];
      throw new PacketTextError(`${quote(word)} is no word of a packet${suggestion(word, known)}`);
    }
    const before = this.named.has("flags") ? this.fields.flags : 0;
    this.set(
      "flags",
      flags.reduce<number>((bits, flag) => bits | (flag ?? 0), before),
    );
  }

  private set(field: keyof PacketFields, value: number): void {
    this.fields[field] = value;
    this.named.add(field);
  }
}

/** @throws `PacketTextError` */
export function readPlainAddress(text: string): number {
  return readAddress(text, [], (_, message) => {
    throw new PacketTextError(message);
  }) as number;
}

function readNumber(text: string, largest: number, what: string): number {
  const value = /^(0x[0-9a-f]{1,8}|[0-9]{1,10})$/i.test(text) ? Number(text) : Number.NaN;
  if (value <= largest) return value;
  throw new PacketTextError(
    `${what}: expected a number up to ${largest}, not ${quote(text === "" ? undefined : text)}`,
  );
}
