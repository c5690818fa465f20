/**
 * Adopting flows: random traffic through a random router, whose memory is copied at random moments, as a process leaves it
 * that is killed, and also with some of the stores of the last burst missing, or with nonsense in it. Another router goes
 * on with it: its books agree with its flows, and every flow that was whole has its binding still. (That packets of adopted
 * flows are translated as before is asked in `nat.test.ts`, where the router dies now and then.)
 */
import { describe, expect, it } from "vitest";
import {
  FLOW_LAYOUT_VERSION,
  FLOW_SHIFT,
  FLOW_WORDS,
  FlowFlag,
  FlowWord,
  HeaderWord,
} from "../../src/conntrack/flow_layout.ts";
import { Counter } from "../../src/dataplane/counters.ts";
import { checkInvariants } from "../../src/dataplane/invariants.ts";
import type { RouterPlan } from "../../src/dataplane/plan.ts";
import { ethernet, udp } from "../support/frames.ts";
import { type Below, randomFrame, randomPlan } from "../support/random_world.ts";
import { C1_MAC, defaultPlan, GATEWAY_MAC, type Out, Port, seededRandom, TestRouter } from "../support/router.ts";
import { SEEDS } from "../support/seeds.ts";

const FLOWS = 128;
const LIMITS = { flows: FLOWS, macs: 16, neighbours: 16, routes: 16 };
const BURSTS = 120;
/** Frames that may be held; memory for more costs more time than all else here. */
const SLOTS = 8;
const HEADER = HeaderWord.WORDS;

/** Tuples, mark and time of creation of the flows in a table's memory, by entry. */
function flowsIn(memory: ArrayBuffer): Map<number, string> {
  const words = new Int32Array(memory, HEADER * 4);
  const flows = new Map<number, string>();
  for (let flow = 0; flow < FLOWS; flow++) {
    const base = flow << FLOW_SHIFT;
    if ((words[base + FlowWord.STATUS] & FlowFlag.CONFIRMED) === 0) continue;
    const kept = [words[base + FlowWord.STATUS] & 0xff, words[base + FlowWord.MARK], words[base + FlowWord.CREATED]];
    flows.set(flow, [...words.subarray(base, base + 6), ...kept].join());
  }
  return flows;
}

class Runs {
  readonly seen = { copies: 0, flows: 0, torn: 0 };
  readonly below: Below;
  private readonly plan: RouterPlan;
  private last: Out | undefined;
  private readonly router: TestRouter;

  constructor(seed: number) {
    const random = seededRandom(seed);
    this.below = (limit) => (random() >>> 0) % limit;
    this.plan = randomPlan(this.below);
    this.router = new TestRouter(this.plan, LIMITS, seed, 64);
    this.router.introduce();
  }

  run(): void {
    for (let burst = 0; burst < BURSTS; burst++) {
      const before = new Int32Array(this.router.flowMemory.slice(0));
      this.router.now += this.below(50);
      for (let frames = this.below(4); frames >= 0; frames--) {
        const { port, frame, vnet } = randomFrame(this.below, this.last);
        this.router.io.inject(port, frame, vnet);
      }
      this.last = this.router.turn().at(-1) ?? this.last;
      if (this.below(6) !== 0) continue;
      this.adoptWhole();
      this.adoptHalf(before);
      this.adoptNonsense();
    }
  }

  private heir(harm: (words: Int32Array) => void = () => {}): TestRouter {
    const heir = this.router.heir(this.plan, { limits: LIMITS, slots: SLOTS, harm });
    expect(checkInvariants(heir.router).violations).toEqual([]);
    this.seen.copies++;
    return heir;
  }

  private adoptWhole(): void {
    const flows = flowsIn(this.router.flowMemory);
    const heir = this.heir();
    expect(heir.adoption).toEqual({ kept: flows.size, torn: 0 });
    expect(flowsIn(heir.flowMemory)).toEqual(flows);
    this.seen.flows += flows.size;
  }

  /** Each word that the burst has written may have been written or not: more than a process could leave. */
  private adoptHalf(before: Int32Array): void {
    const flows = flowsIn(this.router.flowMemory);
    const touched = new Set<number>();
    const heir = this.heir((words) => {
      for (let at = 0; at < words.length; at++) {
        if (words[at] === before[at] || this.below(2) === 0) continue;
        words[at] = before[at];
        touched.add((at - HEADER) >> FLOW_SHIFT);
      }
      // Which is where the entries are; it is written before the first of them is.
      words[HeaderWord.HIGH_WATER] = Math.max(
        words[HeaderWord.HIGH_WATER],
        this.router.router.flows.header[HeaderWord.HIGH_WATER],
      );
    });
    this.expectUntouched(heir, flows, touched);
  }

  private adoptNonsense(): void {
    const flows = flowsIn(this.router.flowMemory);
    const touched = new Set<number>();
    const used = Math.max(1, this.router.router.flows.header[HeaderWord.HIGH_WATER]);
    const heir = this.heir((words) => {
      for (let times = this.below(24); times >= 0; times--) {
        const flow = this.below(used);
        words[HEADER + (flow << FLOW_SHIFT) + this.below(FLOW_WORDS)] ^= 1 << this.below(32);
        touched.add(flow);
      }
      words[HeaderWord.HIGH_WATER] = this.below(2) === 0 ? -this.below(1000) - 1 : FLOWS;
      words[HeaderWord.FREE] = this.below(1 << 30);
      words[HeaderWord.COUNT] = this.below(1 << 30);
    });
    this.expectUntouched(heir, flows, touched);
  }

