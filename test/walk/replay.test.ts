/** Capture files through a configuration: what comes out, when, and the same every time. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { type ReplayEvent, type ReplayOptions, replay } from "../../src/control/experiments/replay.ts";
import { bytesOfMemory } from "../../src/io/byte_source.ts";
import type { CapturedPacket } from "../../src/io/captured_packet.ts";
import { packageRoot } from "../../src/io/package_root.ts";
import { readPackets } from "../../src/io/pcap_reader.ts";
import { pcapHeader, pcapRecord } from "../../src/io/pcap_writer.ts";
import { concat, decode, echoRequest, ethernet, tcp, udp } from "../support/frames.ts";
import { temporaryFolder } from "../support/temporary.ts";

const ROUTER = readFileSync(join(packageRoot(), "examples/router.yaml"), "utf8");

/** What the captured network called its router. */
const OLD_ROUTER = "02:42:0a:37:42:01";
const CLIENT = "02:42:0a:37:42:02";
const SERVER = "02:00:00:00:00:99";

function resolvedOf(text: string) {
  const { configuration, errors } = parseConfiguration(text, "router.yaml");
  if (configuration === undefined) throw new Error(JSON.stringify(errors));
  return resolvePlan(configuration);
}

const fromClient = (packet: Uint8Array) => ethernet(OLD_ROUTER, CLIENT, 0x0800, packet);
const fromServer = (packet: Uint8Array) => ethernet(OLD_ROUTER, SERVER, 0x0800, packet);

function captured(at: number, bytes: Uint8Array, more: Partial<CapturedPacket> = {}): CapturedPacket {
  const seconds = 1_700_000_000 + Math.floor(at);
  const nanoseconds = Math.round((at % 1) * 1e9);
  return { seconds, nanoseconds, linkType: 1, interface: 0, comments: [], bytes, originalBytes: bytes.length, ...more };
}

const OPTIONS: ReplayOptions = { map: new Map(), routerMacs: [OLD_ROUTER], seed: 1, hosts: true };

function play(packets: CapturedPacket[], options: Partial<ReplayOptions> = {}, router = ROUTER): ReplayEvent[] {
  return [...replay(packets, resolvedOf(router), { ...OPTIONS, ...options })];
}

/** Kinds, ports and times, without ARP. */
const short = (events: ReplayEvent[]): string[] =>
  events
    .filter(({ text }) => !text.startsWith("ARP"))
    .map(({ at, kind, port = "-", reason = "" }) => `${at} ${port} ${kind} ${reason}`.trim());

const SYN = fromClient(tcp({ source: "10.55.66.2", destination: "198.51.100.7" }, 4000, 443, { flags: "S" }));
const QUERY = fromClient(udp({ source: "10.55.66.2", destination: "198.51.100.7" }, 4000, 53));

