/** What is noted of bursts: their sizes, how long the router had them, and, while somebody watches, their stages. */
import { describe, expect, it } from "vitest";
import { Counters, STAGE_NAMES, Stage } from "../../src/dataplane/counters.ts";
import { HISTOGRAM_WORDS, Histogram } from "../../src/dataplane/histogram.ts";
import { Loop } from "../../src/dataplane/loop.ts";
import { StageTimer } from "../../src/dataplane/stage_timer.ts";
import { ethernet, udp } from "../support/frames.ts";
import { C1_MAC, GATEWAY_MAC, Port, TestRouter } from "../support/router.ts";

const PACKET = udp({ source: "10.55.66.2", destination: "203.0.113.2" }, 5000, 53, new Uint8Array(8));
const FRAME = ethernet(GATEWAY_MAC, C1_MAC, 0x0800, PACKET);

function inject(r: TestRouter, frames: number): void {
  for (let i = 0; i < frames; i++) r.io.inject(Port.C1, FRAME);
}

describe("a histogram", () => {
  it("has a bucket for each power of two, which holds values up to it", () => {
    for (const [value, bucket] of [
      [0, 0],
      [1, 0],
      [2, 1],
      [3, 2],
      [4, 2],
      [5, 3],
      [64, 6],
      [65, 7],
      [1_000_000, 20],
      [2 ** 30, 30],
      [2 ** 30 + 1, 31],
      [2 ** 31 - 1, 31],
    ]) {
      const histogram = new Histogram(new Float64Array(HISTOGRAM_WORDS));
      histogram.record(value);
      expect([value, histogram.buckets.indexOf(1)]).toEqual([value, bucket]);
      expect([histogram.sum, histogram.count]).toEqual([value, 1]);
    }
  });

  it("lies beside the counters, and overlaps nothing", () => {
    const counters = new Counters();
    counters.values.fill(1);
    counters.stops.fill(1);
    expect([counters.burstFrames.count, counters.burstNanoseconds.count]).toEqual([0, 0]);
    counters.burstFrames.record(2 ** 31 - 1);
    expect([counters.burstNanoseconds.count, counters.stages[0]]).toEqual([0, 0]);
    counters.burstNanoseconds.record(7);
    expect([counters.burstFrames.count, counters.burstNanoseconds.sum, counters.stages[0]]).toEqual([1, 7, 0]);
  });
});

describe("a burst", () => {
  it("is noted once, with its frames, and how long the router had it when the next is asked for", () => {
    const r = new TestRouter();
    let busy = 0;
    const loop = new Loop(
      r.router,
      () => r.now,
      () => 0,
      () => busy,
    );
    const { burstFrames, burstNanoseconds } = r.router.counters;
    inject(r, 5);
    loop.turn(0);
    expect([burstFrames.count, burstFrames.sum, burstFrames.buckets[3]]).toEqual([1, 5, 1]);
    expect(burstNanoseconds.count).toBe(0);
    busy = 3000;
    loop.turn(0);
    expect([burstNanoseconds.count, burstNanoseconds.sum, burstNanoseconds.buckets[12]]).toEqual([1, 3000, 1]);
    busy = 99;
    loop.turn(0);
    expect([burstFrames.count, burstNanoseconds.count]).toEqual([1, 1]);
  });
});

describe("stages", () => {
  /** A clock that goes on by 1 us whenever it is asked. */
  const ticking = (): (() => number) => {
    let now = 0;
    return () => {
      now += 0.001;
      return now;
    };
  };

  it("are timed by what the clock says, for the frames of the burst", () => {
    const r = new TestRouter();
    r.introduce();
    inject(r, 4);
    const timer = new StageTimer(r.router, 1, 1000, ticking());
    expect(timer.receive(r.io, 64, 0)).toBe(4);
    timer.runPasses(4);
    timer.note("depart");
    const { stages } = r.router.counters;
    for (const name of ["receive", "arrive", "lookUp", "depart"] as const) {
      expect([name, Math.round(stages[2 * Stage[name]]), stages[2 * Stage[name] + 1]]).toEqual([name, 1000, 4]);
    }
    expect(stages[2 * Stage.transmit + 1]).toBe(0);
  });

  it("are not timed where nothing came, nor is the wait for it", () => {
    const r = new TestRouter();
    const timer = new StageTimer(r.router, 1, 1000, ticking());
    expect(timer.receive(r.io, 64, 0)).toBe(0);
    timer.note("housekeeping");
    expect(r.router.counters.stages.every((each) => each === 0)).toBe(true);
  });

  it("are timed for one burst in so many, until nobody watches any more; the frames go the same way", () => {
    const r = new TestRouter();
    r.introduce();
    const { stages } = r.router.counters;
    const timed = () => stages[2 * Stage.transmit + 1];
    inject(r, 1);
    expect(r.turn().map(({ port }) => port)).toEqual([Port.WAN]);
    expect(timed()).toBe(0);
    r.loop.timeStages(3, 1000);
    for (const expected of [2, 2, 2, 4, 4, 4, 6]) {
      inject(r, 2);
      // Two datagrams of one flow leave as one frame.
      expect(r.turn().map(({ port }) => port)).toEqual([Port.WAN]);
      expect(timed()).toBe(expected);
    }
    for (const name of STAGE_NAMES) expect([name, stages[2 * Stage[name] + 1]]).toEqual([name, 6]);
    r.now += 1000;
    for (let i = 0; i < 9; i++) {
      inject(r, 1);
      r.turn();
    }
    // The timed burst that finds the time over is the last one.
    expect(timed()).toBe(7);
  });
});
