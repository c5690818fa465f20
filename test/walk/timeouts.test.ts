/**
 * Every timeout in both profiles, through the whole walk and behind MASQUERADE: a second before it, an answer from
 * outside still reaches the inside host; a second after it, none does, and nothing of the flow is left.
 */
import { describe, expect, it } from "vitest";
import { checkInvariants } from "../../src/dataplane/invariants.ts";
import { echoReply, echoRequest, icmp, ipv4, type TcpFields, tcp, udp } from "../support/frames.ts";
import { defaultPlan, type Out, Port, TestRouter } from "../support/router.ts";
import { Action } from "../support/rules.ts";

const CLIENT = { source: "10.55.66.2", destination: "203.0.113.2" };
const SERVER = { source: "203.0.113.2", destination: "203.0.113.1" };
const GRE = 47;
const ESP = 50;
const data = new Uint8Array(100);

/** A client behind the router and a server, which keep their sequence numbers. */
class Hosts {
  readonly test: TestRouter;
  private readonly next = { client: 1000, server: 5000 };

  constructor(profile: "linux" | "bcp") {
    const plan = defaultPlan();
    plan.conntrack.profile = profile;
    // What reaches the router itself ends there.
    plan.input = { policy: Action.DROP, rules: [] };
    this.test = new TestRouter(plan, { flows: 64 });
    this.test.introduce();
  }

  client(flags: string, fields: TcpFields = {}): Out[] {
    return this.test.fromC1(tcp(CLIENT, 40000, 80, this.numbered("client", "server", flags, fields)));
  }

  server(flags: string, fields: TcpFields = {}): Out[] {
    return this.test.fromServer(tcp(SERVER, 80, 40000, this.numbered("server", "client", flags, fields)));
  }

  handshake(): void {
    this.client("S");
    this.server("SA");
    this.client("A");
  }

  /** A packet of any other protocol, out or back. */
  send(protocol: "udp" | "echo" | number, isReply = false): Out[] {
    const ends = isReply ? SERVER : CLIENT;
    let packet: Uint8Array;
    if (protocol === "udp") packet = isReply ? udp(ends, 53, 40000) : udp(ends, 40000, 53);
    else if (protocol === "echo") packet = isReply ? echoReply(ends, 7) : echoRequest(ends, 7);
    else packet = ipv4(ends, protocol, new Uint8Array(12));
    return isReply ? this.test.fromServer(packet) : this.test.fromC1(packet);
  }

  /** Time passes at once; then everybody makes itself known again, as neighbours are forgotten meanwhile. */
  wait(seconds: number): void {
    this.test.now += seconds * 1000;
    this.test.turn();
    this.test.introduce();
  }

  private numbered(own: "client" | "server", other: "client" | "server", flags: string, fields: TcpFields): TcpFields {
    const sequence = this.next[own];
    const occupied = [...flags].filter((letter) => letter === "S" || letter === "F").length;
    this.next[own] += (fields.payload?.length ?? 0) + occupied;
    const numbers = flags.includes("A") ? { acknowledgement: this.next[other] } : {};
    return { flags, sequence, ...numbers, ...fields };
  }
}

type Script = (hosts: Hosts) => void;
type Probe = (hosts: Hosts) => Out[];

const segment: Probe = (hosts) => hosts.server("A");
const datagram: Probe = (hosts) => hosts.send("udp", true);
const echo: Probe = (hosts) => hosts.send("echo", true);

const finWait: Script = (hosts) => {
  hosts.handshake();
  hosts.client("FA");
};
const closeWait: Script = (hosts) => {
  finWait(hosts);
  hosts.server("A");
};
const lastAck: Script = (hosts) => {
  closeWait(hosts);
  hosts.server("FA");
};
const timeWait: Script = (hosts) => {
  lastAck(hosts);
  hosts.client("A");
};
const both =
  (protocol: "udp" | "echo" | number, ...directions: boolean[]): Script =>
  (hosts) => {
    for (const isReply of directions) hosts.send(protocol, isReply);
  };
const other =
  (protocol: number): Probe =>
  (hosts) =>
    hosts.send(protocol, true);

