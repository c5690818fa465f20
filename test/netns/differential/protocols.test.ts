/** Protocols other than TCP, UDP and ICMP, through the kernel and through Tapir. */
import { expect } from "vitest";
import { GATEWAY, type Hosts, UPLINK } from "../../support/differential/hosts.ts";
import { differential, type Scenario, tapirAlone } from "../../support/differential/suite.ts";
import { free, pattern, type Step, step, uniqueId } from "../../support/differential/talk.ts";
import { concat, ipv4, u16, u32 } from "../../support/frames.ts";

/** IP in IP, EGP, RSVP, ESP, AH, OSPF, VRRP, an unassigned number and a reserved one. */
const PROTOCOLS = [4, 8, 46, 50, 51, 89, 112, 200, 255];

function out(hosts: Hosts, protocol: number, payload = pattern(24), from: "c1" | "c2" = "c1"): Step {
  return step(
    from,
    ipv4({ source: hosts[from], destination: hosts.server, id: uniqueId() }, protocol, payload),
    "server",
  );
}

function back(hosts: Hosts, protocol: number, payload = pattern(24, 9)): Step {
  return step("server", ipv4({ source: hosts.server, destination: UPLINK, id: uniqueId() }, protocol, payload), "c1");
}

function sctp(chunk: number, verification = 7, [source, destination] = [5000, 6000]): Uint8Array {
  const chunks = concat(Uint8Array.of(chunk, 0), u16(20), u32(1), u32(65_535), u16(1), u16(1), u32(1));
  const packet = concat(u16(source), u16(destination), u32(verification), u32(0), chunks);
  return concat(packet.subarray(0, 8), littleEndian(crc32c(packet)), chunks);
}

function littleEndian(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

/** RFC 9260, appendix A, bit by bit. */
function crc32c(bytes: Uint8Array): number {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum & 1) !== 0 ? (sum >>> 1) ^ 0x82f63b78 : sum >>> 1;
  }
  return ~sum;
}

const OTHERS: Scenario[] = PROTOCOLS.map((protocol) => ({
  name: `protocol ${protocol} goes out, comes back, and comes unasked`,
  steps: (hosts) => [
    out(hosts, protocol),
    back(hosts, protocol),
    out(hosts, protocol),
    free(step("third", ipv4({ source: hosts.third, destination: UPLINK, id: uniqueId() }, protocol, pattern(24)))),
    free(step("c1", ipv4({ source: hosts.c1, destination: GATEWAY, id: uniqueId() }, protocol, pattern(24)))),
  ],
}));

const PPTP = concat(u16(0x2001), u16(0x880b), u16(4), u16(99), pattern(4));
const GRE = concat(u16(0), u16(0x0800), pattern(20));

differential("Other protocols as the kernel does them", {}, [
  ...OTHERS,
  {
    name: "two containers use a protocol without ports towards one server",
    steps: (hosts) => [out(hosts, 50), free(out(hosts, 50, pattern(24), "c2")), back(hosts, 50)],
  },
  {
    name: "a packet without data",
    steps: (hosts) => [out(hosts, 50, new Uint8Array(0)), back(hosts, 50, new Uint8Array(0))],
  },
  {
    name: "GRE",
    steps: (hosts) => [out(hosts, 47, GRE), back(hosts, 47, GRE), out(hosts, 47, GRE)],
  },
  {
    name: "GRE of version 1, which PPTP uses",
    steps: (hosts) => [out(hosts, 47, PPTP), { ...back(hosts, 47, PPTP), reaches: "server" }],
    departure: () => ({
      reason:
        "the kernel tells GRE of version 1 apart by key, so that an answer without a helper is none; Tapir does not",
      kernel: [
        expect.stringMatching(/^1: flow gre 47 30s .* dstkey=0x63 /),
        expect.stringMatching(/^2: server gets .* icmp 3\/2 /),
        expect.stringMatching(/^2: flow gre 47 30s .* dstkey=0x63 /),
      ],
      tapir: [
        expect.stringMatching(/^1: flow gre 47 30s .* dstkey=0x0 /),
        expect.stringMatching(/^2: c1 gets .* proto=47 /),
        expect.stringMatching(/^2: flow gre 47 30s .* dstkey=0x0 /),
      ],
    }),
  },
  {
    name: "GRE cut short",
    steps: (hosts) => [{ ...out(hosts, 47, pattern(2)), reaches: "" }],
    departure: () =>
      tapirAlone(
        "Tapir does not look into GRE",
        expect.stringMatching(/^1: server gets .* proto=47 data=0007$/),
        expect.stringMatching(/^1: flow gre /),
      ),
  },
  {
    name: "SCTP: INIT and INIT ACK",
    steps: (hosts) => [out(hosts, 132, sctp(1, 0)), back(hosts, 132, sctp(2, 1, [6000, 5000]))],
    departure: () => ({
      reason: "SCTP has neither states nor ports in Tapir: it is tracked by address alone",
      kernel: [
        expect.stringMatching(/^1: flow sctp 132 .*CLOSED/),
        expect.stringMatching(/^2: flow sctp 132 .*COOKIE_WAIT/),
      ],
      tapir: [expect.stringMatching(/^1: flow sctp 132 600s/), expect.stringMatching(/^2: flow sctp 132 600s/)],
    }),
  },
  {
    name: "SCTP: data of no association",
    steps: (hosts) => [{ ...out(hosts, 132, sctp(0)), reaches: "" }],
    departure: () =>
      tapirAlone(
        "SCTP has neither states nor ports in Tapir: it is tracked by address alone",
        expect.stringMatching(/^1: server gets .* proto=132/),
        expect.stringMatching(/^1: flow sctp 132 600s/),
      ),
  },
  {
    name: "DCCP",
    steps: (hosts) => [free(out(hosts, 33, concat(u16(4000), u16(53), pattern(20))))],
  },
  { name: "protocol 0", steps: (hosts) => [free(out(hosts, 0))] },
]);
