/** Sequence numbers, windows and options of TCP, through the kernel and through Tapir. */

import type { Hosts } from "../../support/differential/hosts.ts";
import { differential, type Scenario } from "../../support/differential/suite.ts";
import { free, pattern, type Step, TcpTalk } from "../../support/differential/talk.ts";
import { concat, u16, u32 } from "../../support/frames.ts";

function talk(name: string, say: (tcp: TcpTalk, hosts: Hosts) => Step[]): Scenario {
  return { name, steps: (hosts) => say(new TcpTalk(hosts), hosts) };
}

const NOP = Uint8Array.of(1);
const MSS = Uint8Array.of(2, 4, 0x05, 0xb4);
const SACK_PERMITTED = Uint8Array.of(4, 2);
const scale = (shift: number) => Uint8Array.of(3, 3, shift);
const sack = (...edges: number[]) => concat(NOP, NOP, Uint8Array.of(5, 2 + edges.length * 4), ...edges.map(u32));
const timestamps = (value: number, echo: number) => concat(NOP, NOP, Uint8Array.of(8, 10), u32(value), u32(echo));
const opening = (shift: number) => concat(MSS, SACK_PERMITTED, scale(shift), NOP, NOP, NOP);

/** Numbers around the edges of what may be said after a handshake: client 1001, server 5001, windows of 65535. */
const OFFSETS = [
  -70_000, -66_001, -66_000, -65_536, -65_535, -2, -1, 0, 1, 1000, 65_534, 65_535, 65_536, 65_537, 70_000, 500_000,
];

const EDGES: Scenario[] = OFFSETS.flatMap((offset) => [
  talk(`an acknowledgement at ${offset} from where it should be, and what follows`, (tcp) => {
    const before = tcp.handshake();
    const segment = { acknowledgement: (tcp.serverNext + offset) >>> 0, sequence: tcp.clientNext };
    return [...before, free(tcp.client("A", segment)), tcp.client("A"), tcp.server("A")];
  }),
  talk(`data at ${offset} from where it should be, and what follows`, (tcp) => {
    const before = tcp.handshake();
    const segment = { sequence: (tcp.clientNext + offset) >>> 0, payload: pattern(10) };
    return [...before, free(tcp.client("PA", segment)), free(tcp.server("A")), free(tcp.client("A"))];
  }),
  talk(`a reset at ${offset} from where it should be, and what follows`, (tcp) => {
    const before = tcp.handshake();
    const sequence = (tcp.serverNext + offset) >>> 0;
    return [
      ...before,
      tcp.server("PA", { payload: pattern(4) }),
      tcp.client("A"),
      free(tcp.server("R", { sequence })),
      free(tcp.client("A")),
    ];
  }),
]);