/** What happens, and the seconds that the flow lives after it in `linux` and in `bcp`; what an answer is. */
const CASES: [string, Script, number, number, Probe][] = [
  ["a SYN", (hosts) => hosts.client("S"), 120, 240, segment],
  [
    "a SYN that is sent again",
    (hosts) => {
      hosts.client("S");
      hosts.wait(20);
      hosts.client("S", { sequence: 1000 });
    },
    100,
    220,
    segment,
  ],
  [
    "a SYN from both",
    (hosts) => {
      hosts.client("S");
      hosts.server("S");
    },
    120,
    240,
    segment,
  ],
  [
    "a SYN/ACK",
    (hosts) => {
      hosts.client("S");
      hosts.server("SA");
    },
    60,
    240,
    segment,
  ],
  ["a handshake", (hosts) => hosts.handshake(), 432_000, 7440, segment],
  ["a FIN", finWait, 120, 240, segment],
  ["its acknowledgement", closeWait, 60, 240, segment],
  ["the other FIN", lastAck, 30, 240, segment],
  ["the last acknowledgement", timeWait, 120, 240, segment],
  [
    "a reset",
    (hosts) => {
      hosts.handshake();
      hosts.client("R");
    },
    10,
    240,
    segment,
  ],
  [
    "data that nobody acknowledges",
    (hosts) => {
      hosts.handshake();
      hosts.client("PA", { payload: data });
    },
    300,
    7440,
    segment,
  ],
  [
    "three retransmissions",
    (hosts) => {
      hosts.handshake();
      for (let i = 0; i < 3; i++) hosts.client("A");
    },
    300,
    7440,
    segment,
  ],
  ["a segment without a handshake", (hosts) => hosts.client("A"), 300, 7440, segment],
  ["a datagram", both("udp", false), 30, 300, datagram],
  ["its answer", both("udp", false, true), 30, 300, datagram],
  [
    "datagrams both ways for more than two seconds",
    (hosts) => {
      both("udp", false, true)(hosts);
      hosts.wait(2.1);
      both("udp", false)(hosts);
    },
    120,
    300,
    datagram,
  ],
  ["an echo request", both("echo", false), 30, 60, echo],
  ["an echo reply", both("echo", false, true), 30, 60, echo],
  ["a GRE packet", both(GRE, false), 30, 300, other(GRE)],
  ["GRE packets both ways", both(GRE, false, true, false), 180, 300, other(GRE)],
  ["a packet of another protocol", both(ESP, false), 600, 600, other(ESP)],
];

const TIMED = CASES.flatMap(([name, script, linux, bcp, probe]) => [
  { profile: "linux" as const, name, script, seconds: linux, probe },
  { profile: "bcp" as const, name, script, seconds: bcp, probe },
]);

describe("how long an outside host can answer after", () => {
  it.each(TIMED)("$name: $seconds s in $profile", ({ profile, script, seconds, probe }) => {
    const early = new Hosts(profile);
    script(early);
    expect(early.test.router.flows.count).toBe(1);
    early.wait(seconds - 1);
    expect(early.test.router.flows.count).toBe(1);
    expect(probe(early)).toMatchObject([{ port: Port.C1, destination: CLIENT.source, bad: [] }]);

    const late = new Hosts(profile);
    script(late);
    late.wait(seconds + 1);
    expect(late.test.router.flows.count).toBe(0);
    expect(probe(late)).toEqual([]);
    for (const { test } of [early, late]) {
      expect(checkInvariants(test.router).violations).toEqual([]);
      expect(test.arena.heldSlots()).toBe(0);
    }
  });
});

describe.each([
  { profile: "linux" as const, seconds: 30 },
  { profile: "bcp" as const, seconds: 300 },
])("the $seconds s of a datagram in $profile", ({ profile, seconds }) => {
  it("begin again with each packet that goes out (RFC 4787 REQ-6)", () => {
    const hosts = new Hosts(profile);
    for (let i = 0; i < 3; i++) {
      hosts.send("udp");
      hosts.wait(seconds - 1);
    }
    expect(hosts.send("udp", true)).toMatchObject([{ port: Port.C1 }]);
  });

  it("are neither begun again nor ended by an ICMP error (RFC 4787 REQ-12, RFC 5508 REQ-6)", () => {
    const hosts = new Hosts(profile);
    const [sent] = hosts.send("udp");
    hosts.wait(seconds - 1);
    const error = (): Uint8Array => icmp(SERVER, 3, 3, 0, sent.bytes.subarray(14));
    expect(hosts.test.fromServer(error())).toMatchObject([{ port: Port.C1, icmpType: 3, bad: [] }]);
    expect(hosts.test.router.flows.count).toBe(1);
    hosts.wait(2);
    expect(hosts.test.router.flows.count).toBe(0);
    expect(hosts.test.fromServer(error())).toEqual([]);
  });
});

describe.each(["linux", "bcp"] as const)("a TCP connection in %s", (profile) => {
  it("is not ended by an ICMP error (RFC 5382 REQ-10)", () => {
    const hosts = new Hosts(profile);
    hosts.handshake();
    const [sent] = hosts.client("PA", { payload: data });
    expect(hosts.test.fromServer(icmp(SERVER, 3, 1, 0, sent.bytes.subarray(14)))).toMatchObject([{ port: Port.C1 }]);
    expect(hosts.server("A")).toMatchObject([{ port: Port.C1, bad: [] }]);
  });
});
