/** Impaired ports: exact departure times on a manual clock, chance by seed, and slots that come back. */
import { describe, expect, it } from "vitest";
import type { ImpairmentPlan } from "../../src/dataplane/plan.ts";
import { ethernet, udp } from "../support/frames.ts";
import { C1_MAC, C2_MAC, defaultPlan, GATEWAY_MAC, type Out, Port, TestRouter } from "../support/router.ts";

const NOTHING: ImpairmentPlan = {
  delay: 0,
  jitter: 0,
  distribution: "uniform",
  loss: 0,
  lossCorrelation: 0,
  duplicate: 0,
  corrupt: 0,
  reorder: 0,
  gap: 0,
  rate: 0,
  overheadBytes: 0,
  limit: 1000,
  seed: 7,
};

const MS = 1000;

type Where = { port?: number; in?: Partial<ImpairmentPlan>; out?: Partial<ImpairmentPlan> };

function planWith({ port = Port.C1, in: impairIn, out: impairOut }: Where) {
  const plan = defaultPlan();
  Object.assign(plan.ports.find(({ index }) => index === port) as object, {
    ...(impairIn === undefined ? {} : { impairIn: { ...NOTHING, ...impairIn } }),
    ...(impairOut === undefined ? {} : { impairOut: { ...NOTHING, ...impairOut } }),
  });
  return plan;
}

/** A router whose stations are known, so that frames between c1 and c2 are switched. */
function routerWith(where: Where, slots = 1200): TestRouter {
  const router = new TestRouter(defaultPlan(), {}, 1, slots);
  router.introduce();
  router.apply(planWith(where));
  return router;
}

/** A frame of `bytes` from c2 to c1 that carries a number. */
function numbered(number: number, bytes = 100, destination = C1_MAC): Uint8Array {
  const payload = new Uint8Array(bytes - 42);
  new DataView(payload.buffer).setUint32(0, number);
  return ethernet(destination, C2_MAC, 0x0800, udp({ source: "10.55.66.3", destination: "10.55.66.2" }, 7, 9, payload));
}

const numberOf = ({ bytes }: Out): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(42);

/** Lets the clock go on in steps and notes when each frame came out, in microseconds from now. */
function departures(
  router: TestRouter,
  microseconds: number,
  step = 50,
): { at: number; number: number; port: number }[] {
  const start = Math.round(router.now * 1000);
  const found: { at: number; number: number; port: number }[] = [];
  for (let at = 0; at <= microseconds; at += step) {
    router.now = (start + at) / 1000;
    for (const out of router.turn()) found.push({ at, number: numberOf(out), port: out.port });
  }
  return found;
}

/** How many bits two frames of one length differ in. */
function flippedBits(bytes: Uint8Array, other: Uint8Array): number {
  const bits = bytes.map((byte, index) => byte ^ other[index]);
  return bits.reduce((sum, byte) => sum + byte.toString(2).replaceAll("0", "").length, 0);
}

const counted = (router: TestRouter) => router.router.impairments.rows()[0];
const sendAll = (router: TestRouter, count: number, bytes?: number): void => {
  for (let number = 0; number < count; number++) router.io.inject(Port.C2, numbered(number, bytes));
};

