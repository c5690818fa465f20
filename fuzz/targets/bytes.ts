/** Targets whose input is bytes: capture files, DHCP answers, and messages of netlink. */
import { parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { DhcpClient } from "../../src/control/dhcp/client.ts";
import { composeDatagram, findMessage } from "../../src/control/dhcp/datagram.ts";
import { replay } from "../../src/control/experiments/replay.ts";
import { readMessages } from "../../src/control/routing/rtnetlink.ts";
import { readLinkNews } from "../../src/control/uplinks/netlink.ts";
import { bytesOfMemory } from "../../src/io/byte_source.ts";
import { type CapturedPacket, CaptureFileError, MOST_PACKET_BYTES } from "../../src/io/captured_packet.ts";
import { readPackets } from "../../src/io/pcap_reader.ts";
import * as dhcp from "../../src/packet/dhcp.ts";
import { bytesOf, DhcpOption, DhcpType } from "../../src/packet/dhcp.ts";
import { concat, u16 } from "../../test/support/frames.ts";
import { randomFrame } from "../../test/support/random_world.ts";
import { Dice } from "../dice.ts";
import { fromHex, mutateBytes, shrinkBytes, toHex } from "../mutate_bytes.ts";
import { mend } from "../pipeline/wire.ts";
import { insist, refusing, type Target } from "../target.ts";

interface BytesTarget {
  name: string;
  about: string;
  seeds: readonly Uint8Array[];
  run(bytes: Uint8Array): Iterable<string>;
}

/** The case is the bytes in hexadecimal digits. */
function bytesTarget({ name, about, seeds, run }: BytesTarget): Target<string> {
  return {
    name,
    about,
    generate(dice, corpus) {
      const kept = corpus.length > 0 && dice.once(2) ? [fromHex(dice.pick(corpus))] : [];
      return toHex(mutateBytes(dice, kept[0]?.length > 0 ? kept : seeds, 5));
    },
    run: (hex) => run(fromHex(hex)),
    *shrink(hex) {
      for (const bytes of shrinkBytes(fromHex(hex))) yield toHex(bytes);
    },
  };
}

const dice = new Dice(2);

function words(bytes: number, values: readonly number[], isLittleEndian = true): Uint8Array {
  const view = new DataView(new ArrayBuffer(bytes * values.length));
  for (const [index, value] of values.entries()) {
    if (bytes === 4) view.setUint32(index * 4, value, isLittleEndian);
    else view.setUint16(index * 2, value, isLittleEndian);
  }
  return new Uint8Array(view.buffer);
}

const padded = (bytes: Uint8Array): Uint8Array => concat(bytes, new Uint8Array((4 - (bytes.length % 4)) % 4));

function pcap(isLittleEndian: boolean, magic: number): Uint8Array {
  const u32 = (...values: number[]): Uint8Array => words(4, values, isLittleEndian);
  const packets = Array.from({ length: 4 }, (_, index) => {
    const { frame } = randomFrame(dice.below, undefined);
    return concat(u32(1_700_000_000 + index, index * 1000, frame.length, frame.length), frame);
  });
  return concat(u32(magic), words(2, [2, 4], isLittleEndian), u32(0, 0, 65_535, 1), ...packets);
}

function pcapng(isLittleEndian: boolean): Uint8Array {
  const u32 = (...values: number[]): Uint8Array => words(4, values, isLittleEndian);
  const two = (...values: number[]): Uint8Array => words(2, values, isLittleEndian);
  const option = (code: number, value: Uint8Array): Uint8Array => concat(two(code, value.length), padded(value));
  const block = (type: number, ...parts: Uint8Array[]): Uint8Array => {
    const body = padded(concat(...parts));
    return concat(u32(type, body.length + 12), body, u32(body.length + 12));
  };
  const { frame } = randomFrame(dice.below, undefined);
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  return concat(
    block(0x0a0d0d0a, u32(0x1a2b3c4d), two(1, 0), u32(0xffffffff, 0xffffffff)),
    block(
      1,
      two(1, 0),
      u32(65_535),
      option(2, text("c1:ingress")),
      option(9, Uint8Array.of(9)),
      option(0, new Uint8Array(0)),
    ),
    block(1, two(101, 0), u32(100), option(9, Uint8Array.of(0x8a))),
    block(6, u32(0, 0, 1000, frame.length, frame.length), padded(frame), option(1, text("a comment"))),
    block(3, u32(frame.length), frame),
    block(5, u32(0, 0, 0)),
    block(2, two(0, 0), u32(0, 5, frame.length, frame.length), padded(frame)),
  );
}

const parsed = parseConfiguration(
  `version: 1
networks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: c1, address: 10.55.66.2 }, c2: { netns: c2, address: 10.55.66.3 } } } }
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: 203.0.113.2 } }
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ] }
`,
  "f",
);
const resolved = resolvePlan(parsed.configuration as NonNullable<typeof parsed.configuration>);
/** A replay drains what waits for minutes of its clock: not for every case. */
const MOST_REPLAYED = 12;

export const CAPTURE_FILE = bytesTarget({
  name: "capture-file",
  about: "pcap and pcapng files, read and replayed through a configuration",
  seeds: [pcap(true, 0xa1b2c3d4), pcap(false, 0xa1b2c3d4), pcap(true, 0xa1b23c4d), pcapng(true), pcapng(false)],
  run(bytes) {
    const packets: CapturedPacket[] = [];
    const isWhole = refusing([CaptureFileError], () => {
      for (const packet of readPackets(bytesOfMemory(bytes))) packets.push(packet);
      return true;
    });
    for (const packet of packets) {
      insist(packet.bytes.length <= MOST_PACKET_BYTES, () => `a packet of ${packet.bytes.length} bytes`);
      insist(packet.nanoseconds >= 0 && packet.nanoseconds < 1e9, () => `${packet.nanoseconds} ns`);
    }
    const reached = [`${isWhole} ${packets.length} packets`];
    // Times far apart would let the replay run through years.
    const [first] = packets;
    const near = packets.slice(0, MOST_REPLAYED).filter(({ seconds }) => Math.abs(seconds - first.seconds) < 10);
    const options = { routerMacs: [], seed: 1, hosts: true, map: new Map<string, string>(), port: "c1" };
    for (const { kind, reason } of replay(near, resolved, options)) reached.push(`${kind} ${reason}`);
    return reached;
  },
});

const MAC = { high: 0x0200, low: 1 };
const SERVER = { high: 0x0200, low: 0x99 };
const ADDRESS = 0xcb007132 | 0;
const GATEWAY = 0xcb007102 | 0;

function dhcpAnswer(type: number, more: readonly [number, Uint8Array][] = []): Uint8Array {
  const message = dhcp.composeMessage({
    operation: dhcp.DhcpOperation.REPLY,
    transaction: -0x80000000,
    seconds: 0,
    clientAddress: 0,
    yourAddress: ADDRESS,
    mac: MAC,
    options: [
      [DhcpOption.MESSAGE_TYPE, Uint8Array.of(type)],
      [DhcpOption.SERVER_ID, bytesOf(GATEWAY)],
      [DhcpOption.LEASE_SECONDS, bytesOf(3600)],
      [DhcpOption.SUBNET_MASK, bytesOf(0xffffff00)],
      ...more,
    ],
  });
  const bytes = composeDatagram({ message, source: GATEWAY, destination: ADDRESS }, SERVER, MAC);
  // From the server's port to the client's.
  bytes.set(concat(u16(67), u16(68)), 44);
  return bytes;
}

const dhcpSeeds = [
  dhcpAnswer(DhcpType.OFFER, [[DhcpOption.ROUTER, bytesOf(GATEWAY)]]),
  dhcpAnswer(DhcpType.ACK, [
    [DhcpOption.CLASSLESS_ROUTES, Uint8Array.of(0, 203, 0, 113, 2, 24, 10, 1, 2, 203, 0, 113, 3)],
  ]),
  dhcpAnswer(DhcpType.OFFER, [
    [DhcpOption.OVERLOAD, Uint8Array.of(3)],
    [DhcpOption.T1_SECONDS, bytesOf(5)],
  ]),
  dhcpAnswer(DhcpType.NAK),
];

/** Several answers, each with its length before it. */
export const DHCP: Target<string[]> = {
  name: "dhcp",
  about: "answers of DHCP servers, in frames, to a client in each of its states",
  generate(source, corpus) {
    const some = corpus.length > 0 && source.once(2) ? source.pick(corpus).map(fromHex) : [];
    const seeds = [...some.filter(({ length }) => length > 0), ...dhcpSeeds];
    return Array.from({ length: 1 + source.below(6) }, () => {
      const bytes = source.once(3) ? source.pick(seeds).slice() : mutateBytes(source, seeds, 4);
      // The vnet header in front stays what it is.
      const frame = bytes.subarray(10);
      if (!source.once(4)) mend(frame, source.once(4));
      return toHex(bytes);
    });
  },
  run(input) {
    const client = new DhcpClient(MAC, () => 0.5);
    const reached: string[] = [];
    let now = 1000;
    client.wake(now);
    for (const hex of input) {
      const bytes = fromHex(hex);
      const memory = new DataView(bytes.buffer);
      const found = findMessage(memory, MAC);
      if (found === undefined) continue;
      insist(found.at + found.length <= bytes.length, () => "a message beyond its frame");
      client.receive(memory, found.at, found.length, now);
      reached.push(client.state);
      const { lease } = client;
      if (lease !== undefined) {
        insist(
          lease.t1Seconds > 0 && lease.t1Seconds <= lease.t2Seconds && lease.t2Seconds <= lease.seconds,
          () => "times",
        );
        insist(lease.prefixLength >= 1 && lease.prefixLength <= 31, () => `a prefix of ${lease.prefixLength}`);
        reached.push(`routes ${lease.routes.length}`);
      }
      insist(!Number.isNaN(client.wakeAt), () => "it does not know when to wake");
      now = Number.isFinite(client.wakeAt) ? Math.max(now, client.wakeAt) : now + 1000;
      if (client.isListening || client.state === "bound") client.wake(now);
    }
    return reached;
  },
  *shrink(input) {
    for (const [at, hex] of input.entries()) {
      yield input.toSpliced(at, 1);
      for (const bytes of shrinkBytes(fromHex(hex))) yield input.with(at, toHex(bytes));
    }
  },
};

function netlink(type: number, body: Uint8Array): Uint8Array {
  return padded(concat(words(4, [16 + body.length]), words(2, [type, 0]), words(4, [1, 0]), body));
}

const attribute = (type: number, value: Uint8Array): Uint8Array =>
  padded(concat(words(2, [4 + value.length, type]), value));

export const NETLINK = bytesTarget({
  name: "netlink",
  about: "what the kernel says of routes and devices",
  seeds: [
    netlink(
      24,
      concat(
        Uint8Array.of(2, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0),
        attribute(1, Uint8Array.of(198, 51, 100, 0)),
        attribute(5, Uint8Array.of(203, 0, 113, 9)),
        attribute(15, words(4, [1000])),
      ),
    ),
    netlink(
      25,
      concat(
        Uint8Array.of(2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0),
        attribute(9, concat(words(2, [16, 0]), words(4, [3]), attribute(5, Uint8Array.of(203, 0, 113, 9)))),
      ),
    ),
    netlink(
      16,
      concat(
        Uint8Array.of(0, 0, 1, 0),
        words(4, [7, 0x41, 0]),
        attribute(3, new TextEncoder().encode("eth0\0")),
        attribute(4, words(4, [1500])),
      ),
    ),
    concat(netlink(3, words(4, [0])), netlink(2, words(4, [-1 >>> 0]))),
  ],
  run(bytes) {
    const reached: string[] = [];
    let count = 0;
    for (const message of readMessages(bytes)) {
      count++;
      reached.push(message.kind === "route" ? `route ${message.isGone} ${message.route.hops.length}` : "end");
    }
    insist(count * 16 <= bytes.length + 16, () => `${count} messages in ${bytes.length} bytes`);
    const { news, isEnd } = readLinkNews(bytes);
    for (const { isUp, isGone } of news) reached.push(`link ${isUp} ${isGone}`);
    return [...reached, `end ${isEnd}`];
  },
});
