/** Published ports, from outside, from inside (hairpin) and from the container itself, through the kernel and through Tapir. */
import { type HostName, type Hosts, hostsOf, UPLINK } from "../../support/differential/hosts.ts";
import { differential, type Scenario } from "../../support/differential/suite.ts";
import {
  fragmentsOf,
  free,
  type Packet,
  pattern,
  type Step,
  step,
  text,
  uniqueId,
} from "../../support/differential/talk.ts";
import type { Publication } from "../../support/differential/worlds.ts";
import { type Ipv4Fields, icmp, type TcpFields, tcp, udp } from "../../support/frames.ts";

const MOST_SCENARIOS = 32;
const FIRST_PORT = 8000;

/** Each scenario has a TCP and a UDP port of its own, published to port 80 of its c1. */
const PUBLISHED: Publication[] = Array.from({ length: MOST_SCENARIOS }, (_, number) => number).flatMap((number) =>
  (["tcp", "udp"] as const).map((proto) => ({ proto, port: FIRST_PORT + number, to: `${hostsOf(number).c1}:80` })),
);

/** The published port of the scenario that has these hosts. */
function portOf(hosts: Hosts): number {
  return FIRST_PORT + Number(hosts.server.split(".")[3]) - 10;
}

const CLIENT_PORT = 50_000;

/** A TCP connection to the published port: each call is one segment, with the next numbers. */
class Visit {
  private readonly hosts: Hosts;
  private readonly client: HostName;
  private clientNext = 1000;
  private serverNext = 5000;

  constructor(hosts: Hosts, client: HostName = "server") {
    this.hosts = hosts;
    this.client = client;
  }

  /** From the client to the uplink's address. */
  ask(flags: string, fields: Partial<TcpFields> = {}, more: Partial<Ipv4Fields> = {}): Step {
    const segment = {
      flags,
      sequence: this.clientNext,
      acknowledgement: flags === "S" ? 0 : this.serverNext,
      ...fields,
    };
    this.clientNext += (fields.payload?.length ?? 0) + (/[SF]/.test(flags) ? 1 : 0);
    const addresses = { source: this.hosts[this.client], destination: UPLINK, id: uniqueId(), ...more };
    return step(this.client, tcp(addresses, CLIENT_PORT, portOf(this.hosts), segment), "c1");
  }

  /** From c1's port 80, to the client. */
  answer(flags: string, fields: Partial<TcpFields> = {}): Step {
    const segment = { flags, sequence: this.serverNext, acknowledgement: this.clientNext, ...fields };
    this.serverNext += (fields.payload?.length ?? 0) + (/[SF]/.test(flags) ? 1 : 0);
    const id = uniqueId();
    return step(
      "c1",
      (seen) => {
        const destination = apparent(this.hosts, this.client);
        return tcp({ source: this.hosts.c1, destination, id }, 80, seen.port("c1", 80), segment);
      },
      this.client,
    );
  }

  opening(): Step[] {
    return [this.ask("S"), this.answer("SA"), this.ask("A")];
  }
}

/** As which address c1's server sees a client: those inside hide behind the uplink. */
function apparent(hosts: Hosts, client: HostName): string {
  return client === "c1" || client === "c2" ? UPLINK : hosts[client];
}

/** A datagram to the published port. */
function ask(hosts: Hosts, from: HostName, more: Partial<Ipv4Fields> = {}, payload = text("ask")): Step {
  const addresses = { source: hosts[from], destination: UPLINK, id: uniqueId(), ...more };
  return step(from, udp(addresses, CLIENT_PORT, portOf(hosts), payload), "c1");
}

/** A datagram from c1's port 80 to the client. */
function answer(hosts: Hosts, to: HostName, from = 80): Step {
  const id = uniqueId();
  const packet: Packet = (seen) => {
    const addresses = { source: hosts.c1, destination: apparent(hosts, to), id };
    return udp(addresses, from, seen.port("c1", 80), text("answer"));
  };
  return step("c1", packet, to);
}

/** An ICMP error from c1 about what it last received. */
function refusal(hosts: Hosts, to: HostName, code = 3): Step {
  const id = uniqueId();
  return step(
    "c1",
    (seen) => {
      const addresses = { source: hosts.c1, destination: apparent(hosts, to), id };
      return icmp(addresses, 3, code, 0, seen.packet("c1").slice(0, 28));
    },
    to,
  );
}

const CLIENTS: [string, HostName][] = [
  ["from outside", "server"],
  ["from another host on the uplink", "third"],
  ["from the other container", "c2"],
  ["from the container itself", "c1"],
];

