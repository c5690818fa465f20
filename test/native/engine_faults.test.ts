/**
 * The engine while its system calls fail, one by one and for a while, with and without io_uring: every slot comes back,
 * every frame is sent or counted, a port that fails is reported once, and what comes afterwards works. Needs a build of
 * the addon that can fail: `npm run test:sanitized` makes it.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { EngineState, native, PortCounter } from "../../src/io/native.ts";
import { ip, namespace, netnsPath, requireSystem, veth } from "../support/netns.ts";
import { ERRORS, failEachOnce, faults, withFault } from "./faults.ts";
import { closeLater, frame, Harness, numberOf, put, type Received } from "./harness.ts";
import { WAYS } from "./ways.ts";

const ready = requireSystem([], "the engine's system calls that fail") && faults() !== undefined;

/** Ports of the tests: a TAP, and a packet socket. */
const TAP = 0;
const PACKET = 1;
const SLOTS = 16;
const LOOP_CALLS = ["read", "write", "writev", "recvmmsg", "sendmmsg", "epoll_wait", "epoll_pwait2"];
const RING_CALLS = ["io_uring_enter", "completion"];
const EINTR = 4;

describe.skipIf(!ready).each(WAYS)("an engine whose system calls fail, $name", (way) => {
  let harness: Harness;
  let netns: string;
  /** Descriptors of the two ports, and of what stands behind them. */
  let fds: [number, number];
  let outside: [number, number];

  beforeEach(() => {
    harness = new Harness({ way, slotCount: SLOTS });
    netns = namespace();
    const tap = harness.tap(TAP, netns, "t0");
    ip(netns, "link set t0 up");
    veth({ netns, ifname: "v0" }, { netns, ifname: "v1" });
    fds = [tap, harness.packet(PACKET, netns, "v0")];
    outside = ["t0", "v1"].map((device) => {
      const { fd } = native().openPacketSocket({ device, netns: netnsPath(netns) });
      closeLater(fd);
      return fd;
    }) as [number, number];
  });

  const sum = (port: number, ...counters: number[]) =>
    counters.reduce((all, one) => all + harness.counter(port, one), 0);

  /** Frames that went to ports, as they were counted: sent, refused or lost. */
  const counted = (port: number) => sum(port, PortCounter.TX_FRAMES, PortCounter.TX_FULL, PortCounter.TX_ERRORS);

  /** One frame of one piece, and one of two, to each port; four in by the others' ends; two bursts. */
  function traffic(): void {
    const before = [counted(TAP), counted(PACKET)];
    for (const fd of outside) for (const number of [1, 2]) put(fd, frame(number));
    const slots = [harness.take(), harness.take(), harness.take()];
    for (const slot of slots) harness.fill(slot, frame(9));
    let entries = 0;
    for (const port of [TAP, PACKET]) {
      harness.entry(entries++, slots[0], port);
      harness.entry(entries++, slots[1], port);
      harness.entry(entries++, slots[2], port, 20);
    }
    harness.engine.transmit(entries);
    for (const slot of slots.reverse()) harness.release(slot);
    for (let bursts = 0; bursts < 3; bursts++) harness.burst(64, 0.5);
    expect([counted(TAP) - before[0], counted(PACKET) - before[1]]).toEqual([2, 2]);
  }

  /** Nothing is lost of the slots; ports that have failed are taken in again, and frames pass both ways. */
  function recover(): void {
    for (const port of [TAP, PACKET]) {
      if (harness.memory.portErrors[port] === 0) continue;
      harness.engine.removePort(port);
      harness.engine.addPort(port, fds[port], port === TAP ? 0 : 1);
    }
    harness.engine.useRing(way.ring);
    while (harness.burst().length > 0);
    const { freeSlots } = harness.memory;
    expect(harness.free).toBe(SLOTS);
    expect(new Set(freeSlots).size).toBe(SLOTS);
    put(outside[TAP], frame(50));
    put(outside[PACKET], frame(51));
    // After an EAGAIN that was none, what was there comes with what comes next.
    const fresh = (all: Received[]) => all.filter((one) => numberOf(one) >= 50);
    const received = fresh(harness.until((all) => fresh(all).length >= 2));
    expect(received.map((one) => [one.port, numberOf(one)]).sort()).toEqual([
      [TAP, 50],
      [PACKET, 51],
    ]);
    const sent = [TAP, PACKET].map((port) => ({ port, bytes: frame(52) }));
    expect(harness.transmit(sent)).toBe(2);
  }

  const calls = way.ring ? [...LOOP_CALLS, ...RING_CALLS] : LOOP_CALLS;

  it.each(calls)("%s, once, with each errno", (call) => {
    let hits = 0;
    for (const { errno } of ERRORS) {
      hits += failEachOnce(call, errno, traffic);
      recover();
    }
    // With a ring, TAPs are read and written without these.
    if (!way.ring || !["read", "write", "writev"].includes(call)) expect(hits).toBeGreaterThan(0);
  });

  it.each(calls)("%s, again and again, with each errno", (call) => {
    for (const { errno } of ERRORS) {
      withFault(call, errno, 0, errno === EINTR ? 5 : 1000, traffic);
      recover();
    }
  });

  it("takes what a call leaves over with the next one", () => {
    const short = way.ring ? ["recvmmsg", "sendmmsg", "io_uring_enter"] : ["recvmmsg", "sendmmsg"];
    for (const call of short) {
      for (const port of [TAP, PACKET]) for (const number of [1, 2, 3]) put(outside[port], frame(number));
      const sent = [TAP, PACKET].flatMap((port) => [1, 2, 3].map((number) => ({ port, bytes: frame(number) })));
      const hits = withFault(call, 0, 0, 1000, () => {
        expect(harness.transmit(sent)).toBe(6);
        const received = harness.until((all) => all.length >= 6);
        for (const port of [TAP, PACKET]) {
          expect(received.filter((one) => one.port === port).map(numberOf)).toEqual([1, 2, 3]);
        }
      });
      expect(hits).toBeGreaterThan(0);
      recover();
    }
  });

  it("counts what one frame costs, and reports what takes a port out of service", () => {
    const read = way.ring ? "completion" : "read";
    const { RX_ERRORS, TX_ERRORS, TX_FULL } = PortCounter;
    const lost = (errno: number) => {
      const before = sum(TAP, RX_ERRORS);
      put(outside[TAP], frame(1));
      withFault(read, errno, 0, 1, () => harness.burst(64, 100));
      return sum(TAP, RX_ERRORS) - before;
    };
    for (const name of ["ENOMEM", "ENOBUFS"] as const) {
      expect(lost(ERRORS.find((each) => each.name === name)?.errno ?? 0)).toBe(1);
      expect(harness.memory.portErrors[TAP]).toBe(0);
      recover();
    }
    const EIO = ERRORS.find(({ name }) => name === "EIO")?.errno ?? 0;
    const EAGAIN = ERRORS.find(({ name }) => name === "EAGAIN")?.errno ?? 0;
    put(outside[TAP], frame(1));
    withFault(read, EIO, 0, 1, () => harness.burst(64, 100));
    expect(harness.memory.portErrors[TAP]).toBe(EIO);
    expect(harness.memory.state[EngineState.PORT_ERRORS]).toBe(1);
    recover();
    const write = way.ring ? "completion" : "write";
    for (const [errno, counter] of [
      [EIO, TX_ERRORS],
      [EAGAIN, TX_FULL],
    ]) {
      const before = harness.counter(TAP, counter);
      withFault(write, errno, 0, 1, () => harness.transmit([{ port: TAP, bytes: frame(1) }]));
      expect(harness.counter(TAP, counter)).toBe(before + 1);
      expect(harness.memory.portErrors[TAP]).toBe(0);
      recover();
    }
  });

  it("takes a packet socket for gone when it cannot say whether its device is", () => {
    ip(netns, "link set v0 down");
    withFault("getsockname", EINTR, 0, 1, () => expect(harness.untilFailed(PACKET)).toBeGreaterThan(0));
    ip(netns, "link set v0 up");
    recover();
  });
});