describe("an impaired port", () => {
  it("holds each frame for its delay, to the microsecond of the clock", () => {
    const router = routerWith({ out: { delay: 20 * MS } });
    sendAll(router, 1);
    expect(departures(router, 30 * MS)).toEqual([{ at: 20 * MS, number: 0, port: Port.C1 }]);
    // The other direction, and other ports, go on as ever.
    const back = ethernet(C2_MAC, C1_MAC, 0x0800, udp({ source: "10.55.66.2", destination: "10.55.66.3" }, 9, 7));
    expect(router.send(Port.C1, back).map(({ port }) => port)).toEqual([Port.C2]);
  });

  it("holds what comes in, before the router has seen it", () => {
    const router = routerWith({ port: Port.C2, in: { delay: 5 * MS } });
    sendAll(router, 1);
    const before = router.stopped("switched");
    expect(departures(router, 4 * MS)).toEqual([]);
    expect(router.stopped("switched")).toBe(before);
    expect(departures(router, 2 * MS)).toEqual([{ at: 1 * MS, number: 0, port: Port.C1 }]);
    expect(router.stopped("switched")).toBe(before + 1);
  });

  it("lets the loop sleep no longer than until the next frame is due", () => {
    const router = routerWith({ out: { delay: 3250 } });
    const waits: number[] = [];
    const receive = router.io.receive.bind(router.io);
    router.io.receive = (max, timeoutMs) => {
      waits.push(timeoutMs);
      return receive(max, timeoutMs);
    };
    router.loop.turn();
    sendAll(router, 1);
    router.loop.turn();
    router.loop.turn();
    router.now += 3;
    router.loop.turn();
    router.loop.turn();
    expect(waits).toEqual([20, 20, 3.25, 3.25, 0.25]);
  });

  it("sends at its rate exactly, overhead included", () => {
    // 1250 bytes are 1 ms at 10 Mbit/s; with 125 more each, 1.1 ms.
    const router = routerWith({ out: { rate: 10e6, overheadBytes: 125 } });
    sendAll(router, 4, 1250);
    expect(departures(router, 10 * MS).map(({ at }) => at)).toEqual([1100, 2200, 3300, 4400]);
    // Idle time is not saved up.
    sendAll(router, 2, 1250);
    expect(departures(router, 10 * MS).map(({ at }) => at)).toEqual([1100, 2200]);
  });

  it("counts waiting for the rate as part of the delay, as netem does", () => {
    const router = routerWith({ out: { rate: 10e6, delay: 2 * MS } });
    sendAll(router, 3, 1250);
    expect(departures(router, 10 * MS).map(({ at }) => at)).toEqual([3 * MS, 4 * MS, 5 * MS]);
  });

  it("counts every segment's headers of a super-frame in its rate", () => {
    const router = routerWith({ out: { rate: 8e6, overheadBytes: 10 } });
    const frame = numbered(0, 42 + 3000);
    // UDP segmentation, 1000 bytes each, L4 header at 34.
    const header = Uint8Array.of(1, 5, 42, 0, 1000 & 0xff, 1000 >> 8, 34, 0, 6, 0);
    router.io.inject(Port.C2, frame, header);
    // One byte is one microsecond: 3 payloads, 3 headers of 42 and 3 times 10 bytes.
    expect(departures(router, 4000, 1).map(({ at }) => at)).toEqual([3 * (1000 + 42 + 10)]);
  });

  it("varies the delay within its jitter, and lets frames overtake each other", () => {
    const router = routerWith({ out: { delay: 10 * MS, jitter: 4 * MS } });
    sendAll(router, 400);
    const out = departures(router, 20 * MS);
    expect(out.length).toBe(400);
    expect(out[0].at).toBeLessThan(6200);
    expect(out[0].at).toBeGreaterThanOrEqual(6000);
    expect(out[399].at).toBeLessThanOrEqual(14_350);
    expect(out[399].at).toBeGreaterThan(13_800);
    expect(out.map(({ number }) => number)).not.toEqual(out.map((_, index) => index));
  });

  it("draws a normal jitter with its standard deviation", () => {
    const router = routerWith({ out: { delay: 50 * MS, jitter: 5 * MS, distribution: "normal" } });
    sendAll(router, 400);
    const times = departures(router, 100 * MS, 10).map(({ at }) => at - 50 * MS);
    expect(times.length).toBe(400);
    const mean = times.reduce((sum, time) => sum + time, 0) / 400;
    const deviation = Math.sqrt(times.reduce((sum, time) => sum + (time - mean) ** 2, 0) / 400);
    expect(Math.abs(mean)).toBeLessThan(500);
    expect(deviation / (5 * MS)).toBeCloseTo(1, 1);
    expect(times.filter((time) => Math.abs(time) > 10 * MS).length / 400).toBeCloseTo(0.0455, 1);
  });

  it("sends every gap-th frame at once", () => {
    const router = routerWith({ out: { delay: 10 * MS, reorder: 1, gap: 3 } });
    sendAll(router, 7);
    const out = departures(router, 10 * MS);
    expect(out.filter(({ at }) => at === 0).map(({ number }) => number)).toEqual([2, 5]);
    expect(out.filter(({ at }) => at === 10 * MS).map(({ number }) => number)).toEqual([0, 1, 3, 4, 6]);
    expect(counted(router).reordered).toBe(2);
  });

  it("loses its share by chance, the same frames for the same seed, others for another", () => {
    const pattern = (seed: number, lossCorrelation = 0): number[] => {
      const router = routerWith({ out: { loss: 0.1, lossCorrelation, seed } });
      const passed: number[] = [];
      for (let round = 0; round < 40; round++) {
        for (let i = 0; i < 50; i++) router.io.inject(Port.C2, numbered(round * 50 + i));
        passed.push(...router.turn().map(numberOf));
      }
      expect(counted(router).lost).toBe(2000 - passed.length);
      expect(router.stopped("impairment-loss")).toBe(2000 - passed.length);
      return passed;
    };
    const passed = pattern(7);
    // 200 lost in the mean, standard deviation 13.
    expect(passed.length).toBeGreaterThan(1740);
    expect(passed.length).toBeLessThan(1860);
    expect(pattern(7)).toEqual(passed);
    expect(pattern(8)).not.toEqual(passed);
    expect(pattern(7, 0.5)).not.toEqual(passed);
  });

  it("joins no frame that was held to another: its flow may be over", () => {
    const router = routerWith({ port: Port.WAN, out: { delay: 10 * MS } });
    const datagram = (id: number) =>
      udp({ source: "10.55.66.2", destination: "203.0.113.2", id }, 4000, 53, new Uint8Array(8));
    router.io.inject(Port.C1, ethernet(GATEWAY_MAC, C1_MAC, 0x0800, datagram(1)));
    router.io.inject(Port.C1, ethernet(GATEWAY_MAC, C1_MAC, 0x0800, datagram(2)));
    expect(router.turn()).toEqual([]);
    // In the burst in which they leave there is a run that may be merged.
    router.now += 10;
    router.io.inject(Port.C1, ethernet(GATEWAY_MAC, C1_MAC, 0x0800, datagram(3)));
    router.io.inject(Port.C1, ethernet(GATEWAY_MAC, C1_MAC, 0x0800, datagram(4)));
    expect(router.turn().map(({ id, totalLength }) => [id, totalLength])).toEqual([
      [1, 36],
      [2, 36],
    ]);
  });

  it("sends frames twice without copying them, and lets each copy meet its own fate", () => {
    const router = routerWith({ out: { duplicate: 1 } });
    sendAll(router, 3);
    expect(departures(router, 0).map(({ number }) => number)).toEqual([0, 0, 1, 1, 2, 2]);
    expect(router.router.counters.named().bytesCopied).toBe(0);
    expect(counted(router).duplicated).toBe(3);
    expect(router.arena.heldSlots()).toBe(0);
  });

  it("walks both copies of a frame that comes in twice", () => {
    const router = routerWith({ port: Port.C1, in: { duplicate: 1 } });
    const packet = udp({ source: "10.55.66.2", destination: "203.0.113.2" }, 4000, 53);
    const out = router.fromC1(packet);
    expect(out.map(({ port, source, bad }) => [port, source, bad])).toEqual([
      [Port.WAN, "203.0.113.1", []],
      [Port.WAN, "203.0.113.1", []],
    ]);
    expect(router.arena.heldSlots()).toBe(0);
  });

  it("turns exactly one bit of a frame, and only of the impaired port's where it was flooded", () => {
    const router = routerWith({ out: { corrupt: 1 } });
    const plan = defaultPlan();
    plan.ports.push({ index: 3, name: "c3", interface: 0 });
    Object.assign(plan.ports[0], { impairOut: { ...NOTHING, corrupt: 1 } });
    router.apply(plan);
    router.router.addPort(plan.ports[3]);
    const frame = numbered(1, 200, "ff:ff:ff:ff:ff:ff");
    const out = router.send(Port.C2, frame);
    expect(new Map(out.map(({ port, bytes }) => [port, flippedBits(bytes, frame)]))).toEqual(
      new Map([
        [Port.C1, 1],
        [3, 0],
      ]),
    );
    expect(router.arena.heldSlots()).toBe(0);
  });

  it("completes a checksum before it corrupts what that covers, so that the receiver finds the fault", () => {
    const whole = udp({ source: "10.55.66.3", destination: "10.55.66.2" }, 7, 9, new Uint8Array(1400));
    const complete = ethernet(C1_MAC, C2_MAC, 0x0800, whole);
    // The sum of the pseudo-header alone, as a device with offload wants it.
    const partial = complete.slice();
    const sum = 0x0a37 + 0x4203 + 0x0a37 + 0x4202 + 17 + 1408;
    new DataView(partial.buffer).setUint16(40, (sum & 0xffff) + (sum >>> 16));
    for (let seed = 1; seed <= 20; seed++) {
      const router = routerWith({ out: { corrupt: 1, seed } });
      router.io.inject(Port.C2, partial, Uint8Array.of(1, 0, 0, 0, 0, 0, 34, 0, 6, 0));
      const [out] = router.turn();
      expect([...out.vnetHeader]).toEqual(new Array(10).fill(0));
      // The frame with its right checksum, but for one bit.
      expect(flippedBits(out.bytes, complete)).toBe(1);
    }
  });

  it("turns a bit of the first byte of a super-frame's packet, which every receiver looks at", () => {
    const router = routerWith({ out: { corrupt: 1 } });
    const frame = numbered(0, 3042);
    router.io.inject(Port.C2, frame, Uint8Array.of(1, 5, 42, 0, 1000 & 0xff, 1000 >> 8, 34, 0, 6, 0));
    const [out] = router.turn();
    expect(out.bytes[14]).not.toBe(frame[14]);
    expect([...out.bytes.subarray(15)]).toEqual([...frame.subarray(15)]);
  });
});

