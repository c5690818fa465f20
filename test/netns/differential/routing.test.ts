/** What a router checks and changes on the way, and what it keeps to its segment, through the kernel and through Tapir. */
import { expect } from "vitest";
import { GATEWAY, type HostName, type Hosts, Mac, UPLINK } from "../../support/differential/hosts.ts";
import { differential, kernelAlone, type Scenario } from "../../support/differential/suite.ts";
import {
  errorAboutSeen,
  free,
  pattern,
  pingOut,
  type Step,
  step,
  TcpTalk,
  text,
  truncated,
  udpBack,
  udpOut,
  uniqueId,
  withBytes,
  withHeaderChecksum,
} from "../../support/differential/talk.ts";
import { concat, echoRequest, type Ipv4Fields, udp } from "../../support/frames.ts";

function ask(source: string, destination: string, more: Partial<Ipv4Fields> = {}): Uint8Array {
  return udp({ source, destination, id: uniqueId(), ...more }, 4000, 53, text("ask"));
}

function echo(source: string, destination: string): Uint8Array {
  return echoRequest({ source, destination, id: uniqueId(), fragment: 0 }, 77);
}

const sends = (name: string, from: HostName, build: (hosts: Hosts) => Uint8Array, reaches?: string): Scenario => ({
  name,
  steps: (hosts) => [step(from, build(hosts), reaches)],
});

/** A question from c1 whose IPv4 header is changed. */
const header = (name: string, change: (packet: Uint8Array) => Uint8Array, reaches?: string): Scenario =>
  sends(name, "c1", ({ c1, server }) => change(ask(c1, server)), reaches);

/** Few errors to one address each: both worlds limit their rate. */
const TTL: Scenario[] = [0, 1, 2, 255].flatMap((ttl) => [
  {
    name: `TTL ${ttl} out and back`,
    steps: (hosts) => [
      free(step("c1", ask(hosts.c1, hosts.server, { ttl }))),
      udpOut(hosts),
      free(udpBack(hosts, 53, { ttl })),
    ],
  },
  {
    name: `TTL ${ttl} to the gateway, in an echo and in a SYN`,
    steps: (hosts) => [
      free(step("c1", ask(hosts.c1, GATEWAY, { ttl }))),
      free(pingOut(hosts, 77, 1, { ttl })),
      free(new TcpTalk(hosts).client("S", { ip: { ttl } })),
    ],
  },
]);

/** What a router behind this one, and in the end the server, answer to a probe. */
function probed(hosts: Hosts, ttl: number): Step[] {
  const isLast = ttl === 3;
  return [
    step(
      "c1",
      udp({ source: hosts.c1, destination: hosts.server, id: uniqueId(), ttl }, 40_000, 33_434 + ttl),
      "server",
    ),
    isLast
      ? errorAboutSeen(hosts)
      : errorAboutSeen(
          hosts,
          { type: 11, code: 0, change: (quote) => withHeaderChecksum(withBytes(quote, 8, 1)) },
          "third",
        ),
  ];
}

/** A link-layer destination that is not the router's. */
const linked = (
  name: string,
  from: HostName,
  mac: string,
  build: (hosts: Hosts) => Uint8Array,
  reaches?: string,
): Scenario => ({
  name,
  steps: (hosts) => [step(from, build(hosts), reaches, { destinationMac: mac })],
});

/** A broadcast that nobody answers. */
const flowless = (scenario: Scenario): Scenario => ({
  ...scenario,
  departure: () =>
    kernelAlone(
      "Tapir drops broadcasts before they can open a flow; in the kernel the host in the router takes them",
      expect.stringContaining(" [UNREPLIED] "),
    ),
});

