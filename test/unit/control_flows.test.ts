/** Flows as the control process reads and prints them. */
import { Worker } from "node:worker_threads";
import { describe, expect, it, onTestFinished } from "vitest";
import { FLOW_WORDS, FlowFlag, FlowWord, HeaderWord } from "../../src/conntrack/flow_layout.ts";
import { type FlowId, FlowTable } from "../../src/conntrack/flow_table.ts";
import { type FlowView, formatFlow, viewFlow } from "../../src/conntrack/format.ts";
import { TcpState } from "../../src/conntrack/tcp_states.ts";
import { FlowReader } from "../../src/control/flows.ts";

const C1 = 0x0a374202;
const SERVER = 0xcb007102 | 0;
const UPLINK = 0xcb007101 | 0;
const NOW = 1_000_000;

interface Made {
  protocol: number;
  ports?: number;
  replyPorts?: number;
  state?: number;
  flags?: number;
  seconds?: number;
}

function words({ protocol, ports = 0, replyPorts = 0, state = 0, flags = 0, seconds = 30 }: Made): Int32Array {
  const flow = new Int32Array(FLOW_WORDS);
  flow.set([C1, SERVER, ports, SERVER, UPLINK, replyPorts]);
  flow[FlowWord.STATUS] = protocol | (state << 8) | FlowFlag.CONFIRMED | flags;
  flow[FlowWord.DEADLINE] = (NOW + seconds * 1000) | 0;
  flow[FlowWord.PACKETS] = 1;
  flow[FlowWord.BYTES] = 84;
  return flow;
}

const line = (made: Made): string => formatFlow(viewFlow(words(made), 0, NOW));

const SEEN = FlowFlag.SEEN_REPLY;

// What conntrack 1.4.7 prints for such flows with nf_conntrack_acct on.
describe("a flow's line", () => {
  it.each<[string, Made, string]>([
    [
      "tcp",
      {
        protocol: 6,
        ports: (40000 << 16) | 80,
        replyPorts: (80 << 16) | 40000,
        state: TcpState.ESTABLISHED,
        flags: SEEN | FlowFlag.ASSURED,
        seconds: 431999,
      },
      "tcp      6 431999 ESTABLISHED src=10.55.66.2 dst=203.0.113.2 sport=40000 dport=80 packets=1 bytes=84 " +
        "src=203.0.113.2 dst=203.0.113.1 sport=80 dport=40000 packets=0 bytes=0 [ASSURED] mark=0 use=1",
    ],
    [
      "udp without an answer",
      { protocol: 17, ports: (4000 << 16) | 9, replyPorts: (9 << 16) | 4000, seconds: 29 },
      "udp      17 29 src=10.55.66.2 dst=203.0.113.2 sport=4000 dport=9 packets=1 bytes=84 [UNREPLIED] " +
        "src=203.0.113.2 dst=203.0.113.1 sport=9 dport=4000 packets=0 bytes=0 mark=0 use=1",
    ],
    [
      "icmp",
      { protocol: 1, ports: (27488 << 16) | (8 << 8), replyPorts: 27488 << 16, flags: SEEN, seconds: 29 },
      "icmp     1 29 src=10.55.66.2 dst=203.0.113.2 type=8 code=0 id=27488 packets=1 bytes=84 " +
        "src=203.0.113.2 dst=203.0.113.1 type=0 code=0 id=27488 packets=0 bytes=0 mark=0 use=1",
    ],
    [
      "gre",
      { protocol: 47 },
      "gre      47 30 src=10.55.66.2 dst=203.0.113.2 srckey=0x0 dstkey=0x0 packets=1 bytes=84 [UNREPLIED] " +
        "src=203.0.113.2 dst=203.0.113.1 srckey=0x0 dstkey=0x0 packets=0 bytes=0 mark=0 use=1",
    ],
    [
      "dccp",
      { protocol: 33 },
      "dccp     33 30 src=10.55.66.2 dst=203.0.113.2 sport=0 dport=0 packets=1 bytes=84 [UNREPLIED] " +
        "src=203.0.113.2 dst=203.0.113.1 sport=0 dport=0 packets=0 bytes=0 mark=0 use=1",
    ],
    [
      "an unknown protocol",
      { protocol: 89, seconds: 599 },
      "unknown  89 599 src=10.55.66.2 dst=203.0.113.2 packets=1 bytes=84 [UNREPLIED] " +
        "src=203.0.113.2 dst=203.0.113.1 packets=0 bytes=0 mark=0 use=1",
    ],
  ])("of %s", (_, made, expected) => {
    expect(line(made)).toBe(expected);
  });

  it("has ports and ICMP identifiers above 32767, marks and counters above 32 bits", () => {
    const flow = words({ protocol: 17, ports: (65535 << 16) | 65534, replyPorts: (65534 << 16) | 65535 });
    flow[FlowWord.MARK] = -1;
    flow[FlowWord.BYTES] = -1;
    flow[FlowWord.COUNTERS_HIGH] = (2 << 16) | 3;
    const view = viewFlow(flow, 0, NOW);
    expect(view.original).toMatchObject({
      sourcePort: 65535,
      destinationPort: 65534,
      packets: 2 * 2 ** 32 + 1,
      bytes: 4 * 2 ** 32 - 1,
    });
    expect(view.mark).toBe(2 ** 32 - 1);
  });

  it("counts down over the wrap of the clock, and not below zero", () => {
    const flow = words({ protocol: 17 });
    flow[FlowWord.DEADLINE] = (0x7fffffff + 5000) | 0;
    expect(viewFlow(flow, 0, 0x7fffffff).secondsLeft).toBe(5);
    expect(viewFlow(flow, 0, (0x7fffffff + 6000) | 0).secondsLeft).toBe(0);
  });
});

