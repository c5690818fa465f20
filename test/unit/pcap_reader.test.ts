/** Capture files: both formats, in both byte orders, written here byte by byte; and whatever else a file may hold. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesOfMemory } from "../../src/io/byte_source.ts";
import { type CapturedPacket, CaptureFileError, MOST_PACKET_BYTES } from "../../src/io/captured_packet.ts";
import { readPackets } from "../../src/io/pcap_reader.ts";
import { concat } from "../support/frames.ts";
import { SEEDS } from "../support/seeds.ts";

/** Words of a file in its byte order. */
function writer(isLittleEndian: boolean) {
  const of = (bytes: number, write: (view: DataView) => void): Uint8Array => {
    const view = new DataView(new ArrayBuffer(bytes));
    write(view);
    return new Uint8Array(view.buffer);
  };
  const u16 = (value: number) => of(2, (view) => view.setUint16(0, value, isLittleEndian));
  const u32 = (value: number) => of(4, (view) => view.setUint32(0, value, isLittleEndian));
  const i64 = (value: number) => of(8, (view) => view.setBigInt64(0, BigInt(value), isLittleEndian));
  const padded = (bytes: Uint8Array) => concat(bytes, new Uint8Array((4 - (bytes.length % 4)) % 4));
  const option = (code: number, value: Uint8Array) => concat(u16(code), u16(value.length), padded(value));
  const block = (type: number, ...parts: Uint8Array[]) => {
    const body = padded(concat(...parts));
    return concat(u32(type), u32(body.length + 12), body, u32(body.length + 12));
  };
  const section = () => block(0x0a0d0d0a, u32(0x1a2b3c4d), u16(1), u16(0), u32(0xffffffff), u32(0xffffffff));
  const pcap = (magic: number) => concat(u32(magic), u16(2), u16(4), u32(0), u32(0), u32(65535), u32(1));
  const record = (seconds: number, units: number, bytes: Uint8Array, original = bytes.length) =>
    concat(u32(seconds), u32(units), u32(bytes.length), u32(original), bytes);
  return { u16, u32, i64, padded, option, block, section, pcap, record };
}

const text = (value: string) => new TextEncoder().encode(value);
const read = (...parts: Uint8Array[]): CapturedPacket[] => [...readPackets(bytesOfMemory(concat(...parts)))];

/** What was read before the file went wrong, and what is wrong with it. */
function readBroken(...parts: Uint8Array[]): { packets: CapturedPacket[]; message: string } {
  const packets: CapturedPacket[] = [];
  try {
    for (const packet of readPackets(bytesOfMemory(concat(...parts)))) packets.push(packet);
  } catch (error) {
    expect(error).toBeInstanceOf(CaptureFileError);
    return { packets, message: (error as Error).message };
  }
  throw new Error("nothing was wrong");
}

const A = Uint8Array.of(1, 2, 3, 4, 5);
const B = Uint8Array.of(6, 7);