differential("Routing as the kernel does it", {}, [
  ...TTL,
  {
    name: "TTL 1 and a wrong checksum",
    steps: ({ c1, server }) => {
      const packet = ask(c1, server, { ttl: 1 });
      return [step("c1", withBytes(packet, packet.length - 1, 0x12), "c1")];
    },
    departure: () =>
      kernelAlone(
        "Tapir drops what is invalid before it looks at the TTL, the kernel after",
        expect.stringMatching(/^1: c1 gets .* icmp 11\/0 /),
      ),
  },
  {
    name: "an error about a packet with a TOS has its TOS",
    steps: ({ c1, server }) => [
      step("c1", ask(c1, server, { ttl: 1, tos: 0x10 }), "c1"),
      step("c1", ask(c1, GATEWAY, { tos: 0xb9 }), "c1"),
    ],
  },
  {
    name: "a traceroute",
    steps: (hosts) => [
      step("c1", udp({ source: hosts.c1, destination: hosts.server, id: uniqueId(), ttl: 1 }, 40_000, 33_435), "c1"),
      ...probed(hosts, 2),
      ...probed(hosts, 3),
    ],
  },
  sends("from one container over the router to the other", "c1", ({ c1, c2 }) => ask(c1, c2)),
  sends("from outside through the router to outside", "server", ({ server, third }) => ask(server, third)),
  header("version 5", (packet) => withHeaderChecksum(withBytes(packet, 0, 0x55)), ""),
  header("a header of 16 bytes", (packet) => withHeaderChecksum(withBytes(packet, 0, 0x44)), ""),
  header("a header longer than the packet", (packet) => withBytes(packet, 0, 0x4f), ""),
  header("a wrong header checksum", (packet) => withBytes(packet, 10, 0x12, 0x34), ""),
  header("a total length longer than the frame", (packet) => withHeaderChecksum(withBytes(packet, 2, 0, 200)), ""),
  header("a total length shorter than the header", (packet) => withHeaderChecksum(withBytes(packet, 2, 0, 19)), ""),
  header("a frame of 10 bytes", (packet) => truncated(packet, 10), ""),
  header("the reserved flag", (packet) => withHeaderChecksum(withBytes(packet, 6, 0x80)), "server"),
  header("the reserved flag and DF", (packet) => withHeaderChecksum(withBytes(packet, 6, 0xc0)), "server"),
  header("a TOS byte", (packet) => withHeaderChecksum(withBytes(packet, 1, 0xb8)), "server"),
  header("IP identifier 0 without DF", (packet) => withHeaderChecksum(withBytes(packet, 4, 0, 0, 0, 0))),
  header("trailing bytes", (packet) => concat(packet, pattern(20)), "server"),
  linked("unicast in a broadcast frame", "c1", Mac.broadcast, ({ c1, server }) => ask(c1, server)),
  linked("unicast in a multicast frame", "c1", "01:00:5e:00:00:05", ({ c1, server }) => ask(c1, server)),
  {
    ...linked("an echo to the gateway in a broadcast frame", "c1", Mac.broadcast, ({ c1 }) => echo(c1, GATEWAY)),
    departure: () =>
      kernelAlone(
        "Tapir takes no unicast packet from a broadcast frame (RFC 1122 3.3.6)",
        expect.stringMatching(/^1: c1 gets .* icmp 0\/0 /),
        expect.stringMatching(/^1: flow icmp /),
      ),
  },
  flowless(sends("limited broadcast to the gateway's hardware address", "c1", ({ c1 }) => ask(c1, "255.255.255.255"))),
  flowless(sends("the directed broadcast of the own network", "c1", ({ c1 }) => ask(c1, "10.55.66.255"))),
  flowless(sends("the directed broadcast of the uplink's network", "c1", ({ c1 }) => ask(c1, "203.0.113.255"))),
  flowless(sends("the directed broadcast inside, from outside", "server", ({ server }) => ask(server, "10.55.66.255"))),
  sends("the network's own number", "c1", ({ c1 }) => ask(c1, "10.55.66.0")),
  flowless(linked("limited broadcast", "c1", Mac.broadcast, ({ c1 }) => ask(c1, "255.255.255.255"))),
  flowless(linked("directed broadcast in a broadcast frame", "c1", Mac.broadcast, ({ c1 }) => ask(c1, "10.55.66.255"))),
  flowless(linked("an echo to everybody", "c1", Mac.broadcast, ({ c1 }) => echo(c1, "10.55.66.255"))),
  linked("DHCP's question, from no address", "c1", Mac.broadcast, () => ask("0.0.0.0", "255.255.255.255")),
  linked("multicast", "c1", "01:00:5e:01:02:03", ({ c1 }) => ask(c1, "239.1.2.3")),
  linked("multicast from outside", "server", "01:00:5e:01:02:03", ({ server }) => ask(server, "239.1.2.3")),
  flowless(linked("broadcast from outside", "server", Mac.broadcast, ({ server }) => ask(server, "255.255.255.255"))),
  flowless(
    linked("directed broadcast from outside", "server", Mac.broadcast, ({ server }) => ask(server, "203.0.113.255")),
  ),
  linked("to another container's hardware address", "c1", Mac.c2, ({ c1, c2 }) => ask(c1, c2), "c2"),
  linked("to a hardware address that nobody has", "c1", "02:00:00:00:0a:0a", ({ c1, c2 }) => ask(c1, c2)),
  linked("outside, to somebody else's hardware address", "server", Mac.third, ({ server }) => ask(server, UPLINK), ""),
  linked("the group of 802.1X", "c1", "01:80:c2:00:00:03", ({ c1, c2 }) => ask(c1, c2), ""),
  linked("the group of LLDP", "c1", "01:80:c2:00:00:0e", ({ c1, c2 }) => ask(c1, c2), ""),
  linked("a group just behind the reserved ones", "c1", "01:80:c2:00:00:10", ({ c1, c2 }) => ask(c1, c2), "c2"),
  {
    ...linked("the group of the spanning tree", "c1", "01:80:c2:00:00:00", ({ c1, c2 }) => ask(c1, c2), "c2"),
    departure: () =>
      kernelAlone(
        "a kernel's bridge without spanning tree passes its group on; Tapir passes on none of 802.1D's",
        expect.stringMatching(/^1: c2 gets c1>01:80:c2:00:00:00 /),
      ),
  },
  {
    name: "a frame that comes back to the port of its destination",
    steps: (hosts): Step[] => [step("c1", ask(hosts.c1, hosts.c1), "", { destinationMac: Mac.c1 })],
  },
  {
    name: "another protocol than IP between containers and to the gateway",
    steps: (hosts): Step[] => [
      step("c1", ask(hosts.c1, hosts.c2), "c2", { destinationMac: Mac.c2, etherType: 0x88b5 }),
      step("c1", ask(hosts.c1, hosts.c2), "", { etherType: 0x88b5 }),
      step("c1", ask(hosts.c1, hosts.c2), "c2", { destinationMac: Mac.broadcast, etherType: 0x88b5 }),
    ],
  },
]);
