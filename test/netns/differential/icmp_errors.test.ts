/** ICMP errors of known and of unknown flows, from either side and from others, through the kernel and through Tapir. */

import { expect } from "vitest";
import { GATEWAY, type Hosts, UPLINK } from "../../support/differential/hosts.ts";
import { differential, type Scenario } from "../../support/differential/suite.ts";
import {
  errorAboutSeen,
  free,
  pattern,
  pingBack,
  pingOut,
  type Step,
  step,
  TcpTalk,
  text,
  udpBack,
  udpOut,
  uniqueId,
  withBytes,
  withHeaderChecksum,
} from "../../support/differential/talk.ts";
import { decodeIpv4, icmp, ipv4, tcp, udp } from "../../support/frames.ts";

const KINDS: [string, number, number, number][] = [
  ["host unreachable", 3, 1, 0],
  ["port unreachable", 3, 3, 0],
  ["fragmentation needed", 3, 4, 1400],
  ["administratively prohibited", 3, 13, 0],
  ["source quench", 4, 0, 0],
  ["redirect", 5, 1, 0x0a374203],
  ["time exceeded", 11, 0, 0],
  ["reassembly time exceeded", 11, 1, 0],
  ["parameter problem", 12, 0, 0x14000000],
  ["a code that nobody knows", 3, 200, 0],
];

/** An error from c1 about what it last received. */
function errorFromClient(hosts: Hosts, type = 3, code = 3, quoted = 28, source = hosts.c1): Step {
  const addresses = { source, destination: hosts.server, id: uniqueId() };
  return step("c1", (seen) => icmp(addresses, type, code, 0, seen.packet("c1").slice(0, quoted)));
}

const FIRST: [string, (hosts: Hosts) => Step[]][] = [
  ["UDP", (hosts) => [udpOut(hosts)]],
  ["TCP", (hosts) => [new TcpTalk(hosts).client("S")]],
  ["established TCP", (hosts) => new TcpTalk(hosts).handshake()],
  ["echo", (hosts) => [pingOut(hosts)]],
];

const ERRORS: Scenario[] = FIRST.flatMap(([kind, first]) =>
  KINDS.map(([name, type, code, rest]) => ({
    name: `${name} about ${kind}, from the server and from a third router`,
    steps: (hosts: Hosts) => [
      ...first(hosts),
      free(errorAboutSeen(hosts, { type, code, rest })),
      free(errorAboutSeen(hosts, { type, code, rest, quoted: 576 }, "third")),
    ],
  })),
);

/** The second container takes a port that the first has: the quoted packet's port must be restored too. */
function movedPort(hosts: Hosts): Step[] {
  const second = udp({ source: hosts.c2, destination: hosts.server, id: uniqueId() }, 4000, 53, text("two"));
  return [udpOut(hosts), step("c2", second, "server")];
}

const about = (name: string, fields: Parameters<typeof errorAboutSeen>[1]): Scenario => ({
  name,
  steps: (hosts) => [udpOut(hosts), free(errorAboutSeen(hosts, fields)), udpBack(hosts)],
});

