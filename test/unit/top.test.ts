/** tapir top: rates from two samples, the view in the room that there is, and the busiest flows. */
import { describe, expect, it } from "vitest";
import { compareSamples } from "../../src/cli/top/model.ts";
import { formatView, screenLines, short } from "../../src/cli/top/screen.ts";
import { FlowReader } from "../../src/control/flows.ts";
import { FlowRates } from "../../src/control/top/flow_rates.ts";
import type { TopSample } from "../../src/control/top/top_api.ts";
import { udp } from "../support/frames.ts";
import { TestRouter } from "../support/router.ts";

const port = (name: string, rxFrames: number): TopSample["ports"][number] => ({
  name,
  interface: "lab",
  kind: "tap",
  device: "eth0",
  namespace: null,
  mtu: 1500,
  state: "up",
  rxFrames,
  rxBytes: rxFrames * 100,
  txFrames: 0,
  txBytes: 0,
  txFull: 0,
  txErrors: 0,
  rxErrors: 0,
});

const tuple = (source: string, sourcePort: number, destination: string, destinationPort: number) => ({
  source,
  sourcePort,
  destination,
  destinationPort,
  packets: 0,
  bytes: 0,
});

function sample(change: Partial<TopSample> = {}): TopSample {
  return {
    version: "1.2.3",
    atMs: 1000,
    uptimeSeconds: 3725,
    ports: [port("c1", 0)],
    drops: [],
    counters: { framesReceived: 0, framesSent: 0, flowsCreated: 0 },
    tables: [{ name: "flows", used: 3, limit: 1024 }],
    stages: [{ name: "arrive", nanoseconds: 0, frames: 0 }],
    burstFrames: Array.from({ length: 32 }, () => 0),
    burstNanoseconds: Array.from({ length: 32 }, () => 0),
    processes: [{ name: "dataplane", cpuSeconds: 1, residentBytes: 1e6 }],
    flows: [],
    ...change,
  };
}

const counts = (values: Record<number, number>): number[] =>
  Array.from({ length: 32 }, (_, index) => values[index] ?? 0);

describe("two samples", () => {
  const before = sample({ drops: [{ reason: "no-route", count: 10 }], burstFrames: counts({ 0: 5 }) });
  const after = sample({
    atMs: 3000,
    ports: [port("c1", 400), port("c2", 50)],
    drops: [
      { reason: "no-route", count: 10 },
      { reason: "forward-drop", count: 6 },
    ],
    counters: { framesReceived: 450, framesSent: 100, flowsCreated: 20 },
    stages: [{ name: "arrive", nanoseconds: 5000, frames: 50 }],
    burstFrames: counts({ 0: 5, 5: 15 }),
    burstNanoseconds: counts({ 14: 14, 20: 1 }),
    processes: [{ name: "dataplane", cpuSeconds: 2.5, residentBytes: 1e6 }],
  });
  const view = compareSamples(before, after);

  it("make rates", () => {
    expect(view).toMatchObject({ seconds: 2, framesIn: 225, framesOut: 50, newFlows: 10, dropped: 3 });
    expect(view.ports.map(({ name, rxFrames, rxBits }) => [name, rxFrames, rxBits])).toEqual([
      ["c1", 200, 160_000],
      ["c2", 25, 20_000],
    ]);
    expect(view.processes).toEqual([{ name: "dataplane", cpu: 0.75, residentBytes: 1e6 }]);
  });

  it("say of the bursts between them how large they were and how long they took", () => {
    expect(view.framesPerBurst).toBe(30);
    expect(view.burstMedianSeconds).toBe(2 ** 14 / 1e9);
    expect(view.burst99Seconds).toBe(2 ** 20 / 1e9);
    expect(view.stages).toEqual([{ name: "arrive", nanosecondsPerFrame: 100 }]);
  });

  it("have the reasons for drops in the order of their rates, also those of before", () => {
    expect(view.drops).toEqual([
      { reason: "forward-drop", rate: 3, count: 6 },
      { reason: "no-route", rate: 0, count: 10 },
    ]);
  });

  it("that are the same, or go backwards, make zeros and nothing impossible", () => {
    for (const nothing of [compareSamples(after, after), compareSamples({ ...after, atMs: 1000 }, before)]) {
      expect(nothing.framesIn).toBe(0);
      expect(nothing.framesPerBurst).toBeNull();
      expect(nothing.burst99Seconds).toBeNull();
      expect(nothing.stages[0].nanosecondsPerFrame).toBeNull();
      expect(JSON.stringify(nothing)).not.toMatch(/NaN|-\d|Infinity/);
    }
  });
});

describe("numbers", () => {
  it.each([
    [0, "0"],
    [0.04, "0"],
    [0.51, "0.5"],
    [9.94, "9.9"],
    [9.96, "10"],
    [999.4, "999"],
    [999.6, "1.00k"],
    [12_345, "12.3k"],
    [123_456, "123k"],
    [999_600, "1.00M"],
    [45_600_000_000, "45.6G"],
    [3.2e15, "3200T"],
  ])("are short: %d is %s", (value, expected) => {
    expect(short(value)).toBe(expected);
  });
});

