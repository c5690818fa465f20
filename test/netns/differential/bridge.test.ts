/** Frames inside a network: the kernel's bridge with br_netfilter and iptables, and Tapir's bridge chain. */
import { existsSync } from "node:fs";
import { expect } from "vitest";
import { type HostName, type Hosts, Mac } from "../../support/differential/hosts.ts";
import { type Departure, differential, kernelAlone, type Scenario } from "../../support/differential/suite.ts";
import {
  fragmentsOf,
  free,
  pattern,
  type Step,
  step,
  text,
  uniqueId,
  withBytes,
} from "../../support/differential/talk.ts";
import type { RulePair } from "../../support/differential/worlds.ts";
import { concat, echoReply, echoRequest, icmp, ipv4, type TcpFields, tcp, u16, udp } from "../../support/frames.ts";

/** UDP ports from 9001 on are rejected with these, in this order. */
const REJECTS = ["icmp-net-unreachable", "icmp-port-unreachable", "icmp-admin-prohibited"];

const bridge = (iptables: string, tapir: string): RulePair => ({ chain: "bridge", iptables, tapir });

/** c1 may begin, c2 may not; its ports are `p1` and `p2` of the kernel's bridge. */
const RULES: RulePair[] = [
  bridge(
    "-p tcp --dport 9000 -j REJECT --reject-with tcp-reset",
    "proto: tcp, dport: 9000, action: reject, with: tcp-reset",
  ),
  ...REJECTS.map((code, index) =>
    bridge(
      `-p udp --dport ${9001 + index} -j REJECT --reject-with ${code}`,
      `proto: udp, dport: ${9001 + index}, action: reject, with: ${code}`,
    ),
  ),
  bridge("-p udp --dport 9100 -j DROP", "proto: udp, dport: 9100, action: drop"),
  bridge(
    "-m physdev --physdev-in p2 --physdev-out p1 -p udp --dport 7000 -j ACCEPT",
    "in: c2, out: c1, proto: udp, dport: 7000, action: accept",
  ),
  bridge("-m physdev --physdev-in p1 -m conntrack --ctstate NEW -j ACCEPT", "in: c1, state: new, action: accept"),
];

/** No next header, from fe80::3 to fe80::2. */
const IPV6 = concat(
  u16(0x6000),
  u16(0),
  u16(20),
  Uint8Array.of(59, 64),
  ...[3, 2].map((host) => concat(u16(0xfe80), new Uint8Array(13), Uint8Array.of(host))),
  pattern(20),
);

const EVERYBODY = { destinationMac: Mac.broadcast };

type Container = "c1" | "c2";
const other = (from: Container): Container => (from === "c1" ? "c2" : "c1");
const ends = (hosts: Hosts, from: Container) => ({
  source: hosts[from],
  destination: hosts[other(from)],
  id: uniqueId(),
});
/** A step of a frame that is switched to the other container. */
const pass = (from: Container, packet: Step["packet"], reaches: HostName | ""): Step =>
  step(from, packet, reaches, { destinationMac: Mac[other(from)] });

const datagram = (hosts: Hosts, from: Container, ports: [number, number], reaches: HostName | "" = other(from)): Step =>
  pass(from, udp(ends(hosts, from), ports[0], ports[1], text("datagram")), reaches);

const segment = (hosts: Hosts, from: Container, fields: TcpFields, reaches: HostName | "" = other(from)): Step => {
  const ports = from === "c1" ? ([40000, 80] as const) : ([80, 40000] as const);
  return pass(from, tcp(ends(hosts, from), ports[0], ports[1], fields), reaches);
};

const handshake = (hosts: Hosts): Step[] => [
  segment(hosts, "c1", { flags: "S", sequence: 1000 }),
  segment(hosts, "c2", { flags: "SA", sequence: 5000, acknowledgement: 1001 }),
  segment(hosts, "c1", { flags: "A", sequence: 1001, acknowledgement: 5001 }),
];