  /** What nobody has harmed goes on, unless something harmed now has its tuple or port. */
  private expectUntouched(heir: TestRouter, flows: Map<number, string>, touched: Set<number>): void {
    const after = flowsIn(heir.flowMemory);
    const torn = heir.adoption?.torn ?? 0;
    this.seen.torn += torn;
    let lost = 0;
    for (const [flow, text] of flows) {
      if (touched.has(flow) || after.get(flow) === text) continue;
      expect(after.has(flow), `flow ${flow} has become another`).toBe(false);
      lost++;
    }
    expect(lost).toBeLessThanOrEqual(Math.min(torn, touched.size));
  }
}

describe("adopting the flows of a router that has ended", () => {
  it.each(SEEDS)("keeps every whole flow and no other (seed %i)", (seed) => {
    const seen = { copies: 0, flows: 0, torn: 0 };
    for (let world = 0; world < 3; world++) {
      const runs = new Runs(seed + world);
      runs.run();
      for (const key of ["copies", "flows", "torn"] as const) seen[key] += runs.seen[key];
    }
    expect(seen.flows).toBeGreaterThan(300);
    expect(seen.torn).toBeGreaterThan(20);
  });
});

/** One UDP flow through the default router; `harm` gets the words of the memory, and where the flow begins. */
function oneFlow(harm: (words: Int32Array, base: number) => void): TestRouter {
  const before = new TestRouter(defaultPlan(), {}, 1, 64);
  before.introduce();
  before.fromC1(udp({ source: "10.55.66.2", destination: "198.51.100.7" }, 4000, 53, new Uint8Array(10)));
  return before.heir(defaultPlan(), { slots: 64, harm: (words) => harm(words, HEADER) });
}

describe("a flow in memory that was left", () => {
  it("goes on from the same port and with its counters, once its neighbours are known again", () => {
    const heir = oneFlow(() => {});
    heir.introduce();
    const packet = udp({ source: "10.55.66.2", destination: "198.51.100.7" }, 4000, 53, new Uint8Array(10));
    const [out] = heir.send(Port.C1, ethernet(GATEWAY_MAC, C1_MAC, 0x0800, packet));
    expect(out).toMatchObject({ source: "203.0.113.1", sourcePort: 4000, port: Port.WAN });
    const { words, header } = heir.router.flows;
    expect([header[HeaderWord.COUNT], words[FlowWord.PACKETS], words[FlowWord.BYTES]]).toEqual([1, 2, 76]);
    expect(heir.router.counters.values[Counter.flowsAdopted]).toBe(1);
    expect(heir.router.counters.values[Counter.flowsCreated]).toBe(1);
  });

  it.each([
    ["another layout", HeaderWord.LAYOUT_VERSION, FLOW_LAYOUT_VERSION - 1, /layout is version/],
    ["another size", HeaderWord.CAPACITY, 77, /room for 77 flows/],
    ["the other profile of NAT", HeaderWord.PROFILE, 1, /other profile/],
  ])("is not adopted with %s", (_, word, value, refused) => {
    const { adoption, router } = oneFlow((words) => {
      words[word] = value;
    });
    expect(adoption).toMatchObject({ kept: 0, torn: 0, refused: expect.stringMatching(refused) });
    expect(router.flows.count).toBe(0);
    expect(checkInvariants(router).violations).toEqual([]);
  });

  it.each([
    ["a TCP state that its protocol does not have", FlowWord.STATUS, 3 << 8],
    ["a source that is translated without its flag", FlowWord.STATUS, FlowFlag.SOURCE_NAT],
    ["a destination that is translated without its flag", FlowWord.REPLY_SOURCE, 1],
    ["a published port without a translation", FlowWord.STATUS, FlowFlag.PUBLISHED],
    ["a deadline beyond all timeouts", FlowWord.DEADLINE, 1 << 30],
  ])("is dropped for %s", (_, word, bits) => {
    const { adoption, router } = oneFlow((words, base) => {
      words[base + word] ^= bits;
    });
    expect(adoption).toEqual({ kept: 0, torn: 1 });
    expect(router.counters.values[Counter.flowsTorn]).toBe(1);
  });

  it("has a counter that was being written when the process ended", () => {
    const { router } = oneFlow((words, base) => {
      words[base + FlowWord.BYTES] = 20;
      words[HeaderWord.CARRY_PACKETS] = 9;
      words[HeaderWord.CARRY_BYTES] = 20;
      words[HeaderWord.CARRY_HIGH] = 1;
      words[HeaderWord.CARRY_AT] = FlowWord.PACKETS + 1;
    });
    const { words } = router.flows;
    expect([...words.subarray(FlowWord.PACKETS, FlowWord.PACKETS + 3)]).toEqual([9, 20, 1]);
  });

  it("is dropped where a flow before it has its tuple", () => {
    const { adoption, router } = oneFlow((words, base) => {
      words.copyWithin(base + FLOW_WORDS, base, base + FLOW_WORDS);
      words[HeaderWord.HIGH_WATER] = 2;
    });
    expect(adoption).toEqual({ kept: 1, torn: 1 });
    expect(checkInvariants(router).violations).toEqual([]);
  });
});
