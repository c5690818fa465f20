import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { printFrame } from "../../src/packet/print.ts";
import {
  address,
  arp,
  concat,
  echoReply,
  echoRequest,
  ethernet,
  type Ipv4Fields,
  icmp,
  ipv4,
  tcp,
  u16,
  u32,
  udp,
} from "../support/frames.ts";

const print = (frame: Uint8Array): string =>
  printFrame(new DataView(frame.buffer, frame.byteOffset, frame.byteLength), 0, frame.length);

const MACS = ["02:00:00:00:00:01", "02:00:00:00:00:02"] as const;
const overEthernet = (packet: Uint8Array): Uint8Array => ethernet(MACS[0], MACS[1], 0x0800, packet);
const between: Ipv4Fields = { source: "10.55.66.2", destination: "203.0.113.2", ttl: 63, id: 1234 };
const arpPacket = (operation: 1 | 2, targetMac: string): Uint8Array =>
  ethernet(
    "ff:ff:ff:ff:ff:ff",
    MACS[1],
    0x0806,
    arp({ operation, senderMac: MACS[1], sender: "10.55.66.2", targetMac, target: "10.55.66.1" }),
  );
const quoted = (packet: Uint8Array, type: number, code: number, rest = 0): Uint8Array =>
  overEthernet(icmp({ ...between, source: "10.55.66.1" }, type, code, rest, packet.subarray(0, 28)));

const synOptions = concat(Uint8Array.of(2, 4, 5, 180, 4, 2, 8, 10), u32(77), u32(0), Uint8Array.of(1, 3, 3, 7));
const sackOptions = concat(Uint8Array.of(1, 1, 5, 18), u32(100), u32(200), u32(300), u32(0xfffffff0));
const corrupt = (frame: Uint8Array, at: number): Uint8Array =>
  frame.map((byte, index) => (index === at ? byte ^ 1 : byte));
const datagram = udp(between, 40000, 9999, new Uint8Array(12));

const FRAMES: Record<string, Uint8Array> = {
  "echo request": overEthernet(echoRequest(between, 7)),
  "echo reply": overEthernet(echoReply(between, 65535, 65535)),
  "no DF, no TTL": overEthernet(echoRequest({ ...between, ttl: 0, fragment: 0 }, 7)),
  "first fragment": overEthernet(echoRequest({ ...between, fragment: 0x2000 }, 7)),
  "later fragment": overEthernet(ipv4({ ...between, fragment: 0x00b9 }, 17, new Uint8Array(16))),
  "TOS and ECN": overEthernet(echoRequest({ ...between, tos: 0xb9 }, 7)),
  "congestion experienced": overEthernet(echoRequest({ ...between, tos: 3 }, 7)),
  "bad header checksum": corrupt(overEthernet(echoRequest(between, 7)), 22),
  "padded frame": concat(overEthernet(echoRequest(between, 7, 1, new Uint8Array(0))), new Uint8Array(18)),
  SYN: overEthernet(tcp(between, 40000, 9999, { flags: "S", sequence: 1, options: synOptions })),
  "SYN/ACK": overEthernet(tcp(between, 9999, 40000, { flags: "SA", sequence: 0xffffffff, acknowledgement: 2 })),
  data: overEthernet(tcp(between, 40000, 9999, { flags: "PA", sequence: 0xfffffffe, payload: new Uint8Array(9) })),
  "selective acknowledgement": overEthernet(tcp(between, 40000, 9999, { flags: "A", options: sackOptions })),
  "FIN with ECN": overEthernet(tcp(between, 40000, 9999, { flags: "FAEC", sequence: 5, acknowledgement: 6 })),
  "no flags": overEthernet(tcp(between, 40000, 9999, { flags: "" })),
  RST: overEthernet(tcp(between, 40000, 9999, { flags: "R", sequence: 5 })),
  UDP: overEthernet(datagram),
  "other protocol": overEthernet(ipv4(between, 253, new Uint8Array(20))),
  "ARP request": arpPacket(1, "00:00:00:00:00:00"),
  "ARP probe of a known station": arpPacket(1, MACS[0]),
  "ARP reply": arpPacket(2, MACS[0]),
  "time exceeded": quoted(datagram, 11, 0),
  "reassembly time exceeded": quoted(datagram, 11, 1),
  "net unreachable": quoted(datagram, 3, 0),
  "host unreachable": quoted(datagram, 3, 1),
  "protocol unreachable": quoted(datagram, 3, 2),
  "port unreachable": quoted(datagram, 3, 3),
  "fragmentation needed": quoted(datagram, 3, 4, 1400),
  "fragmentation needed, MTU unknown": quoted(datagram, 3, 4),
  "net prohibited": quoted(datagram, 3, 9),
  "host prohibited": quoted(datagram, 3, 10),
  "administratively prohibited": quoted(datagram, 3, 13),
};