describe.each([
  ["little", true],
  ["big", false],
])("a capture file in %s-endian order", (_, isLittleEndian) => {
  const { u16, u32, i64, padded, option, block, section, pcap, record } = writer(isLittleEndian);

  it("is read as pcap with microseconds and with nanoseconds", () => {
    const micro = read(pcap(0xa1b2c3d4), record(10, 999_999, A, 1500), record(11, 5, B));
    expect(micro).toEqual([
      { seconds: 10, nanoseconds: 999_999_000, linkType: 1, interface: 0, comments: [], bytes: A, originalBytes: 1500 },
      { seconds: 11, nanoseconds: 5000, linkType: 1, interface: 0, comments: [], bytes: B, originalBytes: 2 },
    ]);
    const [nano] = read(pcap(0xa1b23c4d), record(10, 999_999_999, A));
    expect([nano.seconds, nano.nanoseconds]).toEqual([10, 999_999_999]);
  });

  it("is read as pcapng, with names, clocks and comments of its interfaces and packets", () => {
    const named = block(1, u16(1), u16(0), u32(0), option(2, text("c1:ingress")), option(9, Uint8Array.of(9)), u32(0));
    const shifted = block(1, u16(101), u16(0), u32(0), option(9, Uint8Array.of(0x83)), option(14, i64(100)), u32(0));
    const first = block(6, u32(0), u32(0), u32(1_000_000_007), u32(5), u32(60), padded(A), option(1, text("hello")));
    const second = block(6, u32(1), u32(0), u32(20), u32(2), u32(2), padded(B));
    expect(read(section(), named, shifted, first, second)).toEqual([
      {
        seconds: 1,
        nanoseconds: 7,
        linkType: 1,
        interface: 0,
        interfaceName: "c1:ingress",
        comments: ["hello"],
        bytes: A,
        originalBytes: 60,
      },
      // Eighths of a second, 100 seconds later.
      { seconds: 102, nanoseconds: 5e8, linkType: 101, interface: 1, comments: [], bytes: B, originalBytes: 2 },
    ]);
  });

  it("is read with simple and obsolete packet blocks, passing over what it does not know", () => {
    const described = block(1, u16(1), u16(0), u32(3));
    const simple = block(3, u32(5), A.subarray(0, 3));
    const old = block(2, u16(0), u16(9), u32(0), u32(1_500_000), u32(2), u32(2), padded(B));
    const unknown = block(0x0bad, new Uint8Array(400_000));
    const packets = read(section(), described, unknown, simple, old);
    expect(packets.map(({ seconds, nanoseconds, bytes }) => [seconds, nanoseconds, [...bytes]])).toEqual([
      [0, 0, [1, 2, 3]],
      [1, 5e8, [6, 7]],
    ]);
  });

  it("may hold another section, whose interfaces are its own", () => {
    const [eth, raw] = [1, 101].map((linkType) => block(1, u16(linkType), u16(0), u32(0)));
    const packet = block(6, u32(0), u32(0), u32(0), u32(2), u32(2), padded(B));
    const other = writer(!isLittleEndian);
    const foreign = other.block(1, other.u16(113), other.u16(0), other.u32(0));
    const foreignPacket = other.block(6, ...[0, 0, 0, 2, 2].map(other.u32), other.padded(B));
    const packets = read(section(), eth, packet, section(), raw, packet, other.section(), foreign, foreignPacket);
    expect(packets.map(({ linkType }) => linkType)).toEqual([1, 101, 113]);
  });

  it("gives out what comes before the place where it is cut off", () => {
    const file = concat(pcap(0xa1b2c3d4), record(1, 0, A), record(2, 0, B));
    const { packets, message } = readBroken(file.subarray(0, file.length - 1));
    expect(packets.length).toBe(1);
    expect(message).toBe("byte 61: the file ends inside a packet");
  });

  it.each([
    [
      "a packet of 4 GB",
      concat(pcap(0xa1b2c3d4), u32(0), u32(0), u32(0xffffffff), u32(0)),
      /a packet of 4294967295 byt/,
    ],
    ["half a record", concat(pcap(0xa1b2c3d4), u32(0)), /byte 24: the file ends inside a packet's header/],
    ["an unknown version", concat(u32(0xa1b2c3d4), u16(3), new Uint8Array(18)), /pcap version 3 is not supported/],
    ["a block of 7 bytes", concat(section(), u32(5), u32(7)), /byte 28: a block cannot have 7 bytes/],
    ["two lengths", concat(section(), u32(5), u32(12), u32(16)), /byte 28: a block whose two lengths differ/],
    [
      "no interface",
      concat(section(), block(6, ...[3, 0, 0, 0, 0].map(u32))),
      /of interface 3, which is not described/,
    ],
    [
      "a packet longer than its block",
      concat(section(), block(1, u16(1), u16(0), u32(0)), block(6, ...[0, 0, 0, 400, 400].map(u32))),
      /a packet that is longer than its block/,
    ],
    ["an endless block", concat(section(), u32(5), u32(0xfffffff0)), /the file ends inside a block/],
    ["a clock of 10^-127 s", concat(section(), block(1, u16(1), u16(0), u32(0), option(9, u32(0x7f7f7f7f)))), /finer/],
  ])("says what is wrong: %s", (_, file, message) => {
    expect(readBroken(file).message).toMatch(message);
  });
});

describe("a file that is none", () => {
  it.each([
    ["nothing", new Uint8Array(0), /fewer than 4 bytes/],
    ["text", text("version: 1\n"), /begins with 0x76657273/],
    ["gzip", Uint8Array.of(0x1f, 0x8b, 8, 0), /compressed/],
    ["a modified pcap", Uint8Array.of(0x34, 0xcd, 0xb2, 0xa1), /modified pcap format/],
    ["a section without a byte order", Uint8Array.of(10, 13, 13, 10, ...new Uint8Array(20)), /without a byte order/],
  ])("is refused: %s", (_, file, message) => {
    expect(readBroken(file).message).toMatch(message);
  });

  it.each(SEEDS)("throws nothing but one clear error, and gives out no more than it has (seed %i)", (seed) => {
    const { pcap, record, section, block, u16, u32, option, padded } = writer(true);
    const good = [
      concat(pcap(0xa1b2c3d4), record(1, 2, A), record(3, 4, B)),
      concat(
        section(),
        block(1, u16(1), u16(0), u32(0), option(2, text("c1")), option(9, Uint8Array.of(6)), u32(0)),
        block(6, u32(0), u32(0), u32(7), u32(5), u32(5), padded(A), option(1, text("x"))),
        block(3, u32(2), B),
        block(2, u16(0), u16(0), u32(0), u32(1), u32(2), u32(2), padded(B)),
      ),
    ];
    const change = fc.record({ at: fc.nat(400), value: fc.nat(255) });
    const input = fc.record({
      file: fc.constantFrom(...good),
      changes: fc.array(change, { maxLength: 6 }),
      cut: fc.nat(400),
      tail: fc.uint8Array({ maxLength: 40 }),
    });
    let packets = 0;
    let errors = 0;
    fc.assert(
      fc.property(input, ({ file, changes, cut, tail }) => {
        const bytes = concat(file.subarray(0, Math.max(8, file.length - (cut % file.length))), tail);
        for (const { at, value } of changes) bytes[at % bytes.length] = value;
        let held = 0;
        try {
          for (const packet of readPackets(bytesOfMemory(bytes))) {
            packets++;
            held += packet.bytes.length;
            expect(packet.bytes.length).toBeLessThanOrEqual(MOST_PACKET_BYTES);
            expect(packet.nanoseconds).toBeGreaterThanOrEqual(0);
            expect(packet.nanoseconds).toBeLessThan(1e9);
          }
        } catch (error) {
          errors++;
          expect(error).toBeInstanceOf(CaptureFileError);
          expect((error as Error).message).not.toMatch(/\n/);
        }
        expect(held).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 2000, seed },
    );
    // Both ends have been met.
    expect(packets).toBeGreaterThan(500);
    expect(errors).toBeGreaterThan(500);
  });
});
