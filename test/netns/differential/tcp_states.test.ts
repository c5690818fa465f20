/** Every state of a TCP connection, through the kernel and through Tapir. */
import type { Hosts } from "../../support/differential/hosts.ts";
import { differential, type Scenario } from "../../support/differential/suite.ts";
import { free, type Step, TcpTalk, text } from "../../support/differential/talk.ts";

/** A scenario of one connection. */
function talk(name: string, say: (tcp: TcpTalk, hosts: Hosts) => Step[]): Scenario {
  return { name, steps: (hosts) => say(new TcpTalk(hosts), hosts) };
}

function closed(tcp: TcpTalk): Step[] {
  return [...tcp.handshake(), tcp.client("FA"), tcp.server("A"), tcp.server("FA"), tcp.client("A")];
}

differential("TCP states as the kernel has them", { counted: false }, [
  talk("open, question, answer, closed by the client", (tcp) => [
    ...tcp.handshake(),
    tcp.client("PA", { payload: text("question") }),
    tcp.server("A"),
    tcp.server("PA", { payload: text("answer") }),
    tcp.client("A"),
    tcp.client("FA"),
    tcp.server("A"),
    tcp.server("FA"),
    tcp.client("A"),
  ]),
  talk("closed by the server", (tcp) => [
    ...tcp.handshake(),
    tcp.server("FA"),
    tcp.client("A"),
    tcp.client("FA"),
    tcp.server("A"),
  ]),
  talk("closed by the server with one segment of the client for both", (tcp) => [
    ...tcp.handshake(),
    tcp.server("FA"),
    tcp.client("FA"),
    tcp.server("A"),
  ]),
  talk("both close at once", (tcp) => {
    const opening = tcp.handshake();
    const [client, server] = [tcp.clientNext, tcp.serverNext];
    return [
      ...opening,
      tcp.client("FA"),
      tcp.server("FA", { acknowledgement: client }),
      tcp.client("A", { acknowledgement: server + 1 }),
      tcp.server("A"),
    ];
  }),
  talk("half-open: data still flows after one side has closed", (tcp) => [
    ...tcp.handshake(),
    tcp.client("FA"),
    tcp.server("A"),
    tcp.server("PA", { payload: text("more") }),
    tcp.client("A"),
    tcp.server("PA", { payload: text("and more") }),
  ]),
  talk("both open at once", (tcp) => {
    const [client, server] = [tcp.clientNext, tcp.serverNext];
    return [
      tcp.client("S"),
      tcp.server("S"),
      tcp.client("SA", { sequence: client }),
      tcp.server("SA", { sequence: server }),
      tcp.client("A"),
      tcp.client("PA", { payload: text("hello") }),
    ];
  }),
  talk("a SYN is repeated while nobody answers", (tcp) => {
    const sequence = tcp.clientNext;
    return [tcp.client("S"), tcp.client("S", { sequence }), tcp.client("S", { sequence }), tcp.server("SA")];
  }),
  talk("a SYN/ACK is repeated", (tcp) => {
    const opening = [tcp.client("S"), tcp.server("SA")];
    return [...opening, tcp.server("SA", { sequence: tcp.serverNext - 1 }), tcp.client("A")];
  }),
  talk("a SYN with another number while nobody answers", (tcp) => [
    tcp.client("S"),
    tcp.client("S", { sequence: 77_000 }),
    free(tcp.server("SA", { acknowledgement: 77_001 })),
  ]),
  talk("the server refuses", (tcp) => [
    tcp.client("S"),
    tcp.server("RA", { sequence: 0 }),
    tcp.client("S", { sequence: 9000 }),
  ]),
  talk("the server refuses with a wrong acknowledgement", (tcp) => [
    tcp.client("S"),
    free(tcp.server("RA", { sequence: 0, acknowledgement: 4242 })),
    free(tcp.server("SA")),
  ]),
  talk("a SYN in TIME_WAIT opens anew", (tcp) => {
    const before = closed(tcp);
    tcp.clientNext = 900_000;
    tcp.serverNext = 800_000;
    return [...before, tcp.client("S"), tcp.server("SA"), tcp.client("A")];
  }),
  talk("a SYN after a reset opens anew", (tcp) => {
    const before = [...tcp.handshake(), tcp.client("R")];
    tcp.clientNext = 900_000;
    tcp.serverNext = 800_000;
    return [...before, tcp.client("S"), tcp.server("SA"), tcp.client("A")];
  }),
  talk("a SYN in an established connection is answered by a challenge", (tcp) => {
    const opening = tcp.handshake();
    return [
      ...opening,
      tcp.client("S", { sequence: 900_000 }),
      tcp.server("A"),
      tcp.client("R", { sequence: tcp.clientNext }),
    ];
  }),
  talk("a client that has forgotten opens again, and a server that has forgotten agrees", (tcp) => {
    const opening = tcp.handshake();
    tcp.clientNext = 900_000;
    tcp.serverNext = 800_000;
    return [...opening, tcp.client("S"), tcp.server("SA"), tcp.client("A"), tcp.server("PA", { payload: text("hi") })];
  }),
  talk("the same port of two containers towards one server", (tcp, hosts) => {
    const other = new TcpTalk({ ...hosts, c1: hosts.c2 });
    const second = (step: Step): Step => ({ ...step, from: "c2" });
    return [
      ...tcp.handshake(),
      second(other.client("S")),
      { ...other.server("SA"), reaches: "c2" },
      second(other.client("A")),
      tcp.client("PA", { payload: text("first") }),
      tcp.server("A"),
    ];
  }),
  {
    name: "a closed port of the gateway",
    steps: (hosts) => {
      const gateway = new TcpTalk({ ...hosts, server: "10.55.66.1" });
      return ["S", "SA", "A", "FA", "R"].map((flags) => free(gateway.client(flags)));
    },
  },
]);
