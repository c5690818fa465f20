/**
 * Frames to begin with, and what is done to them. Most are nearly right: whatever is changed, lengths and checksums are
 * mended half of the time, so that the stages behind the first checks see the rest of it.
 */
import { arp, concat, echoRequest, ethernet, icmp, ipv4, tcp, u16, udp } from "../../test/support/frames.ts";
import { randomFrame } from "../../test/support/random_world.ts";
import { C1_MAC, C2_MAC, GATEWAY_MAC, Port, SERVER_MAC, UPLINK_MAC } from "../../test/support/router.ts";
import type { Dice } from "../dice.ts";
import { mutateBytes, toHex } from "../mutate_bytes.ts";
import type { Step } from "./steps.ts";
import { ETHERNET, get16, mend, offloaded, put16, readPacket } from "./wire.ts";
import { PORTS, SECOND } from "./world.ts";

/** Longest frame that a slot takes. */
const LONGEST_FRAME = 65_549;

interface Place {
  port: number;
  source: string;
  destination: string;
  from: string;
  to: string;
}

const INSIDE = ["10.55.66.2", "10.55.66.3", "10.77.0.2", "10.55.66.9"];
const OUTSIDE = ["203.0.113.2", "203.0.113.77", "198.51.100.4", "192.0.2.1"];
const OWN = ["10.55.66.1", "203.0.113.1", SECOND.gateway];
const ODD = ["255.255.255.255", "10.55.66.255", "224.0.0.5", "127.0.0.1", "0.0.0.0", "240.0.0.1", "10.55.66.0"];

function place(dice: Dice): Place {
  const destination = dice.pick(dice.pick([OUTSIDE, OUTSIDE, INSIDE, OWN, ODD]));
  switch (dice.below(4)) {
    case 0:
      return { port: Port.C1, source: "10.55.66.2", destination, from: C1_MAC, to: dice.pick([GATEWAY_MAC, C2_MAC]) };
    case 1:
      return { port: Port.C2, source: "10.55.66.3", destination, from: C2_MAC, to: dice.pick([GATEWAY_MAC, C1_MAC]) };
    case 2:
      return { port: SECOND.port, source: SECOND.host, destination, from: "02:00:00:00:00:0d", to: SECOND.mac };
    default: {
      const source = dice.pick(OUTSIDE);
      return { port: Port.WAN, source, destination: dice.pick([...OWN, ...INSIDE]), from: SERVER_MAC, to: UPLINK_MAC };
    }
  }
}