function table(capacity: number): { memory: ArrayBuffer; flows: FlowTable; reader: FlowReader } {
  const memory = new ArrayBuffer(FlowTable.bytesFor(capacity));
  const flows = new FlowTable(memory, capacity, 1);
  flows.header[HeaderWord.NOW] = NOW;
  return { memory, flows, reader: new FlowReader(memory, capacity) };
}

function add(flows: FlowTable, number: number, seconds: number): FlowId {
  const flow = flows.allocate();
  const ports = (number << 16) | 80;
  const made = words({ protocol: 17, ports, replyPorts: (80 << 16) | number, seconds });
  flows.words.set(made, flow * FLOW_WORDS);
  flows.insert(flow);
  return flow;
}

const sourcePorts = (reader: FlowReader): (number | undefined)[] =>
  [...reader.flows()].map((flow: FlowView) => flow.original.sourcePort);

describe("the reader of the flow table", () => {
  it("shows the flows in use that have not expired", () => {
    const { flows, reader } = table(16);
    expect([...reader.flows()]).toEqual([]);
    const second = [1, 2, 3].map((number) => add(flows, number, 30))[1];
    add(flows, 4, 0);
    add(flows, 5, -10);
    expect(sourcePorts(reader)).toEqual([1, 2, 3]);
    flows.remove(second);
    expect(sourcePorts(reader)).toEqual([1, 3]);
    expect(reader.count).toBe(4);
    add(flows, 6, 30);
    expect(sourcePorts(reader)).toEqual([1, 6, 3]);
  });

  it("never mixes two flows while the dataplane goes on", async () => {
    const capacity = 64;
    const shared = new SharedArrayBuffer(FlowTable.bytesFor(capacity));
    const header = new Int32Array(shared, 0, HeaderWord.WORDS);
    header[HeaderWord.HIGH_WATER] = capacity;
    header[HeaderWord.NOW] = NOW;
    // Each entry becomes one flow after the other; all words of a flow's tuples follow from its number.
    const worker = new Worker(
      `const { workerData } = require("node:worker_threads");
       const { shared, capacity, W, S, C, D, now } = workerData;
       const words = new Int32Array(shared, 64, capacity * W);
       const stop = new Int32Array(shared, 60, 1);
       for (let number = 1; Atomics.load(stop, 0) === 0; number = (number + 1) & 0xffff) {
         const base = (number % capacity) * W;
         words[base + S] = 0;
         words[base] = -1;
         for (let word = 0; word < 6; word++) words[base + word] = number;
         words[base + D] = now + 30000;
         words[base + S] = 17 | C;
       }`,
      {
        eval: true,
        workerData: {
          shared,
          capacity,
          W: FLOW_WORDS,
          S: FlowWord.STATUS,
          C: FlowFlag.CONFIRMED,
          D: FlowWord.DEADLINE,
          now: NOW,
        },
      },
    );
    onTestFinished(async () => void (await worker.terminate()));
    await new Promise((resolve) => worker.once("online", resolve));
    const reader = new FlowReader(shared as unknown as ArrayBuffer, capacity);
    let seen = 0;
    let mixed = 0;
    while (seen < 300_000) {
      for (const { original, reply } of reader.flows()) {
        seen++;
        const same = original.source === reply.destination && original.destination === reply.source;
        if (!same || original.source !== original.destination) mixed++;
      }
    }
    Atomics.store(header, 15, 1);
    expect(mixed).toBe(0);
  });
});
