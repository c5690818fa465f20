/**
 * L0: the whole pipeline in memory, with no device and no system call. Frames of known flows, chosen at random, are
 * written into slots, taken through the router in bursts (bridge, conntrack, filter verdict, MASQUERADE, MACs, TTL)
 * and freed. What it costs to write the frames is measured by itself and taken off.
 *
 *     node dist/bench/pipeline_memory.js [flows ...]
 */
import { pathToFileURL } from "node:url";
import { FlowTable } from "../src/conntrack/flow_table.ts";
import { Loop } from "../src/dataplane/loop.ts";
import { DEFAULT_CONNTRACK, type RouterPlan } from "../src/dataplane/plan.ts";
import { Router } from "../src/dataplane/router.ts";
import { type Chain, emptyRuleSet, type RuleSet, RuleState, type TableName } from "../src/filter/rule_set.ts";
import { native } from "../src/io/native.ts";
import type { FrameIo } from "../src/io/port.ts";
import { Arena, SLOT_BYTES } from "../src/packet/arena.ts";
import { pseudoHeaderSum } from "../src/packet/checksum.ts";
import { writeHeader } from "../src/packet/ipv4.ts";

const BURST = 64;
const ROUNDS = 16;
const SLOTS = 256;
const WORDS_PER_FRAME = 18;
const FRAME_BYTES = 60;
const GATEWAY = 0x0a374201;
const UPLINK = 0xcb007101 | 0;
const SERVER = 0xcb007102 | 0;

export interface PipelineResult {
  flows: number;
  packetsPerSecond: number;
  nanosecondsPerPacket: number;
  /** What the harness itself took for each packet, not contained in the above. */
  harnessNanoseconds: number;
  /** New flows per second, measured while the table was filled. */
  newFlowsPerSecond: number;
  bytesPerFlow: number;
}

function rulesOfLab(): RuleSet {
  const rules = emptyRuleSet();
  const chainOf = (table: TableName, name: string): Chain =>
    rules[table].chains.find((chain) => chain.name === name) as Chain;
  const states = { is: RuleState.ESTABLISHED | RuleState.RELATED };
  Object.assign(chainOf("filter", "FORWARD"), {
    policy: "DROP",
    rules: [
      { in: { is: ["lab"] }, out: { is: ["wan"] }, matches: [], target: { kind: "ACCEPT" } },
      {
        in: { is: ["wan"] },
        out: { is: ["lab"] },
        matches: [{ kind: "conntrack", states }],
        target: { kind: "ACCEPT" },
      },
    ],
  });
  const lab = { first: 0x0a000000, last: 0x0affffff };
  chainOf("nat", "POSTROUTING").rules = [
    { source: { is: [lab] }, out: { is: ["wan"] }, matches: [], target: { kind: "MASQUERADE" } },
  ];
  return rules;
}

function plan(): RouterPlan {
  return {
    interfaces: [
      {
        index: 0,
        name: "lab",
        kind: "network",
        address: GATEWAY,
        prefixLength: 8,
        mac: "02:00:00:00:01:01",
        mtu: 1500,
      },
      { index: 1, name: "wan", kind: "uplink", address: UPLINK, prefixLength: 24, mac: "02:00:00:00:02:01", mtu: 1500 },
    ],
    ports: [
      { index: 0, name: "c1", interface: 0 },
      { index: 1, name: "wan", interface: 1 },
    ],
    routes: [{ to: { address: 0, length: 0 }, nextHops: [{ interface: 1, via: SERVER }] }],
    rules: rulesOfLab(),
    conntrack: { ...DEFAULT_CONNTRACK },
    macAgeingSeconds: 300,
    merging: { segments: true, datagrams: true },
  };
}

/** Hands the router bursts of frames of the flows in `order`, one after the other; sends nothing. */
class Source implements FrameIo {
  readonly receivedSlot = new Int32Array(BURST);
  readonly receivedPort = new Int32Array(BURST);
  readonly transmitSlot = new Int32Array(BURST * 16);
  readonly transmitPort = new Int32Array(BURST * 16);
  readonly transmitOffset = new Int32Array(BURST * 16);
  order: Int32Array<ArrayBufferLike> = new Int32Array(0);
  position = 0;
  transmitted = 0;
  private readonly arena: Arena;
  private readonly frames: Int32Array;

  constructor(arena: Arena, frames: Int32Array) {
    this.arena = arena;
    this.frames = frames;
  }

  receive(max: number): number {
    const left = this.order.length - this.position;
    const count = max < left ? max : left;
    const { words, slotLength } = this.arena;
    for (let i = 0; i < count; i++) {
      const slot = this.arena.take();
      const to = (slot * SLOT_BYTES) >> 2;
      const from = this.order[this.position++] * WORDS_PER_FRAME;
      for (let word = 0; word < WORDS_PER_FRAME; word++) words[to + word] = this.frames[from + word];
      slotLength[slot] = FRAME_BYTES;
      this.receivedSlot[i] = slot;
      this.receivedPort[i] = 0;
    }
    return count;
  }

  transmit(count: number): number {
    this.transmitted += count;
    return count;
  }
}

