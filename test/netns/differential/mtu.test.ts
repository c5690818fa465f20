/** Packets that do not fit the next link, through the kernel and through Tapir. */
import { expect } from "vitest";
import { type Hosts, UPLINK } from "../../support/differential/hosts.ts";
import { differential, type Scenario } from "../../support/differential/suite.ts";
import {
  errorAboutSeen,
  fragmentsOf,
  free,
  pattern,
  type Step,
  step,
  TcpTalk,
  udpBack,
  udpOut,
  uniqueId,
} from "../../support/differential/talk.ts";
import { echoRequest, type Ipv4Fields, icmp, udp } from "../../support/frames.ts";

/** A datagram from c1 that makes an IPv4 packet of so many bytes. */
function sized(hosts: Hosts, total: number, more: Partial<Ipv4Fields> = {}): Step {
  const fields = { source: hosts.c1, destination: hosts.server, id: uniqueId(), ...more };
  const options = more.options?.length ?? 0;
  return step("c1", udp(fields, 4000, 53, pattern(total - 28 - options)));
}

/** The same from the server, to the port that it saw. */
function sizedBack(hosts: Hosts, total: number, more: Partial<Ipv4Fields> = {}): Step {
  const fields = { source: hosts.server, destination: UPLINK, id: uniqueId(), ...more };
  return step("server", (seen) => udp(fields, 53, seen.port("server"), pattern(total - 28)));
}

const DF_CLEAR = { fragment: 0 };
const SIZES = "the kernel sends fragments as they came; Tapir cuts anew, none longer than the longest that came";

const OUTWARDS: Scenario[] = [1399, 1400, 1401, 1408, 1500].map((total) => ({
  name: `${total} bytes out, DF set and clear`,
  steps: (hosts) => [sized(hosts, total), sized(hosts, total, DF_CLEAR), udpOut(hosts)],
}));

const INWARDS: Scenario[] = [1299, 1300, 1301, 1308, 1400].map((total) => ({
  name: `${total} bytes in, DF set and clear`,
  steps: (hosts) => [udpOut(hosts), sizedBack(hosts, total), sizedBack(hosts, total, DF_CLEAR), udpBack(hosts)],
}));

differential("A narrow uplink as the kernel serves it", { uplinkMtu: 1400 }, [
  ...OUTWARDS,
  {
    name: "a TCP segment with DF in an open connection",
    steps: (hosts) => {
      const talk = new TcpTalk(hosts);
      return [
        ...talk.handshake(),
        free(talk.client("PA", { payload: pattern(1460), sequence: talk.clientNext })),
        free(talk.client("PA", { payload: pattern(1360) })),
      ];
    },
  },
  {
    name: "a TCP segment without DF",
    steps: (hosts) => {
      const talk = new TcpTalk(hosts);
      return [...talk.handshake(), free(talk.client("PA", { payload: pattern(1460), ip: DF_CLEAR }))];
    },
  },
  {
    name: "an echo without DF",
    steps: (hosts) => [
      step(
        "c1",
        echoRequest({ source: hosts.c1, destination: hosts.server, id: uniqueId(), ...DF_CLEAR }, 77, 1, pattern(1472)),
      ),
    ],
  },
  {
    name: "fragments that do not fit, with DF clear and set",
    steps: (hosts) =>
      [0, 0x4000].flatMap((flags) => {
        const fields = { source: hosts.c1, destination: hosts.server, id: uniqueId(), fragment: 0 };
        return fragmentsOf(udp(fields, 4000, 53, pattern(3000)), [1480, 2960], flags).map((packet) =>
          step("c1", packet),
        );
      }),
  },
  {
    name: "fragments that fit, with DF clear and set",
    steps: (hosts) =>
      [0, 0x4000].flatMap((flags) => {
        const fields = { source: hosts.c1, destination: hosts.server, id: uniqueId(), fragment: 0 };
        return fragmentsOf(udp(fields, 4000, 53, pattern(2000)), [1000], flags).map((packet) => step("c1", packet));
      }),
    departure: () => ({
      reason: `${SIZES}; DF of fragments gets lost in the kernel`,
      kernel: [
        expect.stringMatching(/^2: server gets .* len=1020 id=d1 frag=0/),
        expect.stringMatching(/^2: server gets .* len=1028 id=d1 frag=1000/),
        expect.stringMatching(/^4: server gets .* len=1020 id=d2 frag=0/),
        expect.stringMatching(/^4: server gets .* len=1028 id=d2 frag=1000/),
      ],
      tapir: [
        expect.stringMatching(/^2: server gets .* len=1028 id=d1 frag=0/),
        expect.stringMatching(/^2: server gets .* len=1020 id=d1 frag=1008/),
        expect.stringMatching(/^4: server gets .* len=1028 id=d2 DF frag=0/),
        expect.stringMatching(/^4: server gets .* len=1020 id=d2 DF frag=1008/),
      ],
    }),
  },
  {
    name: "unequal fragments that fit",
    steps: (hosts) => {
      const fields = { source: hosts.c1, destination: hosts.server, id: uniqueId(), fragment: 0 };
      return fragmentsOf(udp(fields, 4000, 53, pattern(1992)), [800]).map((packet) => step("c1", packet));
    },
    departure: () => ({
      reason: SIZES,
      kernel: [
        expect.stringMatching(/^2: server gets .* len=820 id=d1 frag=0/),
        expect.stringMatching(/^2: server gets .* len=1220 id=d1 frag=800/),
      ],
      tapir: [
        expect.stringMatching(/^2: server gets .* len=1220 id=d1 frag=0/),
        expect.stringMatching(/^2: server gets .* len=820 id=d1 frag=1200/),
      ],
    }),
  },
  {
    name: "TTL 1 and too large: time exceeded",
    steps: (hosts) => [sized(hosts, 1500, { ttl: 1 })],
  },
  {
    name: "no answer to an ICMP error that is too large",
    steps: (hosts) => [
      udpOut(hosts),
      udpBack(hosts),
      step("c1", (seen) => {
        const quote = Uint8Array.of(...seen.packet("c1"), ...pattern(1430));
        return icmp({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 3, 3, 0, quote);
      }),
    ],
  },
  {
    name: "the server's word about a narrower link reaches the container",
    steps: (hosts) => [
      udpOut(hosts, 4000, 53, {}, pattern(1300)),
      errorAboutSeen(hosts, { code: 4, rest: 1280, quoted: 548 }, "third"),
      udpOut(hosts, 4000, 53, {}, pattern(1300)),
    ],
  },
]);

differential("A narrow network as the kernel serves it", { uplinkMtu: 1400, networkMtu: 1300 }, [
  ...INWARDS,
  {
    name: "fragments in that do not fit, with DF clear and set",
    steps: (hosts) => [
      udpOut(hosts),
      ...[0, 0x4000].flatMap((flags) => {
        const id = uniqueId();
        return [0, 1, 2].map((index) =>
          free(
            step("server", (seen) => {
              const fields = { source: hosts.server, destination: UPLINK, id, fragment: 0 };
              return fragmentsOf(udp(fields, 53, seen.port("server"), pattern(3000)), [1376, 2752], flags)[index];
            }),
          ),
        );
      }),
    ],
  },
  {
    name: "a TCP segment with DF from the server",
    steps: (hosts) => {
      const talk = new TcpTalk(hosts);
      return [...talk.handshake(), free(talk.server("PA", { payload: pattern(1360) }))];
    },
  },
]);