describe("the limits of what is held", () => {
  it("drop what is over a port's own, and count it", () => {
    const router = routerWith({ out: { delay: 5 * MS, limit: 3 } });
    sendAll(router, 5);
    expect(departures(router, 5 * MS).map(({ number }) => number)).toEqual([0, 1, 2]);
    expect(router.stopped("impairment-full")).toBe(2);
    expect(counted(router)).toMatchObject({ frames: 5, overLimit: 2, waiting: 0 });
  });

  it("leave slots to the ports that are not impaired", () => {
    const router = routerWith({ out: { delay: 1000 * MS, limit: 4096 } }, 64);
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 10; i++) router.io.inject(Port.C2, numbered(i));
      router.turn();
    }
    // A quarter is kept back, and one queue alone has half of the rest.
    expect(router.arena.free[0]).toBeGreaterThanOrEqual(16);
    expect(counted(router).waiting).toBeGreaterThanOrEqual(20);
    expect(router.stopped("impairment-full")).toBe(100 - counted(router).waiting);
    const other = ethernet(C2_MAC, C1_MAC, 0x0800, udp({ source: "10.55.66.2", destination: "10.55.66.3" }, 9, 7));
    expect(router.send(Port.C1, other).map(({ port }) => port)).toEqual([Port.C2]);
    departures(router, 1000 * MS, 100 * MS);
    expect(router.arena.heldSlots()).toBe(0);
  });
});