differential("TCP windows as the kernel checks them", { counted: false }, [
  talk("keep-alives: a byte again that is already acknowledged", (tcp) => {
    const before = tcp.handshake();
    return [
      ...before,
      tcp.client("A", { sequence: tcp.clientNext - 1, payload: pattern(1) }),
      tcp.server("A"),
      tcp.server("A", { sequence: tcp.serverNext - 1 }),
      tcp.client("A"),
    ];
  }),
  talk("data that overlaps what went before", (tcp) => {
    const before = [...tcp.handshake(), tcp.client("PA", { payload: pattern(100) }), tcp.server("A")];
    return [...before, tcp.client("PA", { sequence: tcp.clientNext - 50, payload: pattern(150) }), tcp.server("A")];
  }),
  talk("data out of order", (tcp) => {
    const before = tcp.handshake();
    return [
      ...before,
      tcp.client("PA", { sequence: tcp.clientNext + 100, payload: pattern(100) }),
      tcp.server("A"),
      tcp.client("PA", { payload: pattern(100) }),
      tcp.server("A", { acknowledgement: tcp.clientNext + 100 }),
    ];
  }),
  talk("a small window is overrun", (tcp) => [
    tcp.client("S", { window: 1000 }),
    tcp.server("SA", { window: 1000 }),
    tcp.client("A", { window: 1000 }),
    tcp.client("PA", { window: 1000, payload: pattern(900) }),
    free(tcp.client("PA", { window: 1000, payload: pattern(900) })),
    free(tcp.client("PA", { window: 1000, payload: pattern(900) })),
    free(tcp.server("A", { window: 1000 })),
  ]),
  talk("a zero window is probed", (tcp) => {
    const before = [...tcp.handshake(), tcp.client("PA", { payload: pattern(100) }), tcp.server("A", { window: 0 })];
    return [
      ...before,
      free(tcp.client("A", { payload: pattern(1) })),
      tcp.server("A", { window: 0, acknowledgement: tcp.clientNext - 1 }),
      tcp.server("A", { window: 5000 }),
    ];
  }),
  talk("the window grows and the data with it", (tcp) => [
    tcp.client("S", { window: 100 }),
    tcp.server("SA", { window: 100 }),
    tcp.client("A", { window: 100 }),
    tcp.server("A", { window: 2000 }),
    tcp.client("PA", { payload: pattern(1400) }),
    free(tcp.client("PA", { payload: pattern(1400) })),
  ]),
  talk("window scale of both sides", (tcp) => [
    ...tcp.handshake(opening(7), opening(7)),
    tcp.server("A", { window: 10 }),
    tcp.client("PA", { payload: pattern(1200) }),
    free(tcp.client("PA", { payload: pattern(1200) })),
    free(tcp.client("PA", { sequence: 300_000, payload: pattern(10) })),
  ]),
  talk("window scale of one side does not count", (tcp) => [
    ...tcp.handshake(opening(7)),
    tcp.client("PA", { payload: pattern(100) }),
    free(tcp.client("PA", { sequence: 300_000, payload: pattern(10) })),
  ]),
  talk("window scale beyond 14 is 14", (tcp) => [
    ...tcp.handshake(opening(15), opening(15)),
    free(tcp.client("PA", { sequence: 1001 + 800_000_000, payload: pattern(10) })),
    free(tcp.client("PA", { sequence: 1001 + 1_900_000_000, payload: pattern(10) })),
  ]),
  talk("selective acknowledgement in range, below it and above it", (tcp) => {
    const before = [
      ...tcp.handshake(opening(2), opening(2)),
      tcp.client("PA", { payload: pattern(100) }),
      tcp.client("PA", { payload: pattern(100) }),
      tcp.client("PA", { payload: pattern(100) }),
    ];
    const [first, end] = [tcp.clientNext - 300, tcp.clientNext];
    return [
      ...before,
      tcp.server("A", { acknowledgement: first, options: sack(first + 100, first + 200) }),
      tcp.server("A", { acknowledgement: first, options: sack(first + 100, first + 200, first + 250, end) }),
      free(tcp.server("A", { acknowledgement: first, options: sack(end, end + 100_000) })),
      free(tcp.server("A", { acknowledgement: first, options: sack(1, 2) })),
      tcp.server("A"),
    ];
  }),
  talk("selective acknowledgement that nobody agreed to", (tcp) => {
    const before = [...tcp.handshake(), tcp.client("PA", { payload: pattern(100) })];
    return [
      ...before,
      free(tcp.server("A", { options: sack(tcp.clientNext + 500_000, tcp.clientNext + 600_000) })),
      tcp.server("A"),
    ];
  }),
  talk("timestamps go through as they are", (tcp) => [
    tcp.client("S", { options: concat(MSS, timestamps(1, 0)) }),
    tcp.server("SA", { options: concat(MSS, timestamps(100, 1)) }),
    tcp.client("A", { options: timestamps(2, 100) }),
    tcp.client("PA", { options: timestamps(3, 100), payload: pattern(20) }),
    tcp.server("A", { options: timestamps(101, 3) }),
  ]),
  talk("options that cannot be read", (tcp) => [
    tcp.client("S", { options: Uint8Array.of(3, 0, 0, 0) }),
    tcp.server("SA", { options: Uint8Array.of(3, 9, 7, 0) }),
    tcp.client("A", { options: Uint8Array.of(5, 200, 0, 0) }),
    tcp.client("A", { options: Uint8Array.of(0, 0, 0, 0) }),
  ]),
  talk("numbers that wrap", (tcp) => {
    tcp.clientNext = 0xffff_fff0;
    tcp.serverNext = 0xffff_fffe;
    const next = (value: number) => value >>> 0;
    const wrap = (step: () => Step): Step => {
      const made = step();
      tcp.clientNext = next(tcp.clientNext);
      tcp.serverNext = next(tcp.serverNext);
      return made;
    };
    return [
      wrap(() => tcp.client("S")),
      wrap(() => tcp.server("SA")),
      wrap(() => tcp.client("A")),
      wrap(() => tcp.client("PA", { payload: pattern(100) })),
      wrap(() => tcp.server("PA", { payload: pattern(100) })),
      wrap(() => tcp.client("A")),
    ];
  }),
  talk("urgent data", (tcp) => [
    ...tcp.handshake(),
    tcp.client("UPA", { payload: pattern(3), change: (packet) => packet }),
    tcp.server("UA", { payload: u16(7) }),
  ]),
  talk("a connection met in the middle is tracked from there", (tcp) => [
    tcp.client("A"),
    tcp.server("A"),
    tcp.client("PA", { payload: pattern(100) }),
    tcp.server("A"),
    free(tcp.server("A", { sequence: 900_000 })),
    tcp.client("FA"),
    tcp.server("FA"),
    tcp.client("A"),
  ]),
  talk("a connection met in the middle, far off its windows", (tcp) => [
    tcp.client("PA", { payload: pattern(100) }),
    tcp.server("A"),
    free(tcp.client("PA", { sequence: 900_000, payload: pattern(100) })),
    free(tcp.client("R", { sequence: 100 })),
  ]),
  ...EDGES,
]);