describe.skipIf(!ready)("a ring", () => {
  const [, { ring }] = WAYS;
  const passing = ERRORS.filter(({ name }) => ["EAGAIN", "ENOMEM", "ENOBUFS"].includes(name));
  const lasting = ERRORS.filter(({ name }) => ["EIO", "EMFILE"].includes(name));

  function withTap() {
    const harness = new Harness({ way: { name: "", ring }, slotCount: SLOTS });
    const netns = namespace();
    harness.tap(TAP, netns, "t0");
    ip(netns, "link set t0 up");
    const { fd } = native().openPacketSocket({ device: "t0", netns: netnsPath(netns) });
    closeLater(fd);
    return { harness, fd };
  }

  it.each(passing)("is kept through $name, and no frame is lost or late", ({ errno }) => {
    const { harness, fd } = withTap();
    put(fd, frame(1));
    const sent = [1, 2].map((number) => ({ port: TAP, bytes: frame(number) }));
    withFault("io_uring_enter", errno, 0, 1, () => expect(harness.burst(64, 1000).map(numberOf)).toEqual([1]));
    withFault("io_uring_enter", errno, 0, 1, () => expect(harness.transmit(sent)).toBe(2));
    expect(harness.memory.state[EngineState.RING_ERROR]).toBe(0);
    put(fd, frame(2));
    // It is asked again.
    expect(withFault("io_uring_enter", errno, 0, 1, () => harness.expectFrames(1))).toBe(1);
  });

  it.each(lasting)("is given up for $name, which is told once, and no frame is lost or late", ({ errno }) => {
    const { harness, fd } = withTap();
    put(fd, frame(1));
    withFault("io_uring_enter", errno, 0, 1, () => expect(harness.burst(64, 1000).map(numberOf)).toEqual([1]));
    expect(harness.memory.state[EngineState.RING_ERROR]).toBe(errno);
    expect(harness.memory.state[EngineState.PORT_ERRORS]).toBe(1);
    put(fd, frame(2));
    expect(withFault("io_uring_enter", errno, 0, 1, () => harness.expectFrames(1))).toBe(0);
    expect(harness.transmit([{ port: TAP, bytes: frame(1) }])).toBe(1);
  });

  it.each(["io_uring_setup", "mmap"])("that cannot be had (%s) is said not to be there", (call) => {
    const { harness } = withTap();
    for (const { errno } of ERRORS) {
      withFault(call, errno, 0, 1, () => expect(harness.engine.useRing(true)).toBe(false));
      expect(harness.transmit([{ port: TAP, bytes: frame(1) }])).toBe(1);
    }
    expect(harness.engine.useRing(true)).toBe(true);
  });
});
