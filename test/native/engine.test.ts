import { beforeEach, describe, expect, it } from "vitest";
import { EngineState, native, PortCounter } from "../../src/io/native.ts";
import { ip, namespace, netnsPath, requireSystem, veth } from "../support/netns.ts";
import { closeLater, frame, Harness, numberOf, put } from "./harness.ts";
import { WAYS } from "./ways.ts";

const ready = requireSystem([], "bursts of the addon");

/** Port `tap` is a TAP called eth0 in `netns`; port `inside` is what a container would send and receive there. */
function container(harness: Harness, tap: number, inside: number): string {
  const netns = namespace();
  harness.tap(tap, netns, "eth0");
  ip(netns, "link set eth0 up");
  harness.packet(inside, netns, "eth0");
  return netns;
}

describe.skipIf(!ready).each(WAYS)("bursts, $name", (way) => {
  let harness: Harness;

  beforeEach(() => {
    harness = new Harness({ way });
  });

  it("receives what a container sends, byte by byte", () => {
    container(harness, 0, 1);
    const sizes = [14, 60, 61, 1000, 1514];
    expect(harness.transmit(sizes.map((size, i) => ({ port: 1, bytes: frame(i, Math.max(size, 18)) })))).toBe(5);
    const received = harness.expectFrames(5, 0);
    expect(received.map((one) => one.bytes)).toEqual(sizes.map((size, i) => frame(i, Math.max(size, 18))));
    expect(harness.counter(0, PortCounter.RX_FRAMES)).toBe(5 + harness.strangers);
    expect(harness.free).toBe(harness.memory.slotCount);
  });

  it("delivers what is sent to a TAP, in order, and counts it", () => {
    container(harness, 0, 1);
    const frames = Array.from({ length: 64 }, (_, i) => frame(i, 60 + i * 20));
    expect(harness.transmit(frames.map((bytes) => ({ port: 0, bytes })))).toBe(64);
    expect(harness.expectFrames(64, 1).map((one) => one.bytes)).toEqual(frames);
    expect(harness.counter(0, PortCounter.TX_FRAMES)).toBe(64);
    expect(harness.counter(0, PortCounter.TX_BYTES)).toBe(frames.reduce((sum, bytes) => sum + bytes.length, 0));
    expect(harness.counter(0, PortCounter.TX_ERRORS)).toBe(0);
  });

  it("keeps the order of each packet socket when the ports of a burst alternate", () => {
    const netns = namespace();
    veth({ netns, ifname: "a0" }, { netns, ifname: "a1" });
    veth({ netns, ifname: "b0" }, { netns, ifname: "b1" });
    for (const [port, device] of ["a0", "a1", "b0", "b1"].entries()) harness.packet(port, netns, device);
    const entries = Array.from({ length: 200 }, (_, i) => ({ port: i % 3 === 0 ? 0 : 2, bytes: frame(i) }));
    expect(harness.transmit(entries)).toBe(200);
    const received = harness.expectFrames(200);
    for (const port of [0, 2]) {
      const sent = entries.flatMap((entry, i) => (entry.port === port ? [i] : []));
      expect(received.filter((one) => one.port === port + 1).map(numberOf)).toEqual(sent);
    }
  });

  it("gives every port its share while one floods", () => {
    const inside = [4, 5, 6];
    for (const tap of [0, 1, 2]) container(harness, tap, inside[tap]);
    harness.burst();
    for (let i = 0; i < 3; i++) harness.transmit(Array.from({ length: 64 }, (_, n) => ({ port: 4, bytes: frame(n) })));
    harness.transmit([1, 2].flatMap((port) => [0, 1].map((n) => ({ port: inside[port], bytes: frame(1000 + n) }))));
    // One burst finds the flooding port, the others with it.
    const burst = harness.until((all) => all.length > 0, 32);
    expect(burst.filter((one) => one.port === 0).length).toBeGreaterThan(2);
    expect(burst.filter((one) => one.port === 1).map(numberOf)).toEqual([1000, 1001]);
    expect(burst.filter((one) => one.port === 2).map(numberOf)).toEqual([1000, 1001]);
  });

  it("serves those first that a burst did not reach", () => {
    const netns = namespace();
    for (let port = 0; port < 4; port++) {
      harness.tap(port, netns, `t${port}`);
      ip(netns, `link set t${port} up`);
      const { fd } = native().openPacketSocket({ device: `t${port}`, netns: netnsPath(netns) });
      closeLater(fd);
      for (let n = 0; n < 3; n++) put(fd, frame(n));
    }
    const order = Array.from({ length: 12 }, () => harness.until((all) => all.length > 0, 1)[0].port);
    for (let round = 0; round < 12; round += 4) expect(new Set(order.slice(round, round + 4)).size).toBe(4);
  });

  it("takes no more than it is asked for, and nothing for nonsense", () => {
    container(harness, 0, 1);
    for (let i = 0; i < 10; i++) harness.transmit([{ port: 1, bytes: frame(i) }]);
    expect(harness.until((all) => all.length >= 3, 3)).toHaveLength(3);
    expect(harness.engine.receive(0, 0)).toBe(0);
    expect(harness.engine.receive(-5, 0)).toBe(0);
    expect(harness.engine.receive(1 << 30, 0)).toBeLessThanOrEqual(harness.memory.receivedSlot.length);
  });

  it("wraps the clock into a word", () => {
    const before = native().monotonicMilliseconds();
    harness.engine.receive(1, 0);
    const after = native().monotonicMilliseconds();
    const now = harness.memory.state[EngineState.NOW_MS];
    expect((now - Math.trunc(before)) | 0).toBeGreaterThanOrEqual(0);
    expect((Math.trunc(after) - now) | 0).toBeGreaterThanOrEqual(0);
  });

  it("waits as long as it is told when there is nothing", () => {
    container(harness, 0, 1);
    for (const spin of [0, 200]) {
      harness.engine.setSpin(spin);
      const before = native().monotonicMilliseconds();
      for (let i = 0; i < 5; i++) expect(harness.burst(64, 10).length).toBe(0);
      // Epoll's clock may be a little ahead; what is to be seen is that it does not return at once.
      expect(native().monotonicMilliseconds() - before).toBeGreaterThan(40);
    }
  });

  it("ends a wait for the control descriptor", () => {
    const [left, right] = native().socketPair();
    closeLater(left);
    closeLater(right);
    container(harness, 0, 1);
    harness.engine.watchControl(right);
    harness.burst();
    expect(harness.memory.state[EngineState.CONTROL_READY]).toBe(0);
    native().sendMessage(left, Buffer.from("x"), []);
    expect(harness.burst(64, 60_000)).toEqual([]);
    expect(harness.memory.state[EngineState.CONTROL_READY]).toBe(1);
    // Level-triggered, and seen beside frames too.
    harness.transmit(Array.from({ length: 100 }, (_, n) => ({ port: 1, bytes: frame(n) })));
    for (let i = 0; i < 5; i++) {
      harness.burst(8, 1000);
      expect(harness.memory.state[EngineState.CONTROL_READY]).toBe(1);
    }
    native().receiveMessage(right);
    harness.burst();
    expect(harness.memory.state[EngineState.CONTROL_READY]).toBe(0);
  });

  it("counts that no slot was free, and reads on when one is", () => {
    for (const kind of ["tap", "packet"]) {
      const small = new Harness({ way, slotCount: 4 });
      const netns = container(small, 0, 1);
      const { fd } = native().openPacketSocket({ device: "eth0", netns: netnsPath(netns) });
      closeLater(fd);
      const port = kind === "tap" ? 0 : 1;
      const slots = [0, 1, 2, 3].map(() => small.take());
      if (kind === "tap") for (let n = 0; n < 3; n++) put(fd, frame(n));
      else for (let n = 0; n < 3; n++) sendThroughTap(small, slots[0], n);
      small.until(() => small.memory.state[EngineState.OUT_OF_SLOTS] > 0);
      expect(small.memory.state[EngineState.OUT_OF_SLOTS]).toBeGreaterThan(0);
      expect(small.counter(port, PortCounter.RX_FRAMES)).toBe(0);
      for (const slot of slots) small.release(slot);
      expect(small.expectFrames(3, port).map(numberOf)).toEqual([0, 1, 2]);
      expect(small.free).toBe(4);
    }
  });

  it("counts frames that do not fit a slot", () => {
    const small = new Harness({ way, slotBytes: 128 });
    const netns = container(small, 2, 3);
    const sender = native().openPacketSocket({ device: "eth0", netns: netnsPath(netns) });
    closeLater(sender.fd);
    put(sender.fd, frame(1, 1000));
    put(sender.fd, frame(2, 60));
    expect(small.expectFrames(1, 2).map(numberOf)).toEqual([2]);
    expect(small.counter(2, PortCounter.RX_ERRORS)).toBe(1);
    veth({ netns, ifname: "v0" }, { netns, ifname: "v1" });
    small.packet(4, netns, "v0");
    const peer = native().openPacketSocket({ device: "v1", netns: netnsPath(netns) });
    closeLater(peer.fd);
    put(peer.fd, frame(1, 1000));
    put(peer.fd, frame(2, 118));
    expect(small.expectFrames(1, 4).map(numberOf)).toEqual([2]);
    expect(small.counter(4, PortCounter.RX_ERRORS)).toBe(1);
    expect(small.free).toBe(small.memory.slotCount);
  });

  it("survives indexes that are none", () => {
    container(harness, 0, 1);
    const { memory, engine } = harness;
    const slot = harness.take();
    harness.fill(slot, frame(9));
    const wrong = [
      [-1, 0],
      [memory.slotCount, 0],
      [0x7fffffff, 0],
      [slot, -1],
      [slot, 1 << 20],
      [slot, 7],
      [slot, 0],
    ];
    wrong.forEach(([index, port], i) => {
      harness.entry(i, index, port);
    });
    expect(engine.transmit(wrong.length)).toBe(1);
    expect(harness.counter(0, PortCounter.TX_ERRORS)).toBe(3);
    expect(harness.counter(7, PortCounter.TX_ERRORS)).toBe(1);
    expect(harness.expectFrames(1, 1).map(numberOf)).toEqual([9]);
    for (const length of [-1, memory.slotBytes, 0x7fffffff]) {
      memory.slotLength[slot] = length;
      harness.entry(0, slot, 0);
      expect(engine.transmit(1)).toBe(0);
    }
    expect(engine.transmit(-1)).toBe(0);
    memory.transmitSlot.fill(-1);
    expect(engine.transmit(1 << 30)).toBe(0);
  });

  it("survives a free list that is wrong", () => {
    container(harness, 0, 1);
    const { memory } = harness;
    harness.transmit([0, 1, 2].map((n) => ({ port: 1, bytes: frame(n) })));
    memory.freeSlots[memory.slotCount - 1] = 0x7fffffff;
    memory.freeSlots[memory.slotCount - 2] = -1;
    expect(harness.expectFrames(3, 0).map(numberOf)).toEqual([0, 1, 2]);
    memory.state[EngineState.FREE_COUNT] = 0x7fffffff;
    harness.burst();
    memory.state[EngineState.FREE_COUNT] = -7;
    harness.burst();
  });

  it("gathers a frame from several slots", () => {
    container(harness, 0, 1);
    const whole = frame(3, 900);
    const slots = [0, 1, 2].map(() => harness.take());
    harness.fill(slots[0], whole.subarray(0, 300));
    harness.fill(slots[1], Buffer.concat([Buffer.alloc(54), whole.subarray(300, 700)]));
    harness.fill(slots[2], Buffer.concat([Buffer.alloc(7), whole.subarray(700)]));
    for (const port of [0, 1]) {
      harness.entry(0, slots[0], port);
      harness.entry(1, slots[1], port, 54);
      harness.entry(2, slots[2], port, 7);
      harness.entry(3, slots[0], port);
      expect(harness.engine.transmit(4)).toBe(2);
      const received = harness.expectFrames(2, 1 - port);
      expect(received.map((one) => one.bytes.length)).toEqual([900, 300]);
      expect(received[0].bytes).toEqual(whole);
      expect(harness.counter(port, PortCounter.TX_BYTES)).toBe(1200);
    }
  });

  it("sends no part of a frame that has a piece missing", () => {
    container(harness, 0, 1);
    const slot = harness.take();
    harness.fill(slot, frame(1, 300));
    const sends = (entries: [number, number, number][]) => {
      entries.forEach(([index, port, offset], i) => {
        harness.entry(i, index, port, offset);
      });
      return harness.engine.transmit(entries.length);
    };
    expect(sends([[slot, 0, 5]])).toBe(0);
    expect(
      sends([
        [slot, 0, 0],
        [-1, 0, 14],
      ]),
    ).toBe(0);
    expect(
      sends([
        [slot, 0, 0],
        [slot, 0, 301],
      ]),
    ).toBe(0);
    expect(
      sends([
        [slot, 0, 0],
        [slot, 0, -1],
      ]),
    ).toBe(0);
    expect(
      sends([
        [-1, 0, 0],
        [slot, 0, 14],
        [slot, 0, 0],
      ]),
    ).toBe(1);
    expect(sends(Array.from({ length: 80 }, (_, i) => [slot, 0, i === 0 ? 0 : 299]))).toBe(0);
    expect(harness.counter(0, PortCounter.TX_ERRORS)).toBe(6);
    expect(harness.expectFrames(1, 1)).toHaveLength(1);
  });

  it("goes on behind a frame that a packet socket refuses", () => {
    const netns = namespace();
    veth({ netns, ifname: "v0" }, { netns, ifname: "v1" });
    harness.packet(0, netns, "v0");
    harness.packet(1, netns, "v1");
    const entries = [0, 1, 2, 3].map((n) => ({ port: 0, bytes: frame(n, n === 0 || n === 2 ? 4000 : 60) }));
    expect(harness.transmit(entries)).toBe(2);
    expect(harness.counter(0, PortCounter.TX_ERRORS)).toBe(2);
    expect(harness.expectFrames(2, 1).map(numberOf)).toEqual([1, 3]);
  });

  it("reads a packet socket without vnet headers", () => {
    const netns = namespace();
    veth({ netns, ifname: "v0" }, { netns, ifname: "v1" });
    harness.packet(0, netns, "v0", { vnetHeader: false });
    harness.packet(1, netns, "v1");
    harness.transmit([
      { port: 0, bytes: frame(1) },
      { port: 1, bytes: frame(2) },
    ]);
    const received = harness.expectFrames(2);
    expect(received.find((one) => one.port === 0)).toMatchObject({ bytes: frame(2), header: Buffer.alloc(10) });
    expect(received.find((one) => one.port === 1)?.bytes).toEqual(frame(1));
  });

  it("refuses calls that make no sense", () => {
    const netns = namespace();
    const { engine } = harness;
    const fd = harness.tap(0, netns, "t0");
    expect(() => engine.addPort(0, fd, 0)).toThrow("EBUSY");
    expect(() => engine.addPort(99, fd, 0)).toThrow("no such port");
    expect(() => engine.addPort(-1, fd, 0)).toThrow("no such port");
    expect(() => engine.addPort(1, fd, 7 as 0)).toThrow("no such kind");
    expect(() => engine.addPort(1, fd, 1)).toThrow("ENOTSOCK");
    expect(() => engine.addPort(1, -1, 0)).toThrow("EBADF");
    engine.close();
    engine.close();
    engine.removePort(0);
    expect(() => engine.receive(1, 0)).toThrow("closed");
    expect(() => engine.transmit(1)).toThrow("closed");
  });

  it("checks the memory that it is given", () => {
    const { memory } = harness;
    const create = (change: object) => () => native().createEngine({ ...memory, ...change });
    expect(create({ arena: new ArrayBuffer(100) })).toThrow("arena must be");
    expect(create({ slotLength: new Int32Array(3) })).toThrow("slotLength must be an Int32Array of at least 256");
    expect(create({ freeSlots: new Uint32Array(256) })).toThrow("freeSlots must be an Int32Array");
    expect(create({ portCounters: new Float64Array(8) })).toThrow("portCounters must be a Float64Array of at least 64");
    expect(create({ state: undefined })).toThrow("state must be");
    expect(create({ slotBytes: 0 })).toThrow("slotBytes must be");
    create({ transmitOffset: undefined })().close();
  });
});

function sendThroughTap(harness: Harness, slot: number, number: number): void {
  harness.fill(slot, frame(number));
  harness.entry(0, slot, 0);
  harness.engine.transmit(1);
}
