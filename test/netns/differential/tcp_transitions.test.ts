/** Each kind of segment from each side in each state of a TCP connection, through the kernel and through Tapir. */
import { differential, type Scenario } from "../../support/differential/suite.ts";
import { free, type Step, TcpTalk, text } from "../../support/differential/talk.ts";

/** The segments that bring a connection into each state. */
const INTO: [string, (tcp: TcpTalk) => Step[]][] = [
  ["SYN_SENT", (tcp) => [tcp.client("S")]],
  ["SYN_RECV", (tcp) => [tcp.client("S"), tcp.server("SA")]],
  ["ESTABLISHED", (tcp) => tcp.handshake()],
  ["FIN_WAIT", (tcp) => [...tcp.handshake(), tcp.client("FA")]],
  ["CLOSE_WAIT", (tcp) => [...tcp.handshake(), tcp.client("FA"), tcp.server("A")]],
  ["LAST_ACK", (tcp) => [...tcp.handshake(), tcp.client("FA"), tcp.server("A"), tcp.server("FA")]],
  ["TIME_WAIT", (tcp) => [...tcp.handshake(), tcp.client("FA"), tcp.server("A"), tcp.server("FA"), tcp.client("A")]],
  ["CLOSE", (tcp) => [...tcp.handshake(), tcp.server("R")]],
  ["SYN_SENT2", (tcp) => [tcp.client("S"), tcp.server("S")]],
];

const KINDS = ["S", "SA", "FA", "A", "RA", ""];
const SIDES = ["client", "server"] as const;

/** The segment, and what the connection says after it: a reset by mistake or a state too many shows there. */
const TRANSITIONS: Scenario[] = INTO.flatMap(([state, into]) =>
  KINDS.flatMap((flags) =>
    SIDES.map((side) => ({
      name: `${state}: ${flags || "no flags"} from the ${side}`,
      steps: (hosts) => {
        const tcp = new TcpTalk(hosts);
        return [
          ...into(tcp),
          free(tcp[side](flags)),
          free(tcp.server("A")),
          free(tcp.client("PA", { payload: text("?") })),
        ];
      },
    })),
  ),
);

differential("TCP transitions as the kernel makes them", { counted: false }, TRANSITIONS);
