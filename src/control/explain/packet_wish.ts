/**
 * A packet in words, as `tapir explain` takes it: read into what is asked for, with the rest left to defaults.
 *
 *     tcp 10.55.66.2:4000 > 203.0.113.2:443 syn ttl 3 df       udp > 203.0.113.2:53 len 1400
 *     icmp > 203.0.113.2 echo id 7                             icmp 203.0.113.9 > 203.0.113.1 port-unreachable about udp …
 *     proto 47 > 203.0.113.2                                   arp who-has 10.55.66.1 tell 10.55.66.2
 *     ether 0x86dd mac > 33:33:00:00:00:01 len 40              … vlan 7, mac SRC > DST with any of them
 */
import { IcmpType, UnreachableCode } from "../../packet/icmp.ts";
import { Protocol } from "../../packet/ipv4.ts";
import { TcpFlag } from "../../packet/tcp.ts";
import { ExitCode, TapirError } from "../errors.ts";

/** Host-order signed word, and a port where one was given. */
export interface End {
  address: number;
  port?: number;
}

export interface PacketWish {
  kind: "ip" | "arp" | "ether";
  etherType: number;
  sourceMac?: string;
  destinationMac?: string;
  vlan?: number;
  protocol: number;
  source?: End;
  destination?: End;
  flags?: number;
  sequence?: number;
  acknowledgement?: number;
  window?: number;
  icmpType?: number;
  icmpCode: number;
  icmpId: number;
  icmpSequence: number;
  /** What an ICMP error quotes. */
  about?: PacketWish;
  ttl: number;
  tos: number;
  id: number;
  isDont?: boolean;
  fragmentOffset: number;
  isMore: boolean;
  payloadBytes: number;
  /** ARP: 1 asks, 2 answers; the answer's hardware address is `sourceMac`. */
  operation: number;
}

const FLAGS = new Map<string, number>(Object.entries(TcpFlag).map(([name, bit]) => [name.toLowerCase(), bit]));
const LETTERS: Readonly<Record<string, number>> = {
  S: 2,
  F: 1,
  R: 4,
  P: 8,
  ".": 16,
  A: 16,
  U: 32,
  E: 64,
  W: 128,
  C: 128,
};

/** Words that may be anything, such as `constructor`, find nothing here that was not put in. */
function byWord<T>(words: Record<string, T>): ReadonlyMap<string, T> {
  return new Map(Object.entries(words));
}

const unreachable = (code: number): [number, number] => [IcmpType.DESTINATION_UNREACHABLE, code];
const ICMP_WORDS = byWord<[type: number, code: number]>({
  echo: [8, 0],
  "echo-request": [8, 0],
  "echo-reply": [0, 0],
  reply: [0, 0],
  timestamp: [13, 0],
  "timestamp-reply": [14, 0],
  redirect: [5, 0],
  "net-unreachable": unreachable(UnreachableCode.NET),
  "host-unreachable": unreachable(UnreachableCode.HOST),
  "protocol-unreachable": unreachable(UnreachableCode.PROTOCOL),
  "port-unreachable": unreachable(UnreachableCode.PORT),
  "frag-needed": unreachable(UnreachableCode.FRAGMENTATION_NEEDED),
  "admin-prohibited": unreachable(UnreachableCode.ADMIN_PROHIBITED),
  "ttl-exceeded": [11, 0],
});

/** Reads a packet in words. @throws TapirError that names the word which is none of a packet's. */
export function readPacket(text: string): PacketWish {
  const words = text
    .replace(/[,;]/g, " ")
    .replace(/>/g, " > ")
    .trim()
    .split(/\s+/)
    .filter((word) => word !== "");
  return new PacketReader(words).read();
}

export function refusePacket(message: string): TapirError {
  return new TapirError(`packet: ${message}`, ExitCode.USAGE);
}

class PacketReader {
  private readonly words: string[];
  private at = 0;
  private readonly wish: PacketWish = {
    kind: "ip",
    etherType: 0x0800,
    protocol: -1,
    icmpCode: 0,
    icmpId: 1,
    icmpSequence: 1,
    ttl: 64,
    tos: 0,
    id: 1,
    fragmentOffset: 0,
    isMore: false,
    payloadBytes: 0,
    operation: 1,
  };

  constructor(words: string[]) {
    this.words = words;
  }

  read(): PacketWish {
    const { wish } = this;
    if (this.words.length === 0) throw refusePacket("it is empty; as in 'tcp 10.55.66.2:4000 > 203.0.113.2:443 syn'");
    while (this.at < this.words.length) this.readWord(this.next("").toLowerCase());
    if (wish.kind === "ip" && wish.protocol < 0) throw refusePacket("which protocol: tcp, udp, icmp, proto N, or arp?");
    if (wish.kind === "ip" && wish.destination === undefined)
      throw refusePacket("where to? As in 'udp > 203.0.113.2:53'");
    if (wish.kind === "arp" && wish.destination === undefined) {
      throw refusePacket("arp needs 'who-has ADDRESS' or 'ADDRESS is-at MAC'");
    }
    return wish;
  }