const EVERYONE: Scenario[] = CLIENTS.flatMap(([name, client]) => [
  {
    name: `TCP ${name}: opened, used, closed`,
    steps: (hosts) => {
      const visit = new Visit(hosts, client);
      return [
        ...visit.opening(),
        visit.ask("PA", { payload: text("question") }),
        visit.answer("A"),
        visit.answer("PA", { payload: pattern(500) }),
        visit.ask("A"),
        visit.answer("FA"),
        visit.ask("FA"),
        visit.answer("A"),
      ];
    },
  },
  {
    name: `TCP ${name}: refused`,
    steps: (hosts) => {
      const visit = new Visit(hosts, client);
      return [visit.ask("S"), visit.answer("RA", { sequence: 0 })];
    },
  },
  {
    name: `UDP ${name}`,
    steps: (hosts) => [ask(hosts, client), answer(hosts, client), ask(hosts, client)],
  },
  {
    name: `UDP ${name}: port unreachable`,
    steps: (hosts) => [ask(hosts, client), refusal(hosts, client)],
  },
]);

differential("Published ports as the kernel does them", { needs: "publish", publish: PUBLISHED }, [
  ...EVERYONE,
  {
    name: "two containers' same port through the hairpin",
    steps: (hosts) => [ask(hosts, "c2"), answer(hosts, "c2"), ask(hosts, "c1"), answer(hosts, "c1")],
  },
  {
    name: "a port that is not published",
    steps: (hosts) => [
      step(
        "server",
        udp({ source: hosts.server, destination: UPLINK, id: uniqueId() }, CLIENT_PORT, 7999, text("no")),
        "server",
      ),
      free(step("c2", udp({ source: hosts.c2, destination: UPLINK, id: uniqueId() }, CLIENT_PORT, 7999, text("no")))),
    ],
  },
  {
    name: "the container's own address and port from outside",
    steps: (hosts) => [
      step(
        "server",
        udp({ source: hosts.server, destination: hosts.c1, id: uniqueId() }, CLIENT_PORT, 80, text("no")),
        "",
      ),
    ],
  },
  {
    name: "the container's own address and port from the other container, over the gateway",
    steps: (hosts) => [
      free(step("c2", udp({ source: hosts.c2, destination: hosts.c1, id: uniqueId() }, CLIENT_PORT, 80, text("no")))),
    ],
  },
  {
    name: "an answer from another port of the container",
    steps: (hosts) => [ask(hosts, "server"), free(answer(hosts, "server", 81)), answer(hosts, "server")],
  },
  {
    name: "the container's own flow from the published port",
    steps: (hosts) => [
      ask(hosts, "server"),
      free(step("c1", udp({ source: hosts.c1, destination: hosts.third, id: uniqueId() }, 80, 53, text("mine")))),
    ],
  },
  {
    name: "a container's flow whose port outside would be the published one",
    steps: (hosts) => [
      step(
        "c2",
        udp({ source: hosts.c2, destination: hosts.server, id: uniqueId() }, portOf(hosts), CLIENT_PORT, text("x")),
        "server",
      ),
      free(ask(hosts, "server")),
    ],
  },
  {
    name: "TTL 1 from outside",
    steps: (hosts) => [{ ...ask(hosts, "server", { ttl: 1 }), reaches: "server" }],
  },
  {
    name: "an error from outside about the container's answer",
    steps: (hosts) => [
      ask(hosts, "server"),
      answer(hosts, "server"),
      step(
        "server",
        (seen) => {
          const addresses = { source: hosts.server, destination: UPLINK, id: 900 };
          return icmp(addresses, 3, 3, 0, seen.packet("server").slice(0, 28));
        },
        "c1",
      ),
    ],
  },
  {
    name: "a datagram in fragments",
    steps: (hosts) => {
      const addresses = { source: hosts.server, destination: UPLINK, id: uniqueId(), fragment: 0 };
      const packet = udp(addresses, CLIENT_PORT, portOf(hosts), pattern(2000));
      return fragmentsOf(packet, [1480]).map((part) => step("server", part));
    },
  },
  {
    name: "a wrong checksum",
    steps: (hosts) => {
      const one = ask(hosts, "server");
      const packet = (one.packet as Uint8Array).slice();
      packet[packet.length - 1] ^= 0x55;
      return [{ ...one, packet, reaches: "" }];
    },
  },
  {
    name: "segments of no connection",
    steps: (hosts) => ["A", "FA", "SA", "R"].map((flags) => free(new Visit(hosts).ask(flags))),
  },
]);
