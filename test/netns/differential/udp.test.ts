/** UDP through the kernel and through Tapir. */

import { expect } from "vitest";
import { UPLINK } from "../../support/differential/hosts.ts";
import { differential } from "../../support/differential/suite.ts";
import {
  free,
  pattern,
  step,
  text,
  truncated,
  udpBack,
  udpOut,
  uniqueId,
  withBytes,
} from "../../support/differential/talk.ts";
import { checksum, concat, echoRequest, ipv4, pseudo, u16, udp } from "../../support/frames.ts";

differential("UDP as the kernel does it", {}, [
  { name: "a question and its answer", steps: (hosts) => [udpOut(hosts), udpBack(hosts), udpOut(hosts)] },
  {
    name: "many questions without an answer stay unreplied",
    steps: (hosts) => [udpOut(hosts), udpOut(hosts), udpOut(hosts)],
  },
  {
    name: "an answer from another port belongs to no flow",
    steps: (hosts) => [udpOut(hosts), udpBack(hosts, 54, {}, "server"), udpBack(hosts)],
  },
  {
    name: "an answer from another address belongs to no flow",
    steps: (hosts) => [
      udpOut(hosts),
      step(
        "third",
        (seen) =>
          udp({ source: hosts.third, destination: UPLINK, id: uniqueId() }, 53, seen.port("server"), text("no")),
        "third",
      ),
      udpBack(hosts),
    ],
  },
  {
    name: "the same port of two containers towards one server",
    steps: (hosts) => [
      udpOut(hosts),
      step("c2", udp({ source: hosts.c2, destination: hosts.server, id: uniqueId() }, 4000, 53, text("two")), "server"),
      udpBack(hosts, 53, {}, "c2"),
      udpOut(hosts),
      udpBack(hosts),
    ],
  },
  {
    name: "the same port of two containers towards two ports of a server",
    steps: (hosts) => [
      udpOut(hosts),
      step("c2", udp({ source: hosts.c2, destination: hosts.server, id: uniqueId() }, 4000, 54, text("two")), "server"),
      udpBack(hosts, 54, {}, "c2"),
    ],
  },
  {
    name: "one source port towards two servers",
    steps: (hosts) => [
      udpOut(hosts),
      step("c1", udp({ source: hosts.c1, destination: hosts.third, id: uniqueId() }, 4000, 53, text("ask")), "third"),
      udpBack(hosts),
    ],
  },
  {
    name: "a moved port is used towards other servers too",
    steps: (hosts) => [
      udpOut(hosts),
      step("c2", udp({ source: hosts.c2, destination: hosts.server, id: uniqueId() }, 4000, 53, text("two")), "server"),
      step("c2", udp({ source: hosts.c2, destination: hosts.third, id: uniqueId() }, 4000, 53, text("two")), "third"),
    ],
  },
  {
    name: "a low source port keeps its class",
    steps: (hosts) => [
      udpOut(hosts, 600),
      udpBack(hosts),
      udpOut(hosts, 1),
      udpBack(hosts),
      udpOut(hosts, 65535),
      udpBack(hosts),
    ],
  },
  { name: "source port 0", steps: (hosts) => [free(udpOut(hosts, 0))] },
  { name: "destination port 0", steps: (hosts) => [free(udpOut(hosts, 4000, 0))] },
  {
    name: "a checksum of zero stays zero",
    steps: (hosts) => [
      step(
        "c1",
        withoutSum(udp({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 4000, 53, text("ask"))),
        "server",
      ),
      step(
        "server",
        (seen) =>
          withoutSum(
            udp({ source: hosts.server, destination: UPLINK, id: uniqueId() }, 53, seen.port("server"), text("yes")),
          ),
        "c1",
      ),
    ],
  },
  {
    name: "a wrong checksum opens no flow",
    steps: (hosts) => [
      step(
        "c1",
        spoiled(udp({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 4000, 53, text("ask"))),
        "",
      ),
    ],
  },
  {
    name: "a wrong checksum belongs to no flow",
    steps: (hosts) => [
      udpOut(hosts),
      step(
        "server",
        (seen) =>
          spoiled(
            udp({ source: hosts.server, destination: UPLINK, id: uniqueId() }, 53, seen.port("server"), text("bad")),
          ),
        "",
      ),
    ],
  },
  {
    name: "a datagram that says it is longer than its packet",
    steps: (hosts) => [step("c1", withBytes(ask(hosts.c1, hosts.server), 24, 0, 12), "")],
  },
  {
    name: "a datagram that says it is shorter than its packet",
    steps: (hosts) => [
      step("c1", withBytes(withoutSum(ask(hosts.c1, hosts.server)), 24, 0, 10)),
      step("c1", withBytes(ask(hosts.c1, hosts.server), 24, 0, 7)),
    ],
  },
  {
    name: "a packet cut short in the UDP header",
    steps: (hosts) => [
      step("c1", truncated(udp({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 4000, 53), 24), ""),
    ],
  },
  {
    name: "bytes behind the packet do not go on",
    steps: (hosts) => [step("c1", Uint8Array.of(...ask(hosts.c1, hosts.server), ...pattern(15)), "server")],
  },
  {
    name: "a datagram shorter than its packet: the checksum over the packet's data and over the datagram",
    steps: (hosts) => [
      step("c1", shorter(hosts.c1, hosts.server, 4000, 31), "server"),
      step("c1", shorter(hosts.c1, hosts.server, 4001, 12), ""),
    ],
    departure: () => ({
      reason:
        "what the checksum covers is what the datagram says (RFC 768) in Tapir, all that IP carries in the kernel",
      kernel: [expect.stringMatching(/^1: server gets /), expect.stringMatching(/^1: flow udp /)],
      tapir: [expect.stringMatching(/^2: server gets /), expect.stringMatching(/^2: flow udp /)],
    }),
  },
  { name: "an empty datagram", steps: (hosts) => [udpOut(hosts, 4000, 53, {}, new Uint8Array(0)), udpBack(hosts)] },
  { name: "a full packet", steps: (hosts) => [udpOut(hosts, 4000, 53, {}, pattern(1472)), udpBack(hosts)] },
  {
    name: "to a closed port of the gateway, of the uplink from inside, and of the uplink from outside",
    steps: (hosts) => [
      step("c1", ask(hosts.c1, "10.55.66.1"), "c1"),
      step("c1", ask(hosts.c1, UPLINK), "c1"),
      step("third", ask(hosts.third, UPLINK), "third"),
    ],
  },
  {
    name: "unasked from outside to a container's own address",
    steps: (hosts) => [step("server", ask(hosts.server, hosts.c1), "")],
  },
  {
    name: "a ping and a datagram with the same number are two flows",
    steps: (hosts) => [
      udpOut(hosts, 77, 77),
      step("c1", echoRequest({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 77), "server"),
    ],
  },
]);

function ask(source: string, destination: string): Uint8Array {
  return udp({ source, destination, id: uniqueId() }, 4000, 53, text("ask"));
}

/** 31 bytes of UDP that say they are 12, with a checksum over the first `covered`. */
function shorter(source: string, destination: string, port: number, covered: number): Uint8Array {
  const datagram = concat(u16(port), u16(53), u16(12), u16(0), pattern(23));
  const sum = checksum(concat(pseudo(source, destination, 17, covered), datagram.subarray(0, covered)));
  return ipv4({ source, destination, id: uniqueId() }, 17, withBytes(datagram, 6, ...u16(sum)));
}

function withoutSum(packet: Uint8Array): Uint8Array {
  return withBytes(packet, 26, 0, 0);
}

function spoiled(packet: Uint8Array): Uint8Array {
  return withBytes(packet, packet.length - 1, packet[packet.length - 1] ^ 0x55);
}
