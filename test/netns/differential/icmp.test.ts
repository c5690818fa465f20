/** ICMP queries through the kernel and through Tapir. */

import { expect } from "vitest";
import { GATEWAY, type Hosts, UPLINK } from "../../support/differential/hosts.ts";
import { differential } from "../../support/differential/suite.ts";
import {
  free,
  pattern,
  pingBack,
  pingOut,
  type Step,
  step,
  truncated,
  uniqueId,
  withBytes,
  withHeaderChecksum,
} from "../../support/differential/talk.ts";
import { echoReply, echoRequest, type Ipv4Fields, icmp } from "../../support/frames.ts";

const TYPES = Array.from({ length: 20 }, (_, type) => type).concat(30, 40, 42, 255);
/** Those that the router itself answers. */
const ANSWERED = [8, 13];

/** Any ICMP message from c1 to somebody. */
function message({ c1 }: Hosts, destination: string, type: number, code = 0, rest = 0x004d0001): Step {
  return step("c1", icmp({ source: c1, destination, id: uniqueId() }, type, code, rest, pattern(32)));
}

function toRouter(type: number, one: Step): Step[] {
  return ANSWERED.includes(type) ? [] : [one];
}

/** Any ICMP message from the server to the uplink. */
function answer({ server }: Hosts, type: number, code = 0): Step {
  const fields = { source: server, destination: UPLINK, id: uniqueId() };
  return step("server", (seen) => icmp(fields, type, code, (seen.port("server") << 16) | 1, pattern(32)));
}

