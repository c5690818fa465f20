import { describe, expect, it } from "vitest";
import { PortCounter } from "../../src/io/native.ts";
import { ip, namespace, requireSystem, veth } from "../support/netns.ts";
import { Harness, put } from "./harness.ts";
import { WAYS } from "./ways.ts";

const NEEDS_CSUM = 1;
const GSO_TCPV4 = 1;
const GSO_UDP_L4 = 5;
const MSS = 1448;

/** The sum of the pseudo-header, as a partial checksum has it. */
function pseudoHeaderSum(ip: Buffer, protocol: number, length: number): number {
  let sum = protocol + length;
  for (let i = 12; i < 20; i += 2) sum += ip.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

function ipv4(protocol: number, payload: number): Buffer {
  const header = Buffer.from("450000000000400040000000cb0071020a374202", "hex");
  header.writeUInt16BE(20 + payload, 2);
  header[9] = protocol;
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += header.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  header.writeUInt16BE(~sum & 0xffff, 10);
  return header;
}

const ethernet = (type: number) => Buffer.from(`025566000002025566000001${type.toString(16).padStart(4, "0")}`, "hex");

function vnetHeader(gsoType: number, gsoSize: number, headerBytes: number, start: number, offset: number): Buffer {
  const header = Buffer.alloc(10);
  header[0] = NEEDS_CSUM;
  header[1] = gsoType;
  header.writeUInt16LE(headerBytes, 2);
  header.writeUInt16LE(gsoSize, 4);
  header.writeUInt16LE(start, 6);
  header.writeUInt16LE(offset, 8);
  return header;
}

/** A TCP super-frame with `payload` bytes, and the vnet header that describes it. */
function tcpFrame(payload: number, gsoSize = MSS): { bytes: Buffer; header: Buffer } {
  const tcp = Buffer.alloc(32 + payload, 0x5a);
  Buffer.from("1f9030390000000100000001801001f600000000", "hex").copy(tcp);
  Buffer.from("0101080a0000000100000002", "hex").copy(tcp, 20);
  const ip = ipv4(6, tcp.length);
  tcp.writeUInt16BE(pseudoHeaderSum(ip, 6, tcp.length), 16);
  return { bytes: Buffer.concat([ethernet(0x0800), ip, tcp]), header: vnetHeader(GSO_TCPV4, gsoSize, 66, 34, 16) };
}

function udpFrame(payload: number, gsoSize: number): { bytes: Buffer; header: Buffer } {
  const udp = Buffer.alloc(8 + payload, 0x5b);
  udp.writeUInt16BE(8080, 0);
  udp.writeUInt16BE(12345, 2);
  udp.writeUInt16BE(udp.length, 4);
  const ip = ipv4(17, udp.length);
  udp.writeUInt16BE(pseudoHeaderSum(ip, 17, udp.length), 6);
  return { bytes: Buffer.concat([ethernet(0x0800), ip, udp]), header: vnetHeader(GSO_UDP_L4, gsoSize, 42, 34, 6) };
}

/** Port 0: a TAP; 1: inside its namespace; 2 and 3: the two ends of a veth. */
function world(harness: Harness, offload = true): void {
  const [netns, outside] = [namespace(), namespace()];
  harness.tap(0, netns, "eth0", offload);
  ip(netns, "link set eth0 up");
  harness.packet(1, netns, "eth0");
  veth({ netns: outside, ifname: "up0" }, { netns: outside, ifname: "up1" });
  harness.packet(2, outside, "up0");
  harness.packet(3, outside, "up1");
}

describe.skipIf(!requireSystem([], "offloads")).each(WAYS)("offloads, $name", (way) => {
  const frames: [string, { bytes: Buffer; header: Buffer }][] = [
    ["TCP segments of 64 KiB", tcpFrame(65_535 - 66)],
    ["TCP segments", tcpFrame(4 * MSS)],
    ["UDP datagrams", udpFrame(20 * 1000, 1000)],
  ];

  it.each(frames)("pass whole from a TAP to a packet socket and back: %s", (_, { bytes, header }) => {
    const harness = new Harness({ way });
    world(harness);
    for (const [into, outOf, onwards, end] of [
      [1, 0, 2, 3],
      [3, 2, 0, 1],
    ]) {
      expect(harness.transmit([{ port: into, bytes, header }])).toBe(1);
      const [received] = harness.expectFrames(1, outOf);
      expect(received.bytes.equals(bytes)).toBe(true);
      expect([...received.header.subarray(0, 2)]).toEqual([...header.subarray(0, 2)]);
      expect(received.header.subarray(4)).toEqual(header.subarray(4));
      expect(harness.transmit([{ port: onwards, bytes: received.bytes, header: received.header }])).toBe(1);
      const [arrived] = harness.expectFrames(1, end);
      expect(arrived.bytes.equals(bytes)).toBe(true);
      expect(arrived.header.subarray(4)).toEqual(header.subarray(4));
    }
  });

  it("are cut by the kernel for a TAP that takes none", () => {
    const harness = new Harness({ way });
    world(harness, false);
    harness.transmit([{ port: 1, ...tcpFrame(4 * MSS) }]);
    const received = harness.expectFrames(4, 0);
    expect(received.map((one) => one.bytes.length)).toEqual(new Array(4).fill(66 + MSS));
    // Whole checksums: the vnet header asks for nothing.
    expect(received.map((one) => one.header[0] & NEEDS_CSUM)).toEqual([0, 0, 0, 0]);
  });

  it("move along when a VLAN tag is put back", () => {
    const harness = new Harness({ way });
    world(harness);
    const { bytes, header } = tcpFrame(4 * MSS);
    const tag = Buffer.from("81002007", "hex");
    const tagged = Buffer.concat([bytes.subarray(0, 12), tag, bytes.subarray(12)]);
    const moved = Buffer.from(header);
    moved.writeUInt16LE(header.readUInt16LE(2) + 4, 2);
    moved.writeUInt16LE(header.readUInt16LE(6) + 4, 6);
    harness.transmit([{ port: 3, bytes: tagged, header: moved }]);
    const received = harness.expectFrames(1, 2);
    expect(received[0].bytes.equals(tagged)).toBe(true);
    expect(received[0].header.readUInt16LE(6)).toBe(38);
    expect(harness.transmit([{ port: 0, bytes: received[0].bytes, header: received[0].header }])).toBe(1);
    expect(harness.expectFrames(1, 1)[0].bytes.equals(tagged)).toBe(true);
  });

  it("that a device does not know are counted, and cost one frame", () => {
    const harness = new Harness({ way });
    world(harness);
    const { bytes, header } = tcpFrame(4 * MSS);
    const wrong = Buffer.from(header);
    wrong[1] = 0x3f;
    for (const port of [0, 2]) {
      expect(
        harness.transmit([
          { port, bytes, header: wrong },
          { port, bytes, header },
        ]),
      ).toBe(1);
      expect(harness.counter(port, PortCounter.TX_ERRORS)).toBe(1);
    }
  });

  it("in a container's own frames are left as they are", () => {
    const harness = new Harness({ way });
    world(harness);
    const { bytes, header } = udpFrame(100, 0);
    header[1] = 0;
    const fd = harness.packet(4, namespace(), "lo");
    put(fd, bytes, header);
    const [received] = harness.expectFrames(1, 4);
    expect(received.bytes.equals(bytes)).toBe(true);
    expect(received.header[0] & NEEDS_CSUM).toBe(NEEDS_CSUM);
  });
});
