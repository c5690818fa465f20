/** Packets of living flows whose headers have been damaged at random, through the kernel and through Tapir. */
import { type Dice, randomScenarios } from "../../support/differential/dice.ts";
import { GATEWAY, type Hosts, UPLINK } from "../../support/differential/hosts.ts";
import { differential } from "../../support/differential/suite.ts";
import {
  free,
  pattern,
  pingBack,
  pingOut,
  type Seen,
  type Step,
  step,
  TcpTalk,
  udpBack,
  udpOut,
  uniqueId,
  withBytes,
  withHeaderChecksum,
} from "../../support/differential/talk.ts";
import { checksum, concat, decodeIpv4, echoRequest, pseudo, tcp, u16, udp } from "../../support/frames.ts";

const STEPS = 24;
const BYTES = [0, 1, 4, 5, 7, 8, 0x0f, 0x10, 0x14, 0x20, 0x40, 0x50, 0x60, 0x7f, 0x80, 0xf0, 0xff];
/**
 * Of the IPv4 header: TOS, lengths, identifier, the reserved flag and DF, TTL, protocol. A TTL that is used up is not
 * among them: Tapir drops what is invalid before it looks at the TTL, the kernel after.
 */
const HEADER: [at: number, values: number[]][] = [
  [1, [0, 0x10, 0xb8, 3, 0xff]],
  [2, [0, 1]],
  [3, [0, 19, 20, 24, 27, 28, 30, 39, 40, 44, 60]],
  [4, [0, 9]],
  [6, [0, 0x40, 0x80, 0xc0]],
  [8, [2, 63, 65, 255]],
  [9, [1, 6, 17, 50, 255]],
  [10, [0, 1]],
];
const CHECKSUM_AT: Record<number, number> = { 1: 2, 6: 16, 17: 6 };

interface Damage {
  header: [at: number, value: number][];
  l4: [at: number, value: number][];
  length: number;
  isHeaderSummed: boolean;
  isSummed: boolean;
}

function damage(dice: Dice): Damage {
  const header = Array.from({ length: dice.of([0, 0, 0, 1]) }, (): [number, number] => {
    const [at, values] = dice.of(HEADER);
    return [at, dice.of(values)];
  });
  const l4 = Array.from({ length: dice.below(3) }, (): [number, number] => [dice.below(20), dice.of(BYTES)]);
  const length = dice.of([0, 0, 0, 0, 0, 20, 24, 27, 28, 39, 40]);
  return { header, l4, length, isHeaderSummed: dice.below(20) !== 0, isSummed: dice.below(8) !== 0 };
}

function damaged(whole: Uint8Array, harm: Damage): Uint8Array {
  let packet = whole;
  for (const [at, value] of harm.l4) {
    // UDP's length stays: what its checksum covers is another in the kernel.
    const isUdpLength = packet[9] === 17 && (at === 4 || at === 5);
    if (20 + at < packet.length && !isUdpLength) packet = withBytes(packet, 20 + at, value);
  }
  if (harm.length !== 0) {
    packet = packet.slice(0, harm.length);
    packet = withBytes(packet, 2, packet.length >>> 8, packet.length & 0xff);
  }
  if (harm.isSummed) packet = summed(packet);
  for (const [at, value] of harm.header) packet = withBytes(packet, at, value);
  return harm.isHeaderSummed ? withHeaderChecksum(packet) : packet;
}

/** The packet with its L4 checksum computed again. */
function summed(packet: Uint8Array): Uint8Array {
  const { protocol = 0, source = "", destination = "" } = decodeIpv4(packet);
  const at = 20 + (CHECKSUM_AT[protocol] ?? 0);
  if (packet.length < at + 2) return packet;
  const cleared = withBytes(packet, at, 0, 0);
  const l4 = cleared.subarray(20);
  const sum = checksum(protocol === 1 ? l4 : concat(pseudo(source, destination, protocol, l4.length), l4));
  return withBytes(cleared, at, ...u16(sum));
}

function random(hosts: Hosts, dice: Dice): Step {
  const from = dice.of(["c1", "c1", "server"] as const);
  const destination = from === "c1" ? dice.of([hosts.server, hosts.server, GATEWAY]) : UPLINK;
  const addresses = { source: hosts[from], destination, id: uniqueId(), fragment: 0 };
  const [kind, harm, flags] = [dice.below(3), damage(dice), dice.of(["A", "PA", "S", "FA"])];
  const build = (seen: Seen): Uint8Array => {
    if (kind === 0)
      return from === "c1" ? udp(addresses, 4000, 53, pattern(20)) : udp(addresses, 53, 4000, pattern(20));
    if (kind === 1) return echoRequest(addresses, 77, 1, pattern(20));
    const segment = { flags, sequence: from === "c1" ? 1001 : 5001, acknowledgement: from === "c1" ? 5001 : 1001 };
    return from === "c1" ? tcp(addresses, 40000, 80, segment) : tcp(addresses, 80, seen.port("server"), segment);
  };
  return free(step(from, (seen) => damaged(build(seen), harm)));
}

/** The router's own packets differ in DF and TOS. */
const alike = (line: string): string =>
  line.replace(/( ttl=64 len=\d+ id=\*)( tos=\w+)?( DF)? /, (_, head: string) => `${head} `);

differential(
  "Random packets as the kernel judges them",
  { counted: false },
  randomScenarios((hosts, dice) => {
    const steps = [...new TcpTalk(hosts).handshake(), pingOut(hosts), pingBack(hosts), udpOut(hosts), udpBack(hosts)];
    while (steps.length < STEPS) steps.push(random(hosts, dice));
    return steps;
  }, alike),
);
