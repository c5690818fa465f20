/** Events of flows: what frames make of them, what the ring does when it is full, and how flows are ended on demand. */
import { describe, expect, it } from "vitest";
import { FlowEventReader, FlowEventWriter, ringBytes } from "../../src/conntrack/events.ts";
import { parseFilter } from "../../src/conntrack/filter.ts";
import { formatEvent, viewEvent } from "../../src/conntrack/format.ts";
import { viewRemoved } from "../../src/control/flows.ts";
import { removeMatching } from "../../src/dataplane/end_flows.ts";
import { checkInvariants } from "../../src/dataplane/invariants.ts";
import { echoReply, echoRequest, tcp, udp } from "../support/frames.ts";
import { TestRouter } from "../support/router.ts";

const C1 = "10.55.66.2";
const SERVER = "203.0.113.2";
const UPLINK = "203.0.113.1";
const out = { source: C1, destination: SERVER };
const back = { source: SERVER, destination: UPLINK };

function listening(capacity = 64): { r: TestRouter; reader: FlowEventReader; lines: () => string[] } {
  const r = new TestRouter();
  r.introduce();
  const memory = new ArrayBuffer(ringBytes(capacity));
  r.router.flows.events = new FlowEventWriter(memory, capacity);
  const reader = new FlowEventReader(memory, capacity);
  return { r, reader, lines: () => [...reader.read(1000)].map((event) => formatEvent(viewEvent(event))) };
}

const PING = `icmp     1 30 src=${C1} dst=${SERVER} type=8 code=0 id=7`;
const PONG = `src=${SERVER} dst=${UPLINK} type=0 code=0 id=7`;
const TCP = `src=${C1} dst=${SERVER} sport=40000 dport=80`;
const TCP_REPLY = `src=${SERVER} dst=${UPLINK} sport=80 dport=40000`;

// As conntrack 1.4.7 prints them.
describe("events", () => {
  it("of a ping: begun, answered once, over with its counters and no time left", () => {
    const { r, lines } = listening();
    r.fromC1(echoRequest(out, 7, 1));
    r.fromServer(echoReply(back, 7, 1));
    r.fromC1(echoRequest(out, 7, 2));
    r.fromServer(echoReply(back, 7, 2));
    expect(lines()).toEqual([`    [NEW] ${PING} [UNREPLIED] ${PONG}`, ` [UPDATE] ${PING} ${PONG}`]);
    r.advance(31_000);
    const [ended, ...others] = lines();
    expect(others).toEqual([]);
    expect(ended).toMatch(
      new RegExp(
        `^\\[DESTROY\\] icmp     1 src=${C1} dst=${SERVER} type=8 code=0 id=7 packets=2 bytes=\\d+ ` +
          `${PONG} packets=2 bytes=\\d+$`,
      ),
    );
  });

  it("of a connection: each state once, and nothing for its data", () => {
    const { r, lines } = listening();
    r.fromC1(tcp(out, 40000, 80, { flags: "S", sequence: 1 }));
    r.fromServer(tcp(back, 80, 40000, { flags: "SA", sequence: 1, acknowledgement: 2 }));
    for (let i = 0; i < 5; i++) r.fromC1(tcp(out, 40000, 80, { flags: "A", sequence: 2, acknowledgement: 2 }));
    expect(lines()).toEqual([
      `    [NEW] tcp      6 120 SYN_SENT ${TCP} [UNREPLIED] ${TCP_REPLY}`,
      ` [UPDATE] tcp      6 60 SYN_RECV ${TCP} ${TCP_REPLY}`,
      ` [UPDATE] tcp      6 432000 ESTABLISHED ${TCP} ${TCP_REPLY} [ASSURED]`,
    ]);
  });

  it("of a stream of datagrams: answered, then assured", () => {
    const { r, lines } = listening();
    r.fromC1(udp(out, 4000, 9));
    r.fromServer(udp(back, 9, 4000));
    r.advance(2_500);
    r.fromC1(udp(out, 4000, 9));
    r.fromC1(udp(out, 4000, 9));
    const tuples = `src=${C1} dst=${SERVER} sport=4000 dport=9`;
    const reply = `src=${SERVER} dst=${UPLINK} sport=9 dport=4000`;
    expect(lines()).toEqual([
      `    [NEW] udp      17 30 ${tuples} [UNREPLIED] ${reply}`,
      ` [UPDATE] udp      17 30 ${tuples} ${reply}`,
      ` [UPDATE] udp      17 120 ${tuples} ${reply} [ASSURED]`,
    ]);
  });

  it("are counted when the ring is full, and told again once there is room", () => {
    const { r, reader, lines } = listening(4);
    for (let port = 1; port <= 7; port++) r.fromC1(udp(out, port, 9));
    expect(lines()).toHaveLength(4);
    expect([reader.takeLost(), reader.takeLost()]).toEqual([3, 0]);
    r.fromC1(udp(out, 100, 9));
    expect(lines()).toEqual([expect.stringContaining("sport=100")]);
    expect(reader.takeLost()).toBe(0);
  });

  it("are told over the wrap of the ring's counters, and forgotten by a reset", () => {
    const capacity = 4;
    const memory = new ArrayBuffer(ringBytes(capacity));
    const words = new Int32Array(memory);
    words[0] = 0x7ffffffe;
    const reader = new FlowEventReader(memory, capacity);
    reader.reset();
    const writer = new FlowEventWriter(memory, capacity);
    for (let i = 0; i < 4; i++) writer.record(1, new Int32Array(32).fill(i), 0, i);
    expect([...reader.read(3)].map(({ now }) => now)).toEqual([0, 1, 2]);
    reader.reset();
    expect([...reader.read(3)]).toEqual([]);
  });
});

describe("flows ended on demand", () => {
  const filter = parseFilter({ proto: "udp", dport: "9" });

  it("are those of the filter, with their counters, each told of", () => {
    const { r, lines } = listening();
    r.fromC1(udp(out, 4000, 9));
    r.fromC1(udp(out, 4001, 10));
    r.fromC1(echoRequest(out, 7, 1));
    lines();
    const removed = removeMatching(r.router.flows, filter, 0, r.now);
    expect(removed).toMatchObject({ next: -1, removed: 1 });
    expect(viewRemoved(removed)).toMatchObject([
      { protocol: "udp", original: { sourcePort: 4000, destinationPort: 9, packets: 1 }, seenReply: false },
    ]);
    expect(lines()).toEqual([expect.stringMatching(/^\[DESTROY\] udp .*sport=4000 dport=9 packets=1 /)]);
    expect(r.router.flows.count).toBe(2);
    expect(checkInvariants(r.router).violations).toEqual([]);
  });

  it("go in bounded pieces, and all of them", () => {
    const { r } = listening();
    for (let port = 1; port <= 600; port++) r.fromC1(udp(out, port, 9));
    const pieces: number[] = [];
    for (let from = 0; from >= 0; ) {
      const piece = removeMatching(r.router.flows, filter, from, r.now, false);
      expect(piece.flows).toBe("");
      pieces.push(piece.removed);
      from = piece.next;
    }
    expect(pieces).toEqual([256, 256, 88]);
    expect(r.router.flows.count).toBe(0);
  });

  it("are not those that have expired: the sweep ends them", () => {
    const { r } = listening();
    r.fromC1(udp(out, 4000, 9));
    expect(removeMatching(r.router.flows, filter, 0, (r.now + 31_000) | 0).removed).toBe(0);
  });
});
