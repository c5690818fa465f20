/** ICMP errors whose quotes have been damaged at random, through the kernel and through Tapir. */
import { type Dice, randomScenarios } from "../../support/differential/dice.ts";
import { type Hosts, UPLINK } from "../../support/differential/hosts.ts";
import { differential } from "../../support/differential/suite.ts";
import {
  pingBack,
  pingOut,
  type Step,
  step,
  TcpTalk,
  udpBack,
  udpOut,
  uniqueId,
  withBytes,
  withHeaderChecksum,
} from "../../support/differential/talk.ts";
import { icmp } from "../../support/frames.ts";

const STEPS = 24;
const TYPES = [3, 3, 3, 4, 5, 11, 11, 12];
const LENGTHS = [0, 19, 20, 24, 27, 28, 28, 28, 32, 40, 60];
/** Odd values that lengths, flags and ports are tried with. */
const BYTES = [0, 1, 4, 5, 0x0f, 0x20, 0x40, 0x45, 0x46, 0x7f, 0x80, 0xff];

const TALKS: ((hosts: Hosts) => Step[])[] = [
  (hosts) => [udpOut(hosts), udpBack(hosts)],
  (hosts) => new TcpTalk(hosts).handshake(),
  (hosts) => [pingOut(hosts), pingBack(hosts)],
];

interface Damage {
  length: number;
  bytes: [at: number, value: number][];
}

/** What both worlds damage alike; the quoted version stays 4 and the quoted checksum right, since Tapir checks them. */
function damage(dice: Dice): Damage {
  const count = dice.below(3);
  const bytes = Array.from({ length: count }, (): [number, number] => {
    const at = dice.below(32);
    return [at, at === 0 ? 0x40 | dice.below(16) : dice.of(BYTES)];
  });
  return { length: dice.of(LENGTHS), bytes };
}

function damaged(packet: Uint8Array, { length, bytes }: Damage): Uint8Array {
  let quote: Uint8Array = packet.slice(0, length);
  for (const [at, value] of bytes) if (at < quote.length) quote = withBytes(quote, at, value);
  return quote.length >= (quote[0] & 0xf) * 4 && quote.length >= 20 ? withHeaderChecksum(quote) : quote;
}

function error(hosts: Hosts, dice: Dice): Step {
  const from = dice.of(["server", "server", "third", "c1", "c2"] as const);
  const isInside = from === "c1" || from === "c2";
  const [type, code, rest, harm, id] = [dice.of(TYPES), dice.below(16), dice.below(2000), damage(dice), uniqueId()];
  const destination = isInside ? hosts.server : dice.of([UPLINK, UPLINK, UPLINK, hosts.c1]);
  return step(from, (seen) => {
    const quote = damaged(seen.packet(isInside ? "c1" : "server"), harm);
    return icmp({ source: hosts[from], destination, id }, type, code, rest, quote);
  });
}

differential(
  "Random ICMP errors as the kernel judges them",
  {},
  randomScenarios((hosts, dice) => {
    const steps = dice.of(TALKS)(hosts);
    // So that both ends have seen a packet of the flow, whatever it is.
    if (steps.length === 3) steps.push(new TcpTalk(hosts).server("A", { sequence: 5001, acknowledgement: 1001 }));
    while (steps.length < STEPS) steps.push(error(hosts, dice));
    return steps;
  }),
);