  private readWord(word: string): void {
    const { wish } = this;
    const setting = SETTINGS.get(word);
    const flag = FLAGS.get(word);
    const icmp = ICMP_WORDS.get(word);
    if (setting !== undefined) setting(wish, (limit, least = 0) => this.number(word, limit, least));
    else if (word === "mac") this.readMacs();
    else if (word === "arp") wish.kind = "arp";
    else if (word === "who-has") wish.destination = this.end("who-has");
    else if (word === "tell") wish.source = this.end("tell");
    else if (word === "to" && wish.kind === "arp") wish.destination = this.end("to");
    else if (word === "is-at") this.readAnswer();
    else if (word === "flags") wish.flags = this.letters(this.next("flags"));
    else if (word === "ack") this.readAck();
    else if (word === "synack") wish.flags = (wish.flags ?? 0) | TcpFlag.SYN | TcpFlag.ACK;
    else if (flag !== undefined) wish.flags = (wish.flags ?? 0) | flag;
    else if (icmp !== undefined) [wish.icmpType, wish.icmpCode] = icmp;
    else if (word === "about") this.readQuoted();
    else if (word === ">") wish.destination = this.end(">");
    else if (/^[0-9.:]+$/.test(word)) wish.source = readEnd(word);
    else throw refusePacket(`'${word}' is no word of a packet; see tapir explain --help`);
  }

  private readAnswer(): void {
    this.wish.operation = 2;
    this.wish.sourceMac = this.mac(this.next("is-at"));
    if (this.wish.source !== undefined) this.wish.destination ??= this.wish.source;
  }

  private readAck(): void {
    this.wish.flags = (this.wish.flags ?? 0) | TcpFlag.ACK;
    if (/^[0-9]+$/.test(this.words[this.at] ?? "")) this.wish.acknowledgement = this.number("ack", 0xffffffff, 0);
  }

  private readQuoted(): void {
    const words = this.words.slice(this.at);
    this.at = this.words.length;
    this.wish.about = new PacketReader(words).read();
    if (this.wish.about.kind !== "ip") throw refusePacket("an ICMP error quotes an IPv4 packet");
  }

  /** `mac SRC > DST`, either of which may be left out. */
  private readMacs(): void {
    if (this.words[this.at] !== ">") this.wish.sourceMac = this.mac(this.next("mac"));
    if (this.words[this.at] !== ">") return;
    this.at++;
    this.wish.destinationMac = this.mac(this.next("mac … >"));
  }

  private mac(word: string): string {
    const mac = word.toLowerCase() === "broadcast" ? "ff:ff:ff:ff:ff:ff" : word.toLowerCase();
    if (/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac)) return mac;
    throw refusePacket(`'${word}' is no hardware address`);
  }

  private letters(word: string): number {
    let bits = 0;
    for (const letter of word.replace(/[[\]]/g, "").toUpperCase()) {
      if (LETTERS[letter] === undefined)
        throw refusePacket(`'${letter}' is no TCP flag; they are ${Object.keys(LETTERS).join("")}`);
      bits |= LETTERS[letter];
    }
    return bits;
  }

  private end(behind: string): End {
    return readEnd(this.next(behind));
  }

  private number(name: string, limit: number, least: number): number {
    const word = this.next(name);
    const value = /^(0x[0-9a-f]+|[0-9]+)$/i.test(word) ? Number(word) : Number.NaN;
    if (value >= least && value <= limit) return value;
    throw refusePacket(`${name} is a number from ${least} to ${limit}, not '${word}'`);
  }

  private next(behind: string): string {
    const word = this.words[this.at++];
    if (word === undefined) throw refusePacket(`'${behind}' needs something behind it`);
    return word;
  }
}

/** Words that set one field. */
type Setting = (wish: PacketWish, number: (limit: number, least?: number) => number) => void;

const SETTINGS = byWord<Setting>({
  tcp: (wish) => {
    wish.protocol = Protocol.TCP;
  },
  udp: (wish) => {
    wish.protocol = Protocol.UDP;
  },
  icmp: (wish) => {
    wish.protocol = Protocol.ICMP;
  },
  ip: () => {},
  proto: (wish, number) => {
    wish.protocol = number(255);
  },
  ether: (wish, number) => {
    wish.kind = "ether";
    wish.etherType = number(0xffff);
  },
  type: (wish, number) => {
    wish.icmpType = number(255);
  },
  code: (wish, number) => {
    wish.icmpCode = number(255);
  },
  id: (wish, number) => {
    wish.icmpId = number(0xffff);
    wish.id = wish.icmpId;
  },
  seq: (wish, number) => {
    wish.sequence = number(0xffffffff);
    wish.icmpSequence = wish.sequence & 0xffff;
  },
  win: (wish, number) => {
    wish.window = number(0xffff);
  },
  ttl: (wish, number) => {
    wish.ttl = number(255);
  },
  tos: (wish, number) => {
    wish.tos = number(255);
  },
  len: (wish, number) => {
    wish.payloadBytes = number(65_000);
  },
  df: (wish) => {
    wish.isDont = true;
  },
  vlan: (wish, number) => {
    wish.vlan = number(4094);
  },
  frag: (wish, number) => {
    wish.fragmentOffset = number(65_528);
    if (wish.fragmentOffset % 8 !== 0) throw refusePacket("frag is an offset in bytes, a multiple of 8");
    wish.isDont = false;
  },
  more: (wish) => {
    wish.isMore = true;
    wish.isDont = false;
  },
});

/** `10.55.66.2`, `10.55.66.2:80`, or as tcpdump prints it `10.55.66.2.80`. */
function readEnd(word: string): End {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:[.:](\d{1,5}))?:?$/.exec(word)?.slice(1);
  if (parts === undefined) throw refusePacket(`'${word}' is no IPv4 address, with or without :port`);
  const [a, b, c, d] = parts.map(Number);
  const port = parts[4] === undefined ? undefined : Number(parts[4]);
  if ([a, b, c, d].some((octet) => octet > 255) || (port ?? 0) > 65_535)
    throw refusePacket(`'${word}' is no IPv4 address and port`);
  return { address: (a << 24) | (b << 16) | (c << 8) | d, ...(port === undefined ? {} : { port }) };
}
