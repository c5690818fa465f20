/** Fragments, whole and odd, through the kernel and through Tapir. */
import { expect } from "vitest";
import { GATEWAY, type Hosts, UPLINK } from "../../support/differential/hosts.ts";
import { differential, kernelAlone, type Scenario } from "../../support/differential/suite.ts";
import {
  fragment,
  fragmentsOf,
  free,
  pattern,
  type Step,
  step,
  udpBack,
  udpOut,
  uniqueId,
  withBytes,
  withHeaderChecksum,
} from "../../support/differential/talk.ts";
import { echoReply, echoRequest, type Ipv4Fields, icmp, ipv4, tcp, udp } from "../../support/frames.ts";

/** A datagram from c1 of so many bytes of data, DF clear. */
function datagram(hosts: Hosts, length: number, more: Partial<Ipv4Fields> = {}): Uint8Array {
  const fields = { source: hosts.c1, destination: hosts.server, id: uniqueId(), fragment: 0, ...more };
  return udp(fields, 4000, 53, pattern(length));
}

/** Fragments of one datagram from c1, in an order, whatever the kernel lets out and when. */
const fromClient = (name: string, build: (hosts: Hosts) => Uint8Array[]): Scenario => ({
  name,
  steps: (hosts) => build(hosts).map((packet) => step("c1", packet)),
});

type Difference = NonNullable<Scenario["departure"]>;

/** The fragments that arrive at the server in a step of the kernel's world and of Tapir's: how each line goes on. */
const leaving = (reason: string, step: number, kernel: string[], tapir: string[]): Difference => {
  const lines = (ends: string[]) => ends.map((end) => expect.stringMatching(`^${step}: server gets .* ttl=63 ${end}`));
  return () => ({ reason, kernel: lines(kernel), tapir: lines(tapir) });
};

const SIZES = "the kernel sends fragments as they came; Tapir cuts anew, none longer than the longest that came";
const DF = "DF of fragments gets lost in the kernel, Tapir keeps it";

const order = (packets: Uint8Array[], indexes: number[]): Uint8Array[] => indexes.map((index) => packets[index]);

/** From the server, to the port that it saw: `pick` chooses which fragments go, in which order. */
function fragmentsBack(hosts: Hosts, length: number, cuts: number[], indexes: number[]): Step[] {
  const id = uniqueId();
  return indexes.map((index) =>
    free(
      step("server", (seen) => {
        const fields = { source: hosts.server, destination: UPLINK, id, fragment: 0 };
        return fragmentsOf(udp(fields, 53, seen.port("server"), pattern(length)), cuts)[index];
      }),
    ),
  );
}

function echoParts(hosts: Hosts, destination: string, length: number, cuts: number[]): Step[] {
  const request = echoRequest({ source: hosts.c1, destination, id: uniqueId(), fragment: 0 }, 77, 1, pattern(length));
  return fragmentsOf(request, cuts).map((packet) => step("c1", packet));
}

/** 1500 of IP on the wire: the largest fragment. */
const FULL = 1480;