describe("the screen", () => {
  const flow = (index: number): TopSample["flows"][number] => ({
    packetsPerSecond: 1000 - index,
    bytesPerSecond: 100_000,
    flow: {
      id: index,
      protocol: "tcp",
      protocolNumber: 6,
      secondsLeft: 100,
      state: "ESTABLISHED",
      original: tuple("10.55.66.2", 40_000 + index, "203.0.113.2", 443),
      reply: tuple("203.0.113.2", 443, "203.0.113.1", 40_000 + index),
      seenReply: true,
      assured: true,
      mark: 0,
    },
  });
  const crowded = (size: number) => {
    const full = sample({
      atMs: 2000,
      ports: Array.from({ length: size }, (_, index) => port(`container-${index}`, index)),
      drops: Array.from({ length: size }, (_, index) => ({ reason: `reason-${index}`, count: index + 1 })),
      flows: Array.from({ length: size }, (_, index) => flow(index)),
    });
    return compareSamples(sample(), full);
  };
  const footer = { order: "packets", delaySeconds: 2, isPaused: false };

  it.each([
    [80, 24, 100],
    [80, 24, 1],
    [80, 24, 0],
    [40, 10, 100],
    [200, 60, 100],
    [20, 3, 10],
    [1, 1, 10],
  ])("of %d columns and %d rows has room for the view of %d things", (columns, rows, size) => {
    const lines = screenLines(crowded(size), { columns, rows }, footer);
    expect(lines).toHaveLength(rows);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns);
    if (columns >= 40) expect(lines.at(-1)).toMatch(/^q quit/);
  });

  it("has the head, ports, drops and flows in 80x24, and says how many it leaves out", () => {
    const text = screenLines(crowded(50), { columns: 80, rows: 24 }, footer).join("\n");
    expect(text).toMatch(
      /^tapir 1\.2\.3, up 1:02:05, cpu: dataplane 0 %\nin 0\/s, out 0\/s, dropped [\d.k]+\/s, new flows 0\/s\n/,
    );
    expect(text).toMatch(/\nPORT +INTERFACE +RX\/S +RX BIT\/S/);
    expect(text).toMatch(/\nDROPPED\/S +TOTAL +REASON\n +\d+ +50 +reason-49\n/);
    expect(text).toMatch(/\nPKT\/S +BIT\/S +PROTO +STATE +FLOW/);
    expect(text).toContain("\n1.00k   800k  tcp    ESTABLISHED  10.55.66.2:40000 > 203.0.113.2:443  from 203.0\n");
    expect(text.match(/… \d+ more/g)).toHaveLength(3);
  });

  it("says when it is paused", () => {
    const lines = screenLines(crowded(1), { columns: 80, rows: 24 }, { ...footer, isPaused: true });
    expect(lines.at(-1)).toBe("q quit  p pause  s sort (packets)  paused");
  });

  it("is whole where it is printed", () => {
    const text = formatView(crowded(50));
    for (const expected of ["container-49", "reason-49", "10.55.66.2:40049"]) expect(text).toContain(expected);
    expect(text).not.toContain("…");
  });
});

describe("the busiest flows", () => {
  const send = (r: TestRouter, sourcePort: number, times: number, bytes: number): void => {
    for (let i = 0; i < times; i++) {
      r.fromC1(udp({ source: "10.55.66.2", destination: "203.0.113.2" }, sourcePort, 53, new Uint8Array(bytes)));
    }
  };

  it("are those with most packets, or bytes, since the look before", async () => {
    const r = new TestRouter();
    r.introduce();
    const { header, words } = r.router.flows;
    const rates = new FlowRates(new FlowReader(header.buffer as ArrayBuffer, words.length / 32));
    send(r, 5001, 50, 10);
    expect(await rates.busiest("packets", 10, 0)).toEqual([]);
    send(r, 5002, 4, 400);
    send(r, 5003, 10, 10);
    send(r, 5001, 2, 10);
    const seen = (await rates.busiest("packets", 10, 2000)).map(({ flow, packetsPerSecond, bytesPerSecond }) => [
      flow.original.sourcePort,
      packetsPerSecond,
      bytesPerSecond,
    ]);
    expect(seen).toEqual([
      [5003, 5, (10 * 38) / 2],
      [5002, 2, (4 * 428) / 2],
      [5001, 1, 38],
    ]);
    // Soon after, the same look answers; in the other order, and no more than were asked for.
    const bytes = await rates.busiest("bytes", 2, 2100);
    expect(bytes.map(({ flow }) => flow.original.sourcePort)).toEqual([5002, 5003]);
    expect(await rates.busiest("packets", 10, 4000)).toEqual([]);
    rates.close();
  });

  it("are not mistaken for those that had their entries before", async () => {
    const r = new TestRouter();
    r.introduce();
    const { header, words } = r.router.flows;
    const rates = new FlowRates(new FlowReader(header.buffer as ArrayBuffer, words.length / 32));
    send(r, 5001, 5, 10);
    await rates.busiest("packets", 10, 0);
    r.advance(31_000);
    send(r, 5002, 8, 10);
    const [first] = await rates.busiest("packets", 10, 1000);
    expect([first.flow.original.sourcePort, first.packetsPerSecond]).toEqual([5002, 8]);
    rates.close();
  });
});