describe("a packet of a capture file", () => {
  it("goes through at its time, and what becomes of it is told", () => {
    const packets = [
      captured(0, SYN),
      captured(
        0.25,
        fromServer(tcp({ source: "198.51.100.7", destination: "203.0.113.1" }, 443, 4000, { flags: "SA" })),
      ),
      captured(1.5, fromClient(udp({ source: "10.55.66.2", destination: "198.51.100.7" }, 4000, 123))),
      captured(2, fromClient(echoRequest({ source: "10.55.66.2", destination: "10.55.66.1" }, 7))),
      captured(2, fromClient(tcp({ source: "10.55.66.2", destination: "10.55.66.1" }, 7, 22, { flags: "S" }))),
    ];
    const events = play(packets);
    expect(short(events)).toEqual([
      "0 c1 in",
      "0 wan out",
      "250000 wan in",
      "250000 c1 out",
      "1500000 c1 in",
      "1500000 c1 drop forward-drop",
      "2000000 c1 in",
      "2000000 c1 out",
      "2000000 c1 in",
      "2000000 c1 drop input-drop",
    ]);
    const [out] = events.filter(({ kind, text }) => kind === "out" && !text.startsWith("ARP"));
    expect(decode(out.bytes as Uint8Array)).toMatchObject({ source: "203.0.113.1", ttl: 63, bad: [] });
  });

  it("meets timers at their times: a UDP flow is over after half a minute", () => {
    const reply = fromServer(udp({ source: "198.51.100.7", destination: "203.0.113.1" }, 53, 4000));
    expect(short(play([captured(0, QUERY), captured(29, reply)]))).toContain("29000000 c1 out");
    expect(short(play([captured(0, QUERY), captured(31, reply)]))).toContain("31000000 wan drop input-drop");
  });

  it("meets impairments at their times, after the last packet too", () => {
    const slow = ROUTER.replace("gateway: 203.0.113.2 }", "gateway: 203.0.113.2, impair: { delay: 20ms } }");
    // The question for the next hop takes 20 ms, and then the packet.
    const events = play([captured(0, SYN), captured(1, QUERY)], {}, slow);
    expect(short(events)).toEqual([
      "0 c1 in",
      "0 c1 held parked",
      "40000 wan out",
      "1000000 c1 in",
      "1000000 c1 held",
      "1020000 wan out",
    ]);
  });

  it("waits in vain where no host answers", () => {
    const events = play([captured(0, SYN), captured(10, SYN)], { hosts: false });
    expect(short(events)).toContain("0 c1 held parked");
    expect(events.some(({ reason }) => reason === "neighbour-unreachable")).toBe(true);
  });

  it("is skipped, with the reason, where nothing tells its port", () => {
    const stray = ethernet(OLD_ROUTER, CLIENT, 0x0800, udp({ source: "10.55.66.99", destination: "1.1.1.1" }, 1, 2));
    const cooked = captured(0, SYN, { linkType: 113 });
    const huge = captured(0, new Uint8Array(100_000), { interfaceName: "c1" });
    const events = play([captured(0, stray), cooked, captured(0, Uint8Array.of(1)), huge]);
    expect(events.map(({ kind, text }) => `${kind} ${text}`)).toEqual([
      "skip nothing tells its port: say --in PORT or --map INTERFACE=PORT",
      "skip link type 113 is not supported, only Ethernet and raw IPv4",
      "skip nothing tells its port: say --in PORT or --map INTERFACE=PORT",
      "skip a frame of 100000 bytes: at most 65718 are supported",
    ]);
  });

  it.each<[string, Partial<CapturedPacket>, Partial<ReplayOptions>, string]>([
    ["the port that was named", {}, { port: "c2" }, "0 c2 in"],
    ["its interface's name", { interfaceName: "c2" }, {}, "0 c2 in"],
    ["its interface's name with a hook", { interfaceName: "c2:ingress" }, {}, "0 c2 in"],
    ["another hook: it was in the router already", { interfaceName: "c2:egress" }, {}, "0 - skip"],
    ["a mapping", { interfaceName: "eth7" }, { map: new Map([["eth7", "wan"]]) }, "0 wan in"],
    ["an address, where the name says nothing", { interfaceName: "eth7" }, {}, "0 c1 in"],
  ])("enters by %s", (_, more, options, expected) => {
    expect(short(play([captured(0, QUERY, more)], options))[0]).toBe(expected);
  });

  it("may be without Ethernet", () => {
    const packet = udp({ source: "10.55.66.2", destination: "198.51.100.7" }, 4000, 53);
    expect(short(play([captured(0, packet, { linkType: 101 })], { routerMacs: [] }))).toEqual(["0 c1 in", "0 wan out"]);
  });

  it("may have been captured before a device completed its checksum", () => {
    const packet = udp({ source: "10.55.66.2", destination: "198.51.100.7" }, 4000, 53, new Uint8Array(100));
    const sum = 0x0a37 + 0x4202 + 0xc633 + 0x6407 + 17 + 108;
    new DataView(packet.buffer, packet.byteOffset).setUint16(26, (sum & 0xffff) + (sum >>> 16));
    const out = play([captured(0, fromClient(packet))]).find(
      ({ kind, text }) => kind === "out" && !text.startsWith("ARP"),
    );
    expect(decode(out?.bytes as Uint8Array).bad).toEqual([]);
    // A checksum that is plainly wrong stays so.
    new DataView(packet.buffer, packet.byteOffset).setUint16(26, 0x1234);
    expect(short(play([captured(0, fromClient(packet))]))).toContain("0 c1 drop l4-checksum");
  });

  it("may come before the one ahead of it, or years later", () => {
    const events = play([captured(5, QUERY), captured(1, QUERY), captured(2e8, QUERY)]);
    expect(short(events)).toEqual([
      "0 c1 in",
      "0 wan out",
      "0 c1 in",
      "0 wan out",
      "199999995000000 c1 in",
      "199999995000000 wan out",
    ]);
  });
});