describe("a change of impairments", () => {
  it("lets what waits go at once, in its order, when the impairment ends", () => {
    const router = routerWith({ out: { delay: 500 * MS, jitter: 100 * MS } });
    sendAll(router, 20);
    router.turn();
    const waiting = counted(router).waiting;
    expect(waiting).toBe(20);
    router.apply(defaultPlan());
    expect(router.turn().length).toBe(20);
    expect(router.router.impairments.isActive).toBe(false);
    expect(router.arena.heldSlots()).toBe(0);
  });

  it("leaves what waits its time, keeps the counters, and holds for what comes then", () => {
    const router = routerWith({ out: { delay: 10 * MS } });
    sendAll(router, 1);
    router.turn();
    router.apply(planWith({ out: { delay: 2 * MS } }));
    router.io.inject(Port.C2, numbered(1));
    expect(departures(router, 10 * MS).map(({ at, number }) => [at, number])).toEqual([
      [2 * MS, 1],
      [10 * MS, 0],
    ]);
    expect(counted(router).frames).toBe(2);
  });

  it("drops what waits at a port that goes, and gives its slots back", () => {
    const router = routerWith({ out: { delay: 10 * MS } });
    sendAll(router, 4);
    router.turn();
    router.router.removePort(Port.C1);
    expect(router.stopped("port-unusable")).toBe(4);
    expect(router.arena.heldSlots()).toBe(0);
    expect(router.router.impairments.isActive).toBe(false);
  });

  it("ends chance where it began when the same seed is given again", () => {
    const router = routerWith({ out: { loss: 0.5, seed: 3 } });
    const first = () => {
      sendAll(router, 40);
      return router.turn().map(numberOf);
    };
    const pattern = first();
    expect(first()).not.toEqual(pattern);
    router.apply(planWith({ out: { loss: 0.5, seed: 3, limit: 999 } }));
    expect(first()).toEqual(pattern);
  });
});