differential("Fragments as the kernel treats them", {}, [
  fromClient("two in order", (hosts) => fragmentsOf(datagram(hosts, 2000), [FULL])),
  fromClient("two in reverse", (hosts) => fragmentsOf(datagram(hosts, 2000), [FULL]).reverse()),
  fromClient("three shuffled", (hosts) => order(fragmentsOf(datagram(hosts, 4000), [FULL, 2 * FULL]), [1, 2, 0])),
  {
    ...fromClient("of unequal sizes", (hosts) => fragmentsOf(datagram(hosts, 3000), [104, 1200, 1208, 2400])),
    departure: leaving(
      SIZES,
      5,
      ["len=124 ", "len=1116 ", "len=28 ", "len=1212 .* frag=1208", "len=628 "],
      ["len=1212 .* frag=0", "len=1212 .* frag=1192", "len=644 "],
    ),
  },
  fromClient("of 8 bytes each", (hosts) => fragmentsOf(datagram(hosts, 56), [8, 16, 24, 32, 40, 48, 56])),
  {
    ...fromClient("with DF set", (hosts) => fragmentsOf(datagram(hosts, 2000), [FULL], 0x4000)),
    departure: leaving(
      DF,
      2,
      ["len=1500 id=d1 frag", "len=548 id=d1 frag"],
      ["len=1500 id=d1 DF frag", "len=548 id=d1 DF frag"],
    ),
  },
  {
    ...fromClient("with DF set in the first only", (hosts) => [
      fragmentsOf(datagram(hosts, 2000, { id: 900 }), [FULL], 0x4000)[0],
      fragmentsOf(datagram(hosts, 2000, { id: 900 }), [FULL])[1],
    ]),
    departure: leaving(
      DF,
      2,
      ["len=1500 id=d1 frag", "len=548 id=d1 frag"],
      ["len=1500 id=d1 DF frag", "len=548 id=d1 DF frag"],
    ),
  },
  fromClient("one with nothing before or after it", (hosts) => [
    fragment(datagram(hosts, 100), 0, datagram(hosts, 100).subarray(20), false),
  ]),
  fromClient("the first is missing", (hosts) => fragmentsOf(datagram(hosts, 4000), [FULL, 2 * FULL]).slice(1)),
  fromClient("the last is missing", (hosts) => fragmentsOf(datagram(hosts, 4000), [FULL, 2 * FULL]).slice(0, 2)),
  fromClient("the middle comes last", (hosts) =>
    order(fragmentsOf(datagram(hosts, 4000), [FULL, 2 * FULL]), [0, 2, 1]),
  ),
  fromClient("each twice", (hosts) => order(fragmentsOf(datagram(hosts, 2000), [FULL]), [0, 0, 1, 1])),
  fromClient("the last twice, then the first", (hosts) => order(fragmentsOf(datagram(hosts, 2000), [FULL]), [1, 1, 0])),
  fromClient("one that lies inside another is a duplicate", (hosts) => {
    const whole = datagram(hosts, 2000);
    const [first, last] = fragmentsOf(whole, [FULL]);
    return [first, fragment(whole, 160, whole.subarray(180, 340), true), last];
  }),
  fromClient("one that overlaps another ends the datagram", (hosts) => {
    const whole = datagram(hosts, 2000);
    const [first, last] = fragmentsOf(whole, [FULL]);
    return [first, fragment(whole, FULL - 80, whole.subarray(20 + FULL - 80, 20 + FULL + 80), true), last];
  }),
  fromClient("one that overlaps from below", (hosts) => {
    const whole = datagram(hosts, 2000);
    const [first, last] = fragmentsOf(whole, [FULL]);
    return [last, fragment(whole, FULL - 80, whole.subarray(20 + FULL - 80, 20 + FULL + 80), true), first];
  }),
  fromClient("two ends at different places", (hosts) => {
    const whole = datagram(hosts, 2000);
    const [first, last] = fragmentsOf(whole, [FULL]);
    return [last, fragment(whole, FULL + 800, pattern(8), false), first];
  }),
  fromClient("data behind the end", (hosts) => {
    const whole = datagram(hosts, 2000);
    const [first, last] = fragmentsOf(whole, [FULL]);
    return [last, fragment(whole, FULL + 800, pattern(8), true), first];
  }),
  {
    ...fromClient("a length that is no multiple of 8", (hosts) => {
      const whole = datagram(hosts, 2000);
      return [
        fragment(whole, 0, whole.subarray(20, 20 + 1003), true),
        fragment(whole, 1000, whole.subarray(1020), false),
      ];
    }),
    departure: () =>
      kernelAlone(
        "the kernel cuts such a fragment to a multiple of 8, Tapir drops it",
        expect.stringMatching(/^2: server gets .* len=1020 /),
        expect.stringMatching(/^2: server gets .* len=1028 /),
        expect.stringMatching(/^2: flow udp /),
      ),
  },
  fromClient("one without data", (hosts) => {
    const whole = datagram(hosts, 2000);
    const [first, last] = fragmentsOf(whole, [FULL]);
    return [fragment(whole, FULL, new Uint8Array(0), true), first, last];
  }),
  fromClient("past 65535 bytes", (hosts) => {
    const whole = datagram(hosts, 2000);
    const [first] = fragmentsOf(whole, [FULL]);
    return [first, fragment(whole, 65_512, pattern(100), false)];
  }),
  fromClient("a datagram with a wrong checksum", (hosts) => {
    const [first, last] = fragmentsOf(datagram(hosts, 2000), [FULL]);
    return [first, withBytes(last, last.length - 1, last[last.length - 1] ^ 0x55)];
  }),
  fromClient("a datagram with TTL 1", (hosts) => fragmentsOf(datagram(hosts, 2000, { ttl: 1 }), [FULL])),
  fromClient("fragments with different TTLs", (hosts) => {
    const [first, last] = fragmentsOf(datagram(hosts, 2000), [FULL]);
    return [first, withHeaderChecksum(withBytes(last, 8, 9))];
  }),
  fromClient("a TOS byte", (hosts) => fragmentsOf(datagram(hosts, 2000, { tos: 0xb8 }), [FULL])),
  fromClient("ECN marks that differ: CE on one of two that are capable", (hosts) => {
    const [first, last] = fragmentsOf(datagram(hosts, 2000, { tos: 2 }), [FULL]);
    return [first, withHeaderChecksum(withBytes(last, 1, 3))];
  }),
  fromClient("ECN marks that differ: CE on one, none on the other", (hosts) => {
    const [first, last] = fragmentsOf(datagram(hosts, 2000, { tos: 3 }), [FULL]);
    return [first, withHeaderChecksum(withBytes(last, 1, 0))];
  }),
  fromClient("a TCP header in two fragments", (hosts) =>
    fragmentsOf(
      tcp({ source: hosts.c1, destination: hosts.server, id: uniqueId(), fragment: 0 }, 40000, 80, { flags: "S" }),
      [8, 16],
    ),
  ),
  fromClient("ESP", (hosts) =>
    fragmentsOf(ipv4({ source: hosts.c1, destination: hosts.server, id: uniqueId(), fragment: 0 }, 50, pattern(2000)), [
      FULL,
    ]),
  ),
  fromClient("for the other container, over the gateway", (hosts) =>
    fragmentsOf(datagram({ ...hosts, server: hosts.c2 }, 2000), [FULL]),
  ),
  {
    name: "answers in order, in reverse, and without their first part",
    steps: (hosts) => [
      udpOut(hosts),
      ...fragmentsBack(hosts, 2000, [FULL], [0, 1]),
      ...fragmentsBack(hosts, 4000, [FULL, 2 * FULL], [2, 1, 0]),
      ...fragmentsBack(hosts, 2000, [FULL], [1]),
      udpBack(hosts),
    ],
  },
  {
    name: "two containers with the same identifier, their fragments mixed",
    steps: (hosts) => {
      const mine = fragmentsOf(datagram(hosts, 2000, { id: 700 }), [FULL]);
      const other = fragmentsOf(datagram({ ...hosts, c1: hosts.c2 }, 2000, { id: 700 }), [FULL]);
      return [
        step("c1", mine[0], ""),
        step("c2", other[0], ""),
        step("c1", mine[1], "server server"),
        step("c2", other[1], "server server"),
      ];
    },
    departure: leaving(
      "both leave with the same identifier in the kernel, each with one of its own in Tapir",
      4,
      ["len=1500 id=d1 ", "len=548 id=d1 "],
      ["len=1500 id=d2 ", "len=548 id=d2 "],
    ),
  },
  { name: "a long echo to the server", steps: (hosts) => echoParts(hosts, hosts.server, 4000, [FULL, 2 * FULL]) },
  { name: "a long echo to the gateway", steps: (hosts) => echoParts(hosts, GATEWAY, 4000, [FULL, 2 * FULL]) },
  { name: "a long echo to the uplink", steps: (hosts) => echoParts(hosts, UPLINK, 2000, [FULL]) },
  {
    name: "a long echo to the gateway in small parts",
    steps: (hosts) => echoParts(hosts, GATEWAY, 400, [96, 200, 304]),
  },
  {
    name: "a datagram to a closed port of the gateway",
    steps: (hosts) =>
      fragmentsOf(datagram({ ...hosts, server: GATEWAY }, 2000), [FULL]).map((packet) => step("c1", packet)),
  },
  {
    name: "a long reply to an echo",
    steps: (hosts) => [
      step("c1", echoRequest({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 77), "server"),
      ...fragmentsOf(
        echoReply({ source: hosts.server, destination: UPLINK, id: uniqueId(), fragment: 0 }, 77, 1, pattern(2000)),
        [FULL],
      ).map((packet) => step("server", packet)),
    ],
  },
  {
    name: "an ICMP error in fragments",
    steps: (hosts) => [
      udpOut(hosts),
      ...[0, 1].map((index) =>
        free(
          step("server", (seen) => {
            const quote = Uint8Array.of(...seen.packet("server"), ...new Uint8Array(97));
            const fields = { source: hosts.server, destination: UPLINK, id: 800, fragment: 0 };
            return fragmentsOf(icmp(fields, 3, 3, 0, quote), [80])[index];
          }),
        ),
      ),
    ],
  },
]);