/** A capture file (pcap, microseconds, Ethernet, little-endian). */
function captureFile(frames: Uint8Array[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65535, 16);
  header.writeUInt32LE(1, 20);
  const records = frames.flatMap((frame) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    return [record, frame];
  });
  return Buffer.concat([header, ...records]);
}

/** What tcpdump prints for each frame: lines that start with a blank belong to the packet before. */
function tcpdump(file: string, ...options: string[]): string[][] {
  const { stdout } = spawnSync("tcpdump", ["-n", "-t", "-S", ...options, "-r", file], { encoding: "utf8" });
  const packets: string[][] = [];
  for (const line of stdout.split("\n")) {
    if (line === "") continue;
    // tcpdump writes two blanks before protocols it does not know.
    if (line.startsWith("IP") || line.startsWith("ARP")) packets.push([line.replace(":  ", ": ")]);
    else packets.at(-1)?.push(line.trim());
  }
  return packets;
}

const hasTcpdump = spawnSync("tcpdump", ["--version"]).error === undefined;
if (!hasTcpdump) {
  const message = "SKIPPED packets as text against tcpdump: needs tcpdump";
  if (process.env.TAPIR_REQUIRE_ALL === "1") throw new Error(message);
  process.stderr.write(`${message}\n`);
}

describe("packets as text", () => {
  it.skipIf(!hasTcpdump)("are what tcpdump prints", () => {
    const folder = mkdtempSync(join(tmpdir(), "tapir-print-"));
    try {
      const file = join(folder, "frames.pcap");
      writeFileSync(file, captureFile(Object.values(FRAMES)));
      const terse = tcpdump(file);
      const verbose = tcpdump(file, "-v");
      expect(terse).toHaveLength(Object.keys(FRAMES).length);
      const expected = Object.keys(FRAMES).map((name, index) => {
        const [line] = terse[index];
        // What -v adds is in parentheses on the first line of two; the rest is compared without -v.
        return [name, line.startsWith("IP ") ? `${verbose[index][0]} ${line.slice("IP ".length)}` : line];
      });
      expect(Object.entries(FRAMES).map(([name, frame]) => [name, print(frame)])).toEqual(expected);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("shows addresses, TTL and ids", () => {
    expect(print(FRAMES["echo request"])).toBe(
      "IP (tos 0x0, ttl 63, id 1234, offset 0, flags [DF], proto ICMP (1), length 36) 10.55.66.2 > 203.0.113.2: ICMP echo request, id 7, seq 1, length 16",
    );
    expect(print(FRAMES["ARP request"])).toBe("ARP, Request who-has 10.55.66.1 tell 10.55.66.2, length 28");
    expect(print(FRAMES["ARP reply"])).toBe("ARP, Reply 10.55.66.2 is-at 02:00:00:00:00:02, length 28");
  });

  it("shows a VLAN tag and the packet behind it", () => {
    const tagged = ethernet(MACS[0], MACS[1], 0x8100, concat(u16(0x6005), u16(0x0800), datagram));
    expect(print(tagged)).toMatch(/^vlan 5, p 3, IP \(.*UDP, length 12$/);
  });

  it("starts where the frame starts", () => {
    const frame = FRAMES.SYN;
    const memory = concat(new Uint8Array(11).fill(0xee), frame, new Uint8Array(5).fill(0xee));
    expect(printFrame(new DataView(memory.buffer), 11, frame.length)).toBe(print(frame));
  });

  it("takes any bytes, and looks at no byte outside the frame", () => {
    const whole = Object.values(FRAMES);
    const mutated = fc
      .tuple(fc.constantFrom(...whole), fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 6 }), fc.nat(120))
      .map(([frame, changes, cut]) => {
        const bytes = Uint8Array.from(frame);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        return bytes.slice(0, cut);
      });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 120 })), (frame) => {
        expect(print(frame)).not.toContain("undefined");
        expect(print(frame)).not.toMatch(/\n|NaN/);
      }),
      { numRuns: 5000 },
    );
    // `print` gives the frame a view of its own length: a read behind it would throw.
    expect(print(overEthernet(echoRequest(between, 7)).slice(0, 36))).toContain("truncated-ip - 14 bytes missing!");
    expect(print(address("1.2.3.4"))).toBe("[|ether]");
  });
});