/** An ICMP error of c2's about what it has received. */
const errorOfC2 = (
  hosts: Hosts,
  reaches: HostName | "",
  change: (quote: Uint8Array) => Uint8Array = (same) => same,
): Step => pass("c2", (seen) => icmp(ends(hosts, "c2"), 3, 3, 0, change(seen.packet("c2").slice(0, 28))), reaches);

const SCENARIOS: Scenario[] = [
  {
    name: "UDP: c1 asks and is answered, c2 may not begin",
    steps: (hosts) => [
      datagram(hosts, "c2", [53, 4000], ""),
      datagram(hosts, "c1", [4000, 53]),
      datagram(hosts, "c2", [53, 4000]),
      datagram(hosts, "c1", [4000, 53]),
      datagram(hosts, "c2", [53, 4001], ""),
    ],
  },
  {
    name: "UDP: by which ports it goes decides",
    steps: (hosts) => [
      datagram(hosts, "c2", [4000, 7000]),
      datagram(hosts, "c2", [4000, 7001], ""),
      datagram(hosts, "c1", [7000, 4000]),
    ],
  },
  {
    name: "TCP: a connection from beginning to end",
    steps: (hosts) => [
      ...handshake(hosts),
      segment(hosts, "c1", { flags: "PA", sequence: 1001, acknowledgement: 5001, payload: text("request") }),
      segment(hosts, "c2", { flags: "A", sequence: 5001, acknowledgement: 1008, payload: pattern(500) }),
      segment(hosts, "c2", { flags: "FA", sequence: 5501, acknowledgement: 1008 }),
      segment(hosts, "c1", { flags: "FA", sequence: 1008, acknowledgement: 5502 }),
      segment(hosts, "c2", { flags: "A", sequence: 5502, acknowledgement: 1009 }),
    ],
  },
  {
    name: "TCP: c2 may not begin, and may answer nothing that was not asked",
    steps: (hosts) => [
      segment(hosts, "c2", { flags: "S", sequence: 1 }, ""),
      segment(hosts, "c2", { flags: "SA", sequence: 1, acknowledgement: 2 }, ""),
      segment(hosts, "c2", { flags: "R", sequence: 1 }, ""),
    ],
  },
  {
    name: "TCP: what is out of the window is invalid, a reset in it ends the connection",
    steps: (hosts) => [
      ...handshake(hosts),
      segment(hosts, "c2", { flags: "A", sequence: 0x50000000, acknowledgement: 1001, payload: text("far") }, ""),
      segment(hosts, "c2", { flags: "R", sequence: 0x50000000 }, ""),
      segment(hosts, "c2", { flags: "RA", sequence: 5001, acknowledgement: 1001 }),
      segment(hosts, "c1", { flags: "S", sequence: 900_000 }),
    ],
    counted: false,
  },
  {
    name: "TCP: picked up in the middle by c1, not by c2",
    steps: (hosts) => [
      segment(hosts, "c2", { flags: "A", sequence: 5001, acknowledgement: 1001 }, ""),
      segment(hosts, "c1", { flags: "A", sequence: 1001, acknowledgement: 5001 }),
      segment(hosts, "c2", { flags: "A", sequence: 5001, acknowledgement: 1001, payload: text("more") }),
    ],
  },
  {
    name: "ICMP: echo there and back, not the other way, no answer to nothing",
    steps: (hosts) => [
      pass("c2", echoRequest(ends(hosts, "c2"), 7), ""),
      pass("c2", echoReply(ends(hosts, "c2"), 8), ""),
      pass("c1", echoRequest(ends(hosts, "c1"), 8), "c2"),
      pass("c2", echoReply(ends(hosts, "c2"), 8), "c1"),
    ],
  },
  {
    name: "ICMP errors: of a flow they are related, of none invalid",
    steps: (hosts) => [
      datagram(hosts, "c1", [4000, 53]),
      errorOfC2(hosts, "c1"),
      errorOfC2(hosts, "", (quote) => withBytes(quote, 20, 0x77)),
    ],
  },
  {
    name: "other protocols are flows, too",
    steps: (hosts) => [
      pass("c2", ipv4(ends(hosts, "c2"), 47, pattern(40)), ""),
      pass("c1", ipv4(ends(hosts, "c1"), 50, pattern(40)), "c2"),
      pass("c2", ipv4(ends(hosts, "c2"), 50, pattern(40)), "c1"),
    ],
  },
  {
    name: "bad checksums are not judged by rules that want a state",
    steps: (hosts) => [
      pass("c1", withBytes(udp(ends(hosts, "c1"), 4000, 53, text("datagram")), 27, 1), ""),
      pass("c1", withBytes(tcp(ends(hosts, "c1"), 4000, 80, { flags: "S" }), 37, 1), ""),
    ],
  },
  ...REJECTS.map((code, index) => ({
    name: `UDP rejected with ${code}`,
    steps: (hosts: Hosts) => [datagram(hosts, "c1", [4000, 9001 + index], "c1")],
  })),
  {
    name: "TCP rejected with a reset: a SYN, an ACK, a reset",
    steps: (hosts) => [
      pass("c1", tcp(ends(hosts, "c1"), 40000, 9000, { flags: "S", sequence: 10 }), "c1"),
      pass("c1", tcp(ends(hosts, "c1"), 40000, 9000, { flags: "A", sequence: 10, acknowledgement: 99 }), "c1"),
      pass("c1", tcp(ends(hosts, "c1"), 40000, 9000, { flags: "R", sequence: 10 }), ""),
    ],
  },
  {
    name: "fragments are judged as one datagram",
    steps: (hosts) => [
      ...fragmentsOf(udp({ ...ends(hosts, "c1"), fragment: 0 }, 4000, 53, pattern(2500)), [1000, 2000]).map((packet) =>
        free(pass("c1", packet, "")),
      ),
      ...fragmentsOf(udp({ ...ends(hosts, "c1"), fragment: 0 }, 4000, 9100, pattern(2500)), [1000, 2000]).map(
        (packet) => pass("c1", packet, ""),
      ),
      ...fragmentsOf(udp({ ...ends(hosts, "c2"), fragment: 0 }, 53, 4000, pattern(2500)), [1400]).map((packet) =>
        free(pass("c2", packet, "")),
      ),
    ],
  },
  {
    name: "what goes through the gateway is routed as before",
    steps: (hosts) => [
      step("c1", udp({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 4000, 53, text("out")), "server"),
      step(
        "server",
        (seen) =>
          udp(
            { source: hosts.server, destination: "203.0.113.1", id: uniqueId() },
            53,
            seen.port("server"),
            text("in"),
          ),
        "c1",
      ),
    ],
  },
  {
    name: "broadcasts are judged, too, but open no flow",
    steps: (hosts) => [
      step("c1", udp({ ...ends(hosts, "c1"), destination: "10.55.66.255" }, 138, 138, text("all")), "c2", EVERYBODY),
      step("c2", udp({ ...ends(hosts, "c2"), destination: "10.55.66.255" }, 138, 138, text("all")), "", EVERYBODY),
    ],
    departure: () =>
      kernelAlone(
        "nobody answers a broadcast from its address; the kernel's own bridge takes it in, whatever becomes of it",
        ...[1, 2].map((number) => expect.stringMatching(`^${number}: flow udp .*UNREPLIED`)),
      ),
  },
  {
    name: "IPv6 meets no rules of iptables: here the policy decides",
    steps: () => [step("c2", IPV6, "c1", { destinationMac: Mac.c1, etherType: 0x86dd })],
    departure: (): Departure =>
      kernelAlone("a policy that IPv6 walks around would be none", expect.stringMatching(/^1: c1 gets /)),
  },
];

const hasBridgeFilter = existsSync("/proc/sys/net/bridge/bridge-nf-call-iptables");
if (!hasBridgeFilter) process.stderr.write("SKIPPED bridged frames side by side: this kernel has no br_netfilter\n");
if (hasBridgeFilter) differential("Frames inside a network", { rules: RULES }, SCENARIOS);
