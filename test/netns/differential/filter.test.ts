/** Rules that accept, drop and reject, through the kernel and through Tapir. */
import { expect } from "vitest";
import { GATEWAY, type Hosts, UPLINK } from "../../support/differential/hosts.ts";
import { type Departure, differential, type Scenario } from "../../support/differential/suite.ts";
import {
  errorAboutSeen,
  fragmentsOf,
  free,
  pattern,
  pingOut,
  type Step,
  step,
  TcpTalk,
  text,
  udpBack,
  udpOut,
  uniqueId,
} from "../../support/differential/talk.ts";
import type { RulePair } from "../../support/differential/worlds.ts";
import { icmp, ipv4, tcp, udp } from "../../support/frames.ts";

/** UDP ports from 9001 on are rejected with these, in this order. */
const REJECTS = [
  "icmp-net-unreachable",
  "icmp-host-unreachable",
  "icmp-proto-unreachable",
  "icmp-port-unreachable",
  "icmp-net-prohibited",
  "icmp-host-prohibited",
  "icmp-admin-prohibited",
];

const both = (iptables: string, tapir: string): RulePair[] => [
  { chain: "forward", iptables, tapir },
  { chain: "input", iptables, tapir },
];

const RULES: RulePair[] = [
  ...both(
    "-p tcp --dport 9000 -j REJECT --reject-with tcp-reset",
    "proto: tcp, dport: 9000, action: reject, with: tcp-reset",
  ),
  ...REJECTS.flatMap((code, index) =>
    both(
      `-p udp --dport ${9001 + index} -j REJECT --reject-with ${code}`,
      `proto: udp, dport: ${9001 + index}, action: reject, with: ${code}`,
    ),
  ),
  ...both("-p udp --dport 9100 -j DROP", "proto: udp, dport: 9100, action: drop"),
  ...both(
    "-p 50 -j REJECT --reject-with icmp-proto-unreachable",
    "proto: 50, action: reject, with: icmp-proto-unreachable",
  ),
  ...both("-p icmp --icmp-type 13 -j REJECT", "proto: icmp, icmpType: 13, action: reject"),
  ...both(
    "-p icmp --icmp-type 8 -m conntrack --ctstate NEW -j DROP",
    "proto: icmp, icmpType: 8, state: new, action: drop",
  ),
  {
    chain: "forward",
    iptables: "-p udp --dport 9200:9300 -m conntrack --ctstate NEW -j DROP",
    tapir: "proto: udp, dport: 9200-9300, state: new, action: drop",
  },
  {
    chain: "forward",
    iptables: "-i up0 -o br0 -p tcp --dport 8080 -j ACCEPT",
    tapir: "in: wan, out: lab, proto: tcp, dport: 8080, action: accept",
  },
];

/** What the rejection of a forwarded packet in this step quotes. */
const quoting = (number: number) => (): Departure => ({
  reason: "REJECT in the kernel's FORWARD quotes the packet with its TTL counted down, Tapir as it came",
  kernel: [expect.stringMatching(`^${number}: c1 gets .* quotes .* ttl=63 `)],
  tapir: [expect.stringMatching(`^${number}: c1 gets .* quotes .* ttl=64 `)],
});

/** A datagram from c1 to a port of somebody's. */
const to = (hosts: Hosts, destination: string, port: number): Step =>
  step("c1", udp({ source: hosts.c1, destination, id: uniqueId() }, 4000, port, text("ask")), "c1");

const CODES: Scenario[] = REJECTS.map((code, index) => ({
  name: `UDP rejected with ${code}: forwarded, and to the router from either side`,
  steps: (hosts) => [
    to(hosts, hosts.server, 9001 + index),
    to(hosts, GATEWAY, 9001 + index),
    step(
      "server",
      udp({ source: hosts.server, destination: UPLINK, id: uniqueId() }, 4000, 9001 + index, text("ask")),
      "server",
    ),
  ],
  departure: quoting(1),
}));

differential("Rules as iptables has them", { rules: RULES, counted: false }, [
  ...CODES,
  {
    name: "TCP rejected with a reset: a SYN, one with data, an ACK, a reset",
    steps: (hosts) => {
      const talk = new TcpTalk(hosts, 40000, 9000);
      return [
        free(talk.client("S")),
        free(talk.client("S", { payload: text("early"), sequence: 77 })),
        free(talk.client("A")),
        free(talk.client("R")),
      ];
    },
  },
  {
    name: "TCP to the gateway rejected with a reset",
    steps: (hosts) => [
      step(
        "c1",
        tcp({ source: hosts.c1, destination: GATEWAY, id: uniqueId() }, 40000, 9000, { flags: "S", sequence: 5 }),
        "c1",
      ),
    ],
  },
  {
    name: "dropped, forwarded and to the router",
    steps: (hosts) => [
      { ...to(hosts, hosts.server, 9100), reaches: "" },
      { ...to(hosts, GATEWAY, 9100), reaches: "" },
    ],
  },
  {
    name: "another protocol rejected",
    steps: (hosts) => [
      step("c1", ipv4({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 50, pattern(600)), "c1"),
      step("c1", ipv4({ source: hosts.c1, destination: GATEWAY, id: uniqueId() }, 50, pattern(40)), "c1"),
    ],
    departure: quoting(1),
  },
  {
    name: "an ICMP query rejected, another dropped while new",
    steps: (hosts) => [
      step("c1", icmp({ source: hosts.c1, destination: hosts.server, id: uniqueId() }, 13, 0, 77, pattern(12)), "c1"),
      { ...pingOut(hosts), reaches: "" },
      { ...pingOut({ ...hosts, server: GATEWAY }), reaches: "" },
    ],
    departure: quoting(1),
  },
  {
    name: "new flows dropped over a range of ports, at its ends and outside",
    steps: (hosts) =>
      [9199, 9200, 9250, 9300, 9301].map((port) => ({
        ...to(hosts, hosts.server, port),
        reaches: port === 9199 || port === 9301 ? "server" : "",
      })),
  },
  {
    name: "fragments rejected: one error, about the first",
    steps: (hosts) => {
      const fields = { source: hosts.c1, destination: hosts.server, id: uniqueId(), fragment: 0 };
      return fragmentsOf(udp(fields, 4000, 9004, pattern(2000)), [1480]).map((packet) => step("c1", packet));
    },
    departure: quoting(2),
  },
  {
    name: "what an error of a flow quotes does not matter: related is accepted",
    steps: (hosts) => [udpOut(hosts), errorAboutSeen(hosts), udpBack(hosts)],
  },
  {
    name: "accepted from outside to a container's own address: its answers are not masqueraded",
    steps: (hosts) => {
      const inward = { source: hosts.server, destination: hosts.c1 };
      const outward = { source: hosts.c1, destination: hosts.server };
      const [asks, answers] = [
        { sequence: 1, acknowledgement: 9 },
        { sequence: 8, acknowledgement: 2 },
      ];
      return [
        step("server", tcp({ ...inward, id: uniqueId() }, 5000, 8080, { flags: "S", sequence: 1 }), "c1"),
        step("c1", tcp({ ...outward, id: uniqueId() }, 8080, 5000, { flags: "SA", ...answers }), "server"),
        step("server", tcp({ ...inward, id: uniqueId() }, 5000, 8080, { flags: "A", ...asks, sequence: 2 }), "c1"),
        step("server", tcp({ ...inward, id: uniqueId() }, 5000, 8081, { flags: "S", sequence: 1 }), ""),
      ];
    },
  },
]);
