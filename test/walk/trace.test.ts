/** Live packets are recorded while somebody traces, within bounds, and the router does nothing else because of it. */
import { describe, expect, it } from "vitest";
import { Tracer } from "../../src/dataplane/explain/tracer.ts";
import { compileExpression } from "../../src/pcap_filter/expression.ts";
import { ethernet, udp } from "../support/frames.ts";
import { randomFrame, randomPlan } from "../support/random_world.ts";
import { C1_MAC, decodeSent, GATEWAY_MAC, type Out, Port, seededRandom, TestRouter } from "../support/router.ts";

const OUT = { source: "10.55.66.2", destination: "203.0.113.2" };
const program = (text: string): number[] => [...compileExpression(text)];
const frame = (port: number): Uint8Array => ethernet(GATEWAY_MAC, C1_MAC, 0x0800, udp(OUT, port, 53));

function world(): { r: TestRouter; tracer: Tracer } {
  const r = new TestRouter();
  r.introduce();
  return { r, tracer: new Tracer(r.router) };
}

describe("a trace", () => {
  it("tells the walks of the packets that match, each of its own in a burst", () => {
    const { r, tracer } = world();
    expect(r.router.recorder).toBeUndefined();
    const trace = tracer.start(program("udp src port 4001 or udp src port 4002"), -1, 100);
    r.send(Port.C1, frame(4000), frame(4001), frame(4002), frame(4001));
    const { walks, lost } = tracer.read(trace);
    expect(lost).toBe(0);
    expect(
      walks.map(({ verdict, port, frameAfter }) => [verdict, port, frameAfter?.match(/113\.1\.(\d+)/)?.[1]]),
    ).toEqual([
      ["routed", "c1", "4001"],
      ["routed", "c1", "4002"],
      ["routed", "c1", "4001"],
    ]);
    const texts = walks.map(({ steps }) => steps.map((step) => `${step.stage} ${step.text}`).join("\n"));
    expect(texts[0]).toContain("NEW");
    expect(texts[0]).toContain("flow opened: udp 10.55.66.2:4001 > 203.0.113.2:53");
    expect(texts[2]).toContain("NEW: original direction of udp 10.55.66.2:4001");
    expect(texts[2]).toContain("admitted before");
    expect(texts[2]).toContain("limits ttl 64; 28 bytes");
    expect(tracer.read(trace)).toEqual({ walks: [], lost: 0 });
    tracer.stop(trace);
    expect(r.router.recorder).toBeUndefined();
  });

  it("is asked of an embedder's stage like any packet", () => {
    const { r, tracer } = world();
    r.router.customStage = (each) => each.ports >>> 16 !== 4001;
    const trace = tracer.start(program("udp"), -1, 100);
    expect(r.send(Port.C1, frame(4000), frame(4001)).length).toBe(1);
    expect(tracer.read(trace).walks.map(({ verdict }) => verdict)).toEqual(["routed", "custom-stage"]);
  });

  it("looks at one port alone where it is asked to", () => {
    const { r, tracer } = world();
    const trace = tracer.start(program(""), Port.WAN, 100);
    r.send(Port.C1, frame(4000));
    expect(tracer.read(trace).walks).toEqual([]);
  });

  it("records so many a second and no more, and counts the rest", () => {
    const { r, tracer } = world();
    const trace = tracer.start(program(""), -1, 10);
    for (let i = 0; i < 25; i++) r.send(Port.C1, frame(4000 + i));
    const first = tracer.read(trace);
    expect([first.walks.length, first.lost]).toEqual([10, 15]);
    r.now += 500;
    r.turn();
    for (let i = 0; i < 25; i++) r.send(Port.C1, frame(5000 + i));
    const second = tracer.read(trace);
    expect([second.walks.length, second.lost]).toEqual([5, 20]);
  });

  it("holds a bounded number, and ends when nobody reads it", () => {
    const { r, tracer } = world();
    const trace = tracer.start(program(""), -1, 1000);
    for (let i = 0; i < 300; i++) r.send(Port.C1, frame(4000 + i));
    const { walks, lost } = tracer.read(trace);
    expect([walks.length, lost]).toEqual([256, 44]);
    r.advance(10_200);
    tracer.endUnread();
    expect(r.router.recorder).toBeUndefined();
    expect(() => tracer.read(trace)).toThrow("the trace has ended");
    for (let i = 0; i < 8; i++) tracer.start(program(""), -1, 10);
    expect(() => tracer.start(program(""), -1, 10)).toThrow("8 traces run already");
  });

  it("changes nothing of what comes out: random packets, one router traced, its twin not", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = seededRandom(seed);
      const below = (limit: number): number => (random() >>> 0) % limit;
      const plan = randomPlan(below);
      const [plain, traced] = [new TestRouter(plan, {}, seed, 64), new TestRouter(plan, {}, seed, 64)];
      const tracer = new Tracer(traced.router);
      const trace = tracer.start(program(""), -1, 1000);
      let last: Out | undefined;
      let recorded = 0;
      for (let i = 0; i < 50; i++) {
        const burst = Array.from({ length: 1 + below(4) }, () => randomFrame(below, last));
        const sent = [plain, traced].map((r) => {
          r.now += 7;
          for (const each of burst) r.io.inject(each.port, each.frame, each.vnet);
          r.loop.turn(0);
          return r.io.takeSent();
        });
        expect(sent[1], `seed ${seed} burst ${i}`).toEqual(sent[0]);
        recorded += tracer.read(trace).walks.length;
        const out = sent[0].at(-1);
        if (out !== undefined) last = decodeSent(out);
      }
      expect([...traced.router.counters.stops]).toEqual([...plain.router.counters.stops]);
      expect(recorded).toBeGreaterThan(50);
    }
  });
});