differential("ICMP errors as the kernel does them", {}, [
  ...ERRORS,
  {
    name: "about a flow that was given another port",
    steps: (hosts) => [
      ...movedPort(hosts),
      errorAboutSeen(hosts, {}, "server", "c2"),
      errorAboutSeen(hosts, { quoted: 576, type: 11, code: 0 }, "third", "c2"),
    ],
  },
  {
    name: "about an echo that was given another identifier",
    steps: (hosts) => [
      pingOut(hosts),
      step("c2", pingOut({ ...hosts, c1: hosts.c2 }).packet as Uint8Array, "server"),
      errorAboutSeen(hosts, { quoted: 576 }, "server", "c2"),
    ],
  },
  {
    name: "from inside about an answer",
    steps: (hosts) => [
      udpOut(hosts),
      udpBack(hosts),
      errorFromClient(hosts),
      errorFromClient(hosts, 3, 3, 576),
      udpBack(hosts),
    ],
  },
  {
    name: "from inside about an answer, from an address that is no part of the flow",
    steps: (hosts) => [udpOut(hosts), udpBack(hosts), errorFromClient(hosts, 11, 0, 28, hosts.c2)],
  },
  {
    name: "from inside about a TCP segment and about an echo reply",
    steps: (hosts) => [
      ...new TcpTalk(hosts).handshake(),
      errorFromClient(hosts),
      pingOut(hosts),
      pingBack(hosts),
      errorFromClient(hosts, 3, 2),
    ],
  },
  {
    name: "about a flow that nobody has",
    steps: (hosts) => [
      udpOut(hosts),
      free(errorAboutSeen(hosts, { change: (quote) => withBytes(quote, 20, 0x12, 0x34) })),
      free(errorAboutSeen(hosts, { change: (quote) => withHeaderChecksum(withBytes(quote, 16, 198, 51, 100, 250)) })),
    ],
  },
  {
    name: "quoting a packet that did not come from the outer destination",
    steps: (hosts) => [
      udpOut(hosts),
      free(errorAboutSeen(hosts, { destination: hosts.c1 })),
      free(errorAboutSeen(hosts, { change: (quote) => withHeaderChecksum(withBytes(quote, 12, 10, 55, 66, 250)) })),
    ],
  },
  about("quoting 20 bytes", { quoted: 20 }),
  about("quoting 24 bytes", { quoted: 24 }),
  about("quoting 27 bytes", { quoted: 27 }),
  about("quoting nothing", { quoted: 0 }),
  about("quoting 12 bytes", { quoted: 12 }),
  about("quoting a header of 16 bytes", { change: (quote) => withBytes(quote, 0, 0x44) }),
  about("quoting a header longer than the quote", { change: (quote) => withBytes(quote, 0, 0x4f) }),
  {
    ...about("quoting a header of version 6", { change: (quote) => withBytes(quote, 0, 0x65) }),
    departure: () => ({
      reason: "the kernel does not look at the quoted version; Tapir drops what is no IPv4 packet",
      kernel: [expect.stringMatching(/^2: c1 gets .* icmp 3\/3 rest=00000000 quotes 28 \[unreadable/)],
      tapir: [],
    }),
  },
  {
    ...about("quoting a wrong IPv4 checksum", { change: (quote) => withBytes(quote, 10, 0x12, 0x34) }),
    departure: ({ c1, server }) => ({
      reason: "the kernel does not look at the quoted checksum; Tapir drops the error (RFC 5508 REQ-3)",
      kernel: [expect.stringContaining(`icmp 3/3 rest=00000000 quotes 28 [${c1}>${server} ttl=63`)],
      tapir: [],
    }),
  },
  about("quoting a header with TTL 0", { change: (quote) => withHeaderChecksum(withBytes(quote, 8, 0)) }),
  about("quoting a wrong UDP checksum", { quoted: 576, change: (quote) => withBytes(quote, 26, 0x12, 0x34) }),
  about("quoting a UDP checksum of zero", { quoted: 576, change: (quote) => withBytes(quote, 26, 0, 0) }),
  about("quoting a later fragment", { change: (quote) => withHeaderChecksum(withBytes(quote, 6, 0x00, 0x08)) }),
  about("quoting a first fragment", { change: (quote) => withHeaderChecksum(withBytes(quote, 6, 0x20, 0x00)) }),
  about("quoting more than the packet had", { quoted: 31, change: (quote) => Uint8Array.of(...quote, ...pattern(40)) }),
  about("with an extension behind the quote (RFC 4884)", {
    quoted: 31,
    rest: 0x00200000,
    change: (quote) => Uint8Array.of(...quote, ...new Uint8Array(97), 0x20, 0, 0, 0, 0, 8, 1, 1, 0, 0, 1, 1),
  }),
  {
    name: "quoting a packet with options",
    steps: (hosts) => [
      udpOut(hosts, 4000, 53, { options: Uint8Array.of(1, 1, 1, 0) }),
      free(errorAboutSeen(hosts, { quoted: 32 })),
      free(errorAboutSeen(hosts, { quoted: 28 })),
    ],
  },
  {
    name: "quoting ESP, IP in IP and protocols that nobody knows",
    steps: (hosts) =>
      [50, 4, 200].flatMap((protocol) => [
        step(
          "c1",
          ipv4({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, protocol, pattern(24)),
          "server",
        ),
        free(errorAboutSeen(hosts, { quoted: 48 })),
      ]),
  },
  {
    name: "about an error",
    steps: (hosts) => [
      udpOut(hosts),
      udpBack(hosts),
      errorFromClient(hosts),
      free(errorAboutSeen(hosts, { quoted: 576 })),
    ],
  },
  {
    name: "with a wrong checksum",
    steps: (hosts) => [
      udpOut(hosts),
      step(
        "server",
        (seen) =>
          withBytes(
            icmp(
              { source: hosts.server, destination: UPLINK, id: uniqueId() },
              3,
              3,
              0,
              seen.packet("server").slice(0, 28),
            ),
            22,
            0x12,
            0x34,
          ),
        "",
      ),
    ],
  },
  {
    name: "from inside about a packet that the client made up",
    steps: (hosts) => [
      step(
        "c1",
        icmp({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 3, 3, 0, madeUp(hosts.server, hosts.c1)),
      ),
      step("c1", icmp({ source: hosts.c1, destination: GATEWAY, id: uniqueId() }, 3, 3, 0, madeUp(GATEWAY, hosts.c1))),
    ],
  },
  {
    name: "about the router's own answers",
    steps: (hosts) => [
      step("c1", udp({ source: hosts.c1, destination: GATEWAY, id: uniqueId() }, 4000, 53, text("ask")), "c1"),
      errorToGateway(hosts),
      step("c1", tcp({ source: hosts.c1, destination: GATEWAY, id: uniqueId() }, 4000, 53, { flags: "U" })),
    ],
  },
  {
    name: "a packet quoted after its flow has been answered",
    steps: (hosts) => [udpOut(hosts), udpBack(hosts), errorAboutSeen(hosts), udpOut(hosts), udpBack(hosts)],
  },
]);

function madeUp(source: string, destination: string): Uint8Array {
  return udp({ source, destination, id: uniqueId() }, 53, 4000, text("never sent")).slice(0, 28);
}

function errorToGateway(hosts: Hosts): Step {
  const addresses = { source: hosts.c1, destination: GATEWAY, id: uniqueId() };
  return step("c1", (seen) => {
    const received = seen.packet("c1");
    if (decodeIpv4(received).protocol !== 1) throw new Error("no ICMP error came back");
    return icmp(addresses, 3, 3, 0, received.slice(0, 56));
  });
}