/** Frames as a container's kernel hands them over: vnet header with NEEDS_CSUM, Ethernet, IPv4, UDP. */
function buildFrames(flows: number): Int32Array {
  const words = new Int32Array(flows * WORDS_PER_FRAME);
  const memory = new DataView(words.buffer);
  for (let flow = 0; flow < flows; flow++) {
    const at = flow * WORDS_PER_FRAME * 4 + 10;
    const source = 0x0a400000 + (flow >>> 14);
    memory.setUint8(at - 10, 1);
    memory.setUint16(at - 4, 34, true);
    memory.setUint16(at - 2, 6, true);
    memory.setInt32(at, 0x02000000);
    memory.setInt32(at + 4, 0x01010200);
    memory.setInt32(at + 8, 0x00000002);
    memory.setUint16(at + 12, 0x0800);
    writeHeader(memory, at + 14, 0, FRAME_BYTES - 14, flow & 0xffff, 0x4000, 64, 17, source, SERVER);
    memory.setUint16(at + 34, 1024 + (flow & 0x3fff));
    // One destination port for each group of source ports: an address has 64 512 of them towards each peer.
    memory.setUint16(at + 36, 9 + (flow >>> 14));
    memory.setUint16(at + 38, FRAME_BYTES - 34);
    memory.setUint16(at + 40, pseudoHeaderSum(source, SERVER, 17, FRAME_BYTES - 34));
  }
  return words;
}

function randomOrder(flows: number, count: number): Int32Array {
  const order = new Int32Array(count);
  let state = 0x12345678;
  for (let i = 0; i < count; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    order[i] = (state >>> 0) % flows;
  }
  return order;
}

const seconds = (since: bigint): number => Number(process.hrtime.bigint() - since) / 1e9;

/** Runs all of `order` through the router; returns seconds. */
function runAll(source: Source, order: Int32Array<ArrayBufferLike>, step: () => void): number {
  source.order = order;
  source.position = 0;
  const start = process.hrtime.bigint();
  while (source.position < order.length) step();
  return seconds(start);
}

/** Nanoseconds a packet of each of `ROUNDS` parts of `order`; the first parts warm up and do not count. */
function rounds(source: Source, order: Int32Array, step: () => void): number[] {
  const length = order.length / ROUNDS;
  const taken: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const part = order.subarray(round * length, (round + 1) * length);
    taken.push((runAll(source, part, step) / length) * 1e9);
  }
  return taken.slice(2);
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

/** `prepare` may change the router before anything is measured. */
export function benchmarkPipeline(
  flows: number,
  packets = 4_000_000,
  prepare: (router: Router) => void = () => {},
): PipelineResult {
  const arena = new Arena(native().allocateMemory(SLOTS * SLOT_BYTES), SLOTS);
  const source = new Source(arena, buildFrames(flows));
  const capacity = Math.max(2048, flows + (flows >> 3));
  const memoryBytes = FlowTable.bytesFor(capacity);
  let state = 99;
  const router = new Router({
    arena,
    io: source,
    plan: plan(),
    limits: { flows: capacity, macs: 1024, neighbours: 1024 },
    random: () => {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      return state;
    },
    now: 1,
    portLimit: 16,
    flowMemory: native().allocateMemory(memoryBytes),
  });
  router.addPort({ index: 0, name: "c1", interface: 0 });
  router.addPort({ index: 1, name: "wan", interface: 1 });
  const server = router.neighbours.obtain(1, SERVER, 1);
  router.neighbours.confirm(server, 0x0200, 0x99, 1);
  prepare(router);
  const loop = new Loop(router, () => 1);
  const turn = (): void => {
    loop.turn(0);
  };

  const filled = runAll(
    source,
    Int32Array.from({ length: flows }, (_, flow) => flow),
    turn,
  );
  if (router.flows.count !== flows) throw new Error(`${router.flows.count} flows instead of ${flows}`);
  const order = randomOrder(flows, packets);
  source.transmitted = 0;
  const took = median(rounds(source, order, turn));
  if (source.transmitted !== packets) throw new Error(`${source.transmitted} of ${packets} frames came out`);

  const harness = (): void => {
    const count = source.receive(BURST);
    for (let i = 0; i < count; i++) arena.adopt(source.receivedSlot[i]);
    for (let i = 0; i < count; i++) arena.release(source.receivedSlot[i]);
  };
  const spent = median(rounds(source, order, harness));
  const nanoseconds = took - spent;
  return {
    flows,
    packetsPerSecond: 1e9 / nanoseconds,
    nanosecondsPerPacket: nanoseconds,
    harnessNanoseconds: spent,
    newFlowsPerSecond: flows / filled,
    bytesPerFlow: memoryBytes / capacity,
  };
}

/** Of `runs` runs in this process the fastest figures. */
export function bestPipeline(flows: number, runs: number): PipelineResult {
  let best = benchmarkPipeline(flows);
  for (let run = 1; run < runs; run++) {
    const next = benchmarkPipeline(flows);
    const newFlowsPerSecond = Math.max(best.newFlowsPerSecond, next.newFlowsPerSecond);
    best = { ...(next.nanosecondsPerPacket < best.nanosecondsPerPacket ? next : best), newFlowsPerSecond };
  }
  return best;
}

function main(): void {
  const wanted = process.argv.slice(2).map(Number);
  console.log("     flows      Mpps  ns/packet  harness ns  new flows/s  bytes/flow");
  for (const flows of wanted.length > 0 ? wanted : [1_000, 100_000, 1_000_000]) {
    const result = benchmarkPipeline(flows);
    console.log(
      [
        String(result.flows).padStart(10),
        (result.packetsPerSecond / 1e6).toFixed(2).padStart(9),
        result.nanosecondsPerPacket.toFixed(1).padStart(10),
        result.harnessNanoseconds.toFixed(1).padStart(11),
        Math.round(result.newFlowsPerSecond).toString().padStart(12),
        result.bytesPerFlow.toFixed(0).padStart(11),
      ].join(" "),
    );
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) main();