const OPTIONS: readonly (readonly number[])[] = [
  [],
  [],
  [1, 1, 1, 0],
  [7, 7, 4, 0, 0, 0, 0, 0],
  [0x83, 7, 4, 10, 55, 66, 3, 0],
  [0x44, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  [0x94, 4, 0, 0],
  [7, 200, 4, 0],
  [7, 1, 0, 0],
  [7, 0, 0, 0],
];
const TCP_OPTIONS: readonly (readonly number[])[] = [
  [],
  [2, 4, 5, 180, 3, 3, 14, 1],
  [4, 2, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
  [1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9],
  [3, 3, 255, 0],
  [5, 34, 0, 0],
  [3, 0, 0, 0],
  [2, 255, 0, 0],
];
const FLAGS = ["S", "S", "SA", "A", "PA", "FA", "R", "RA", "", "FSRPAUEC", "SF", "U"];
const PORT_NUMBERS = [0, 53, 80, 80, 443, 1023, 1024, 4000, 4000, 4001, 5000, 65_535];
const SIZES = [0, 1, 8, 24, 100, 600, 1472, 1473, 3000, 9000, 40_000];

function packet(dice: Dice, { source, destination }: Place): Uint8Array {
  const fields = {
    source,
    destination,
    ttl: dice.pick([64, 64, 64, 2, 1, 0, 255]),
    tos: dice.pick([0, 0, 1, 2, 3, 0xff]),
    id: dice.below(4),
    fragment: dice.pick([0x4000, 0, 0, 0x8000]),
    options: Uint8Array.from(dice.pick(OPTIONS)),
  };
  const [sourcePort, destinationPort] = [dice.pick(PORT_NUMBERS), dice.pick(PORT_NUMBERS)];
  const payload = new Uint8Array(dice.once(3) ? dice.pick(SIZES) : dice.below(40)).fill(dice.below(256));
  switch (dice.below(8)) {
    case 0:
    case 1:
      return udp(fields, sourcePort, destinationPort, payload);
    case 2:
    case 3: {
      const numbers = [0, 1, 1000, 0x7fffffff, 0xffffffff];
      return tcp(fields, sourcePort, destinationPort, {
        flags: dice.pick(FLAGS),
        sequence: dice.pick(numbers),
        acknowledgement: dice.pick(numbers),
        window: dice.pick([0, 1, 65_535]),
        options: Uint8Array.from(dice.pick(TCP_OPTIONS)),
        payload,
      });
    }
    case 4:
      return echoRequest(fields, dice.below(3), 1, payload);
    case 5:
      return icmp(fields, dice.below(20), dice.below(6), dice.word(), quotable(dice, fields));
    case 6:
      return ipv4(
        { ...fields, fragment: dice.pick([0x2000, 0x2001, 1, 2, 3, 4, 0x1fff, 0x3fff, 0x6000]) },
        dice.pick([17, 6, 1]),
        blocks(dice),
      );
    default:
      return ipv4(fields, dice.pick([0, 4, 41, 47, 50, 99, 132, 255]), payload);
  }
}

/** What an ICMP error quotes, more or less whole. */
function quotable(dice: Dice, { source, destination }: { source: string; destination: string }): Uint8Array {
  const ends = { source: destination, destination: source, options: Uint8Array.from(dice.pick(OPTIONS)) };
  const inner = dice.pick([
    udp(ends, dice.pick(PORT_NUMBERS), dice.pick(PORT_NUMBERS), new Uint8Array(8)),
    tcp(ends, dice.pick(PORT_NUMBERS), dice.pick(PORT_NUMBERS), { flags: "S" }),
    echoRequest(ends, 5),
    ipv4(ends, 47, new Uint8Array(12)),
    ipv4(ends, 4, udp(ends, 53, 53)),
    icmp(ends, 3, 3, 0, udp(ends, 1, 2)),
  ]);
  return dice.once(3) ? inner.slice(0, dice.below(inner.length + 1)) : inner;
}

/** Payload of a fragment, mostly of whole blocks. */
const blocks = (dice: Dice): Uint8Array =>
  new Uint8Array(dice.pick([8, 8, 16, 24, 32, 1480, 5, 0, 65_515 - 8])).fill(dice.below(4));

function arpFrame(dice: Dice, { from, source, destination, to }: Place): Uint8Array {
  const broadcast = "ff:ff:ff:ff:ff:ff";
  const operation = dice.pick([1, 1, 2] as const);
  const senderMac = dice.pick([from, from, broadcast, to]);
  const sender = dice.pick([source, source, destination, "0.0.0.0", ...OWN]);
  const body = arp({
    operation,
    senderMac,
    sender,
    targetMac: to,
    target: dice.pick([...OWN, ...INSIDE, destination]),
  });
  return ethernet(operation === 1 ? broadcast : to, from, 0x0806, body);
}

function structured(dice: Dice): { port: number; frame: Uint8Array } {
  const where = place(dice);
  const { port, from, to } = where;
  switch (dice.below(12)) {
    case 0:
    case 1:
      return { port, frame: arpFrame(dice, where) };
    case 2:
      return {
        port,
        frame: ethernet(to, from, 0x8100, concat(u16(dice.below(65_536)), u16(0x0800), packet(dice, where))),
      };
    case 3:
      return {
        port,
        frame: ethernet(
          dice.pick([to, "ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:00", "01:00:5e:00:00:05", from]),
          from,
          0x0800,
          packet(dice, where),
        ),
      };
    default:
      return { port, frame: ethernet(to, from, 0x0800, packet(dice, where)) };
  }
}

/** Fields of an offload header that say something else than the frame is. */
function contradict(dice: Dice, header: Uint8Array): void {
  const view = new DataView(header.buffer);
  const numbers = [0, 1, 14, 20, 24, 26, 34, 35, 40, 42, 50, 54, 1448, 1500, 0xffff];
  for (let count = 1 + dice.below(3); count > 0; count--) {
    const field = dice.below(6);
    if (field === 0) header[0] = dice.pick([0, 1, 2, 3, 255]);
    else if (field === 1) header[1] = dice.pick([0, 1, 3, 4, 5, 0x81, 0x80, 255]);
    else view.setUint16(field * 2 - 2, dice.pick(numbers), true);
  }
}

/** A frame as a step. `seeds` are frames that were of use before. */
export function frameStep(dice: Dice, seeds: readonly Uint8Array[]): Step {
  const kind = dice.below(10);
  const made = kind < 4 ? structured(dice) : randomFrame(dice.below, undefined);
  const { port } = made;
  let { frame } = made;
  if (kind === 9 && seeds.length > 0) frame = mutateBytes(dice, seeds);
  else if (dice.once(3)) frame = mutateBytes(dice, [frame, frame, frame, ...seeds.slice(0, 4)], 3);
  if (frame.length > LONGEST_FRAME) frame = frame.slice(0, LONGEST_FRAME);
  if (dice.once(2)) mend(frame, dice.once(3));
  let vnet: Uint8Array | undefined;
  if (dice.once(4)) {
    vnet = offloaded(frame, dice.once(2) ? dice.pick([8, 536, 1448, 1472, 1]) : 0) ?? new Uint8Array(10);
    if (dice.once(2)) contradict(dice, vnet);
  }
  return {
    do: "frame",
    port: dice.once(12) ? dice.below(PORTS) : port,
    frame: toHex(frame),
    ...(vnet === undefined ? {} : { vnet: toHex(vnet) }),
    ...joined(dice),
  };
}

export const joined = (dice: Dice): { joins?: true } => (dice.once(3) ? { joins: true } : {});

function swap(bytes: Uint8Array, one: number, other: number, length: number): void {
  if (other + length > bytes.length) return;
  const kept = bytes.slice(one, one + length);
  bytes.copyWithin(one, other, other + length);
  bytes.set(kept, other);
}

/** The packet of a frame that left, turned round, as its receiver might answer it. */
export function answerTo(dice: Dice, sent: Uint8Array): Uint8Array {
  let frame: Uint8Array = sent.slice();
  const packet = readPacket(frame);
  swap(frame, 0, 6, 6);
  if (packet !== undefined) {
    swap(frame, ETHERNET + 12, ETHERNET + 16, 4);
    const { l4, protocol } = packet;
    frame[ETHERNET + 8] = 64;
    if (protocol === 6 || protocol === 17) swap(frame, l4, l4 + 2, 2);
    if (protocol === 1 && frame[l4] === 8) frame[l4] = 0;
    if (protocol === 6 && l4 + 20 <= frame.length) answerTcp(dice, frame, l4);
  } else if (get16(frame, 12) === 0x0806 && frame.length >= 42) {
    // An ARP request is answered by whoever was asked.
    put16(frame, 20, 2);
    swap(frame, 22, 32, 10);
    frame.set([2, 0, 0, 0, 0, dice.pick([0x99, 2, 3, 0x0d])], 22);
    frame.set(frame.subarray(22, 28), 6);
  }
  if (dice.once(3)) frame = mutateBytes(dice, [frame], 2);
  if (!dice.once(6)) mend(frame, dice.once(4));
  return frame;
}

function answerTcp(dice: Dice, frame: Uint8Array, l4: number): void {
  const before = frame[l4 + 13];
  frame[l4 + 13] = dice.pick([(before & 2) !== 0 ? 0x12 : 0x10, 0x10, 0x18, 0x11, 0x04, 0x14]);
  swap(frame, l4 + 4, l4 + 8, 4);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  view.setUint32(l4 + 8, view.getUint32(l4 + 8) + ((before & 3) !== 0 ? 1 : 0));
}

/** An ICMP error about a frame that left, from the one that it was for or from somebody on the way. */
export function errorAbout(dice: Dice, sent: Uint8Array): Uint8Array {
  const packet = readPacket(sent);
  if (packet === undefined) return answerTo(dice, sent);
  let quoted: Uint8Array = sent.slice(ETHERNET, ETHERNET + dice.pick([28, 48, 548, 20, 27]));
  if (dice.once(4)) quoted = mutateBytes(dice, [quoted], 2);
  const source = dice.once(2) ? packet.destination : dice.pick([...OUTSIDE, ...INSIDE]);
  const [type, code] = dice.pick([
    [3, 3],
    [3, 4],
    [3, 1],
    [11, 0],
    [12, 0],
    [5, 1],
    [4, 0],
    [3, 15],
  ] as const);
  const error = icmp({ source, destination: packet.source }, type, code, dice.pick([0, 68, 576, 0xffffffff]), quoted);
  return joinedFrame(sent, error);
}

function joinedFrame(sent: Uint8Array, packet: Uint8Array): Uint8Array {
  const frame = new Uint8Array(ETHERNET + packet.length);
  frame.set(sent.subarray(6, 12));
  frame.set(sent.subarray(0, 6), 6);
  put16(frame, 12, 0x0800);
  frame.set(packet, ETHERNET);
  return frame;
}