describe("tapir replay", () => {
  const MAIN = join(packageRoot(), "dist/src/cli/main.js");
  const run = (folder: string, ...words: string[]): string =>
    execFileSync(process.execPath, [MAIN, "replay", ...words], { cwd: folder, encoding: "utf8", timeout: 30_000 });

  it("gives the same output for the same input, byte for byte, in another process too", () => {
    const lossy = ROUTER.replace(
      "gateway: 203.0.113.2 }",
      "gateway: 203.0.113.2, impair: { delay: 5ms, jitter: 4ms, loss: 20%, duplicate: 10%, corrupt: 10% } }",
    );
    const frames = Array.from({ length: 60 }, (_, index) => {
      const packet = udp(
        { source: "10.55.66.2", destination: "198.51.100.7" },
        4000 + index,
        53,
        new Uint8Array(index),
      );
      return pcapRecord(1000, index * 700, fromClient(packet));
    });
    const folder = dirname(temporaryFolder({ "r.yaml": lossy, "in.pcap": concat(pcapHeader(), ...frames) }, "r.yaml"));
    const words = ["in.pcap", "-f", "r.yaml", "--router-mac", OLD_ROUTER];
    const first = run(folder, ...words, "-w", "out1.pcap");
    const second = run(folder, ...words, "-w", "out2.pcap");
    expect(second).toBe(first);
    const [one, two] = ["out1.pcap", "out2.pcap"].map((name) => readFileSync(join(folder, name)));
    expect(two.equals(one)).toBe(true);
    expect([...readPackets(bytesOfMemory(one))].length).toBeGreaterThan(40);
    expect(first).toMatch(/\n60 in, \d+ out, \d+ dropped \(impairment-loss \d+\)\n$/);
    expect(run(folder, ...words, "--seed", "2")).not.toBe(first);
  });

  it.each([
    [["none.pcap", "-f", "r.yaml"], 1, "tapir: none.pcap: no such file"],
    [["r.yaml", "-f", "r.yaml"], 1, "tapir: r.yaml: not a capture file: it begins with 0x23205477"],
    [["cut.pcap", "-f", "r.yaml"], 1, "tapir: cut.pcap: byte 40: the file ends inside a packet"],
    [["cut.pcap", "-f", "r.yaml", "--in", "c9"], 2, "tapir: replay: no port is called c9; there are c1, c2, wan"],
    [["cut.pcap", "-f", "none.yaml"], 3, "none.yaml: no such file"],
  ])("says in one line what is wrong: %s", (words, status, line) => {
    const cut = concat(pcapHeader(), pcapRecord(1, 0, QUERY)).subarray(0, 50);
    const folder = dirname(temporaryFolder({ "r.yaml": ROUTER, "cut.pcap": cut }, "r.yaml"));
    expect(() => run(folder, ...words)).toThrow(
      expect.objectContaining({ status, stderr: expect.stringContaining(`${line}\n`) }),
    );
  });
});
