/** What has to be closed and opened to get from one plan's devices to the next's. */
import { describe, expect, it } from "vitest";
import type { DevicePlan } from "../../src/control/configuration/configuration.ts";
import { compareDevices, isPlanned } from "../../src/control/device_change.ts";

const tap = (port: number, change: Partial<DevicePlan> = {}): DevicePlan => ({
  port,
  kind: "tap",
  name: `c${port}`,
  netns: `/run/netns/c${port}`,
  ifname: "eth0",
  mtu: 1500,
  mac: "02:00:00:00:00:01",
  ...change,
});

const ports = (change: ReturnType<typeof compareDevices>) =>
  Object.fromEntries(Object.entries(change).map(([what, plans]) => [what, (plans as DevicePlan[]).map((p) => p.port)]));

describe("compareDevices", () => {
  it("leaves alone what stays", () => {
    const change = compareDevices([tap(1), tap(2)], new Set(), [tap(2), tap(1)]);
    expect(ports(change)).toEqual({ closing: [], opening: [], replacing: [], retrying: [] });
  });

  it("closes what goes and opens what comes, side by side", () => {
    const change = compareDevices([tap(1), tap(2)], new Set(), [tap(2), tap(3)]);
    expect(ports(change)).toEqual({ closing: [1], opening: [3], replacing: [], retrying: [] });
  });

  it("makes a changed device anew, which has to wait for the old one to go", () => {
    for (const changed of [
      { mtu: 9000 },
      { mac: "02:00:00:00:00:02" },
      { address: { address: 1, prefixLength: 24 } },
    ]) {
      const change = compareDevices([tap(1)], new Set(), [tap(1, changed)]);
      expect(ports(change)).toEqual({ closing: [1], opening: [], replacing: [1], retrying: [] });
    }
  });

  it("waits when another port takes over a device's name in its namespace", () => {
    const taker = tap(2, { netns: "/run/netns/c1" });
    const change = compareDevices([tap(1)], new Set(), [taker]);
    expect(ports(change)).toEqual({ closing: [1], opening: [], replacing: [2], retrying: [] });
    const elsewhere = compareDevices([tap(1)], new Set(), [tap(2)]);
    expect(ports(elsewhere)).toEqual({ closing: [1], opening: [2], replacing: [], retrying: [] });
  });

  it("tries a failed device again, apart from those that must work", () => {
    const change = compareDevices([tap(1)], new Set([2, 3]), [tap(1), tap(2)]);
    expect(ports(change)).toEqual({ closing: [], opening: [], replacing: [], retrying: [2] });
  });
});

describe("isPlanned", () => {
  it("asks for the very same device", () => {
    expect(isPlanned(tap(1), [tap(2), tap(1)])).toBe(true);
    expect(isPlanned(tap(1), [tap(2)])).toBe(false);
    expect(isPlanned(tap(1), [tap(1, { mtu: 9000 })])).toBe(false);
  });
});
