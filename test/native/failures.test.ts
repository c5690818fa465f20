import { beforeEach, describe, expect, it } from "vitest";
import { EngineState, native, PortCounter } from "../../src/io/native.ts";
import { ip, namespace, netnsPath, requireSystem, veth } from "../support/netns.ts";
import { closeLater, closeNow, frame, Harness, numberOf, put } from "./harness.ts";
import { WAYS } from "./ways.ts";

const ready = requireSystem([], "devices that fail");

/** errno, as `portErrors` has them. */
const ENODEV = 19;
const EBADFD = 77;

describe.skipIf(!ready).each(WAYS)("devices that fail, $name", (way) => {
  let harness: Harness;

  beforeEach(() => {
    harness = new Harness({ way });
  });

  /** Ports 0 and 1 are TAPs, 2 and 3 the ends of a veth; all must work at the end of a test. */
  function others(): () => void {
    const netns = namespace();
    for (const port of [0, 1]) {
      harness.tap(port, netns, `t${port}`);
      ip(netns, `link set t${port} up`);
    }
    const { fd } = native().openPacketSocket({ device: "t0", netns: netnsPath(netns) });
    closeLater(fd);
    veth({ netns, ifname: "v0" }, { netns, ifname: "v1" });
    harness.packet(2, netns, "v0");
    harness.packet(3, netns, "v1");
    return () => {
      put(fd, frame(50));
      expect(
        harness.transmit([
          { port: 1, bytes: frame(51) },
          { port: 2, bytes: frame(52) },
        ]),
      ).toBe(2);
      const received = harness.until((all) => all.some((one) => one.port === 0) && all.some((one) => one.port === 3));
      expect(received.map(numberOf).sort()).toEqual([50, 52]);
      expect([0, 1, 2, 3].map((port) => harness.memory.portErrors[port])).toEqual([0, 0, 0, 0]);
    };
  }

  it.each(["link", "namespace"])("reports a TAP whose %s is deleted, once", (what) => {
    const check = others();
    const netns = namespace();
    harness.tap(4, netns, "eth0");
    ip(netns, "link set eth0 up");
    ip(undefined, what === "link" ? `-n ${netns} link del eth0` : `netns del ${netns}`);
    expect(harness.untilFailed(4)).toBe(EBADFD);
    expect(harness.memory.state[EngineState.PORT_ERRORS]).toBe(1);
    harness.memory.portErrors[4] = 0;
    check();
    expect(harness.memory.portErrors[4]).toBe(0);
    expect(harness.transmit([{ port: 4, bytes: frame(1) }])).toBe(0);
    expect(harness.counter(4, PortCounter.TX_ERRORS)).toBe(1);
  });

  it("reports a TAP that is gone when a frame is sent to it first", () => {
    const netns = namespace();
    harness.tap(4, netns, "eth0");
    ip(netns, "link set eth0 up");
    ip(netns, "link del eth0");
    expect(
      harness.transmit([
        { port: 4, bytes: frame(1) },
        { port: 4, bytes: frame(2) },
      ]),
    ).toBe(0);
    expect(harness.memory.portErrors[4]).toBe(EBADFD);
    expect(harness.memory.state[EngineState.PORT_ERRORS]).toBe(1);
    expect(harness.counter(4, PortCounter.TX_ERRORS)).toBe(2);
  });

  it("reports a packet socket whose device is deleted", () => {
    const check = others();
    const netns = namespace();
    veth({ netns, ifname: "up0" }, { netns, ifname: "up1" });
    harness.packet(4, netns, "up0");
    harness.packet(5, netns, "up1");
    ip(netns, "link del up0");
    expect(harness.untilFailed(4)).toBe(ENODEV);
    expect(harness.untilFailed(5)).toBe(ENODEV);
    check();
  });

  it.each(["before a wait", "in the middle of traffic"])("works on when a TAP was down, %s", (when) => {
    const check = others();
    const netns = namespace();
    const fd = harness.tap(4, netns, "eth0");
    const send = () => {
      const socket = native().openPacketSocket({ device: "eth0", netns: netnsPath(netns) });
      put(socket.fd, frame(7));
      native().closeDescriptor(socket.fd);
    };
    if (when === "in the middle of traffic") {
      ip(netns, "link set eth0 up");
      send();
      expect(harness.expectFrames(1, 4)).toHaveLength(1);
      ip(netns, "link set eth0 down");
    }
    expect(harness.transmit([{ port: 4, bytes: frame(1) }])).toBe(0);
    expect(harness.counter(4, PortCounter.TX_ERRORS)).toBe(1);
    // A device that is down must not wake the loop again and again.
    harness.burst();
    const before = native().monotonicMilliseconds();
    for (let i = 0; i < 5; i++) expect(harness.burst(64, 10)).toEqual([]);
    expect(native().monotonicMilliseconds() - before).toBeGreaterThan(40);
    ip(netns, "link set eth0 up");
    send();
    expect(harness.expectFrames(1, 4).map(numberOf)).toEqual([7]);
    expect(harness.transmit([{ port: 4, bytes: frame(1) }])).toBe(1);
    expect(harness.memory.portErrors[4]).toBe(0);
    check();
    expect(fd).toBeGreaterThan(0);
  });

  it("works on when the device of a packet socket was down", () => {
    const check = others();
    const netns = namespace();
    veth({ netns, ifname: "up0" }, { netns, ifname: "up1" });
    harness.packet(4, netns, "up0");
    harness.packet(5, netns, "up1");
    for (let round = 0; round < 3; round++) {
      // What came before the device went down is still delivered.
      harness.transmit([
        { port: 5, bytes: frame(1) },
        { port: 5, bytes: frame(2) },
      ]);
      ip(netns, "link set up0 down");
      expect(harness.expectFrames(2, 4).map(numberOf)).toEqual([1, 2]);
      expect(harness.transmit([{ port: 4, bytes: frame(3) }])).toBe(0);
      harness.burst();
      harness.burst();
      const before = native().monotonicMilliseconds();
      for (let i = 0; i < 5; i++) expect(harness.burst(64, 10)).toEqual([]);
      expect(native().monotonicMilliseconds() - before).toBeGreaterThan(40);
      ip(netns, "link set up0 up");
      expect(harness.transmit([{ port: 4, bytes: frame(4) }])).toBe(1);
      expect(harness.expectFrames(1, 5).map(numberOf)).toEqual([4]);
      expect([harness.memory.portErrors[4], harness.memory.portErrors[5]]).toEqual([0, 0]);
    }
    check();
  });

  it("takes another device in the place of one that was removed or has failed", () => {
    const check = others();
    for (const failed of [false, true]) {
      const netns = namespace();
      const fd = harness.tap(4, netns, "eth0");
      ip(netns, "link set eth0 up");
      const { fd: inside } = native().openPacketSocket({ device: "eth0", netns: netnsPath(netns) });
      put(inside, frame(1));
      put(inside, frame(2));
      expect(harness.until((all) => all.length > 0, 1)).toHaveLength(1);
      native().closeDescriptor(inside);
      if (failed) {
        ip(netns, "link del eth0");
        expect(harness.untilFailed(4)).toBe(EBADFD);
      }
      harness.engine.removePort(4);
      closeNow(fd);
      const other = namespace();
      harness.tap(4, other, "eth0");
      ip(other, "link set eth0 up");
      const socket = native().openPacketSocket({ device: "eth0", netns: netnsPath(other) });
      closeLater(socket.fd);
      put(socket.fd, frame(8));
      expect(harness.expectFrames(1, 4).map(numberOf)).toEqual([8]);
      expect(harness.memory.portErrors[4]).toBe(0);
      check();
      harness.engine.removePort(4);
    }
  });
});