differential("ICMP as the kernel does it", {}, [
  {
    name: "echo and its replies",
    steps: (hosts) => [pingOut(hosts), pingBack(hosts), pingOut(hosts, 77, 2), pingBack(hosts, 2)],
  },
  {
    name: "several replies to one echo",
    steps: (hosts) => [pingOut(hosts), pingBack(hosts), pingBack(hosts), pingBack(hosts, 9)],
  },
  {
    name: "a reply with an identifier that nobody used",
    steps: (hosts) => [
      pingOut(hosts),
      step("server", echoReply({ source: hosts.server, destination: UPLINK, id: uniqueId() }, 78), ""),
      step("third", echoReply({ source: hosts.third, destination: UPLINK, id: uniqueId() }, 77), ""),
      pingBack(hosts),
    ],
  },
  {
    name: "the same identifier of two containers towards one server",
    steps: (hosts) => [
      pingOut(hosts),
      step("c2", echoRequest({ source: hosts.c2, destination: hosts.server, id: uniqueId() }, 77), "server"),
      { ...pingBack(hosts), reaches: "c2" },
      pingOut(hosts),
      pingBack(hosts),
    ],
  },
  { name: "identifier 0", steps: (hosts) => [pingOut(hosts, 0), pingBack(hosts)] },
  {
    name: "an echo with another code",
    steps: (hosts) => [message(hosts, hosts.server, 8, 5), answer(hosts, 0, 5), answer(hosts, 0, 0)],
  },
  {
    name: "timestamp, information and address mask with their replies",
    steps: (hosts) => [
      message(hosts, hosts.server, 13),
      answer(hosts, 14),
      message(hosts, hosts.server, 15),
      answer(hosts, 16),
      message(hosts, hosts.server, 17),
      answer(hosts, 18),
    ],
  },
  {
    name: "the reply of another kind of query",
    steps: (hosts) => [message(hosts, hosts.server, 13), answer(hosts, 0), answer(hosts, 18)],
  },
  ...TYPES.map((type) => ({
    name: `type ${type} from inside, to the server and to the gateway`,
    steps: (hosts: Hosts) => [message(hosts, hosts.server, type), ...toRouter(type, message(hosts, GATEWAY, type))],
  })),
  ...TYPES.filter((type) => !ANSWERED.includes(type)).map((type) => ({
    name: `type ${type} unasked from outside`,
    steps: (hosts: Hosts) => [
      step(
        "server",
        icmp({ source: hosts.server, destination: UPLINK, id: uniqueId() }, type, 0, 0x004d0001, pattern(32)),
      ),
      step(
        "server",
        icmp({ source: hosts.server, destination: hosts.c1, id: uniqueId() }, type, 0, 0x004d0001, pattern(32)),
      ),
    ],
  })),
  {
    name: "echo to the gateway, to the uplink from inside and from outside",
    steps: (hosts) => [
      step("c1", echo(hosts.c1, GATEWAY), "c1"),
      step("c1", echo(hosts.c1, UPLINK), "c1"),
      step("server", echo(hosts.server, UPLINK), "server"),
      step("third", echo(hosts.third, UPLINK), "third"),
      step("server", echo(hosts.server, GATEWAY), "server"),
    ],
  },
  {
    name: "echo to the gateway with TTL 1, a TOS, and 1472 bytes",
    steps: (hosts) => [
      step("c1", echo(hosts.c1, GATEWAY, { ttl: 1 }), "c1"),
      step("c1", echo(hosts.c1, GATEWAY, { tos: 0x48 }), "c1"),
      step("c1", echo(hosts.c1, GATEWAY, {}, pattern(1472)), "c1"),
      step("c1", echo(hosts.c1, GATEWAY, {}, pattern(7)), "c1"),
    ],
  },
  {
    name: "echo to the gateway with DF set",
    steps: (hosts) => [step("c1", echo(hosts.c1, GATEWAY, { fragment: 0x4000 }), "c1")],
  },
  {
    name: "a timestamp request to the gateway",
    steps: (hosts) => [message(hosts, GATEWAY, 13)],
    departure: ({ c1 }) => {
      const flow = (counts: string, unreplied: string, back: string) =>
        `1: flow icmp 1 30s src=${c1} dst=10.55.66.1 type=13 code=0 id=77 ${counts}${unreplied} src=10.55.66.1 dst=${c1} type=14 code=0 id=77 ${back}`;
      return {
        reason: "Tapir does not answer timestamp requests (RFC 1812 4.3.3.8 leaves it open)",
        kernel: [
          expect.stringMatching(/^1: c1 gets .* icmp 14\/0 id=77 seq=1 /),
          flow("packets=1 bytes=60", "", "packets=1 bytes=40"),
        ],
        tapir: [flow("packets=1 bytes=60", " [UNREPLIED]", "packets=0 bytes=0")],
      };
    },
  },
  {
    name: "an unasked reply to the gateway",
    steps: (hosts) => [step("c1", echoReply({ source: hosts.c1, destination: GATEWAY, id: uniqueId() }, 77), "")],
  },
  {
    name: "a wrong checksum",
    steps: (hosts) => [
      step("c1", spoiled(echoRequest({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 77)), ""),
      step("c1", spoiled(echoRequest({ source: hosts.c1, destination: GATEWAY, id: uniqueId() }, 77)), ""),
      pingOut(hosts),
      step(
        "server",
        (seen) =>
          spoiled(echoReply({ source: hosts.server, destination: UPLINK, id: uniqueId() }, seen.port("server"))),
        "",
      ),
    ],
  },
  {
    name: "a message cut short in its header",
    steps: (hosts) => [
      step("c1", truncated(echoRequest({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 77), 26), ""),
      step("c1", shortEcho(hosts.c1, hosts.server), ""),
    ],
  },
  {
    name: "an echo without data",
    steps: (hosts) => [
      step(
        "c1",
        echoRequest({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 77, 1, new Uint8Array(0)),
        "server",
      ),
      pingBack(hosts),
    ],
  },
  {
    name: "an echo of an odd length",
    steps: (hosts) => [free(step("c1", echo(hosts.c1, hosts.server, {}, pattern(7)))), pingBack(hosts)],
  },
]);

/** With DF clear. */
function echo(
  source: string,
  destination: string,
  more: Partial<Ipv4Fields> = {},
  data: Uint8Array = new Uint8Array(8),
): Uint8Array {
  return echoRequest({ source, destination, id: uniqueId(), fragment: 0, ...more }, 77, 1, data);
}

function spoiled(packet: Uint8Array): Uint8Array {
  return withBytes(packet, packet.length - 1, packet[packet.length - 1] ^ 0x55);
}

/** A packet of 24 bytes in all, with a right IPv4 header. */
function shortEcho(source: string, destination: string): Uint8Array {
  const whole = echoRequest({ source, destination, id: uniqueId() }, 77);
  return withHeaderChecksum(withBytes(whole.slice(0, 24), 2, 0, 24));
}
