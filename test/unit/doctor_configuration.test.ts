/** Whether a configuration fits a machine: each thing that may be in the way, by itself. */
import { describe, expect, it } from "vitest";
import {
  type ConfigurationFacts,
  checkConfigurationFacts,
  type TapFacts,
  type UplinkFacts,
} from "../../src/control/doctor/configuration_checks.ts";
import { mergesOf, readRoutes } from "../../src/control/doctor/configuration_facts.ts";
import { exitCodeOf, type Finding } from "../../src/control/doctor/finding.ts";

const TAP: TapFacts = { name: "c1", ifname: "eth0", netns: "/run/netns/c1", namespace: "there", isTaken: false };
const UPLINK: UplinkFacts = {
  name: "wan",
  device: "up0",
  isThere: true,
  isBridged: false,
  mtu: 1500,
  wantedMtu: 0,
  merges: true,
};
const LAB = { name: "lab", subnet: { address: 0x0a374200, length: 24 } };
const GOOD: ConfigurationFacts = {
  taps: [TAP],
  uplinks: [UPLINK],
  networks: [LAB],
  routes: [{ to: { address: 0x0a374300, length: 24 }, device: "docker0" }],
  kernelForwards: false,
  bridgeAsksIptables: true,
  neededBytes: 1 << 29,
  availableBytes: 2 ** 32,
  openFiles: 1024,
  raw: { raws: [], localPorts: { first: 32_768, last: 60_999 }, reservedPorts: [], leftTables: [] },
  isRunning: false,
};

const troubles = (change: Partial<ConfigurationFacts>): Finding[] =>
  checkConfigurationFacts({ ...GOOD, ...change }).filter(({ status }) => status !== "ok");
const tap = (change: Partial<TapFacts>) => ({ taps: [{ ...TAP, ...change }] });
const uplink = (change: Partial<UplinkFacts>) => ({ uplinks: [{ ...UPLINK, ...change }] });
const route = (address: number, length: number) => ({
  routes: [{ to: { address: address | 0, length }, device: "br0" }],
});

const IN_THE_WAY: [string, Partial<ConfigurationFacts>, string, string, RegExp][] = [
  ["no namespace", tap({ namespace: "absent" }), "port c1", "problem", /ip netns add c1/],
  ["no process", tap({ namespace: "absent", netns: "/proc/7/ns/net" }), "port c1", "problem", /runs/],
  ["a closed namespace", tap({ namespace: "closed" }), "port c1", "problem", /CAP_SYS_ADMIN/],
  ["a device of that name", tap({ isTaken: true }), "port c1", "problem", /ifname/],
  ["no uplink device", uplink({ isThere: false, mtu: 0 }), "uplink wan", "problem", /namespace/],
  ["a kernel address", uplink({ address: "203.0.113.1" }), "uplink wan", "problem", /ip address flush dev up0/],
  ["a small device", uplink({ wantedMtu: 9000 }), "uplink wan", "problem", /ip link set up0 mtu 9000/],
  ["no GRO", uplink({ merges: false }), "uplink wan", "warning", /ethtool -K up0 gro on/],
  ["a bridged uplink", uplink({ isBridged: true }), "uplink wan", "warning", /bridge-nf-call-iptables=0/],
  ["the same subnet", route(0x0a374200, 24), "network lab", "warning", /subnet/],
  ["a longer prefix", route(0x0a374280, 25), "network lab", "warning", /subnet/],
  ["a shorter prefix", route(0x0a000000, 8), "network lab", "warning", /subnet/],
  ["a forwarding kernel", { kernelForwards: true }, "ip_forward", "warning", /ip_forward=0/],
  ["little memory", { availableBytes: 2 ** 29 }, "memory", "warning", /limits\.flows/],
  ["too little memory", { availableBytes: 2 ** 28 }, "memory", "problem", /limits\.flows/],
  ["few descriptors", { openFiles: 65 }, "open files", "problem", /ulimit/],
];

describe("the doctor of configurations", () => {
  it("finds nothing wrong where nothing is in the way", () => {
    expect(troubles({})).toEqual([]);
    expect(troubles({ routes: [], uplinks: [], kernelForwards: true })).toEqual([]);
    expect(troubles({ bridgeAsksIptables: false, ...uplink({ isBridged: true }) })).toEqual([]);
    expect(troubles(uplink({ wantedMtu: 1400 }))).toEqual([]);
  });

  it.each(IN_THE_WAY)("names %s and the cure", (_, change, check, status, cure) => {
    const found = troubles(change);
    expect(found).toMatchObject([{ check, status, cure: expect.stringMatching(cure) }]);
    const codes: Record<string, number> = { warning: 0, problem: 1 };
    expect(exitCodeOf(found)).toBe(/cannot be entered/.test(found[0].finding) ? 5 : codes[status]);
  });

  it("takes devices for the router's own where it runs", () => {
    expect(troubles({ ...tap({ isTaken: true }), isRunning: true })).toEqual([]);
  });

  it("reads the kernel's routes, and leaves the default route out", () => {
    const text = JSON.stringify([
      { dst: "default", gateway: "192.0.2.1", dev: "eth0" },
      { dst: "10.55.66.0/24", dev: "docker0" },
      { dst: "198.51.100.7", dev: "eth0" },
      { type: "blackhole", dst: "203.0.113.0/24" },
    ]);
    expect(readRoutes(text)).toEqual([
      { to: { address: 0x0a374200, length: 24 }, device: "docker0" },
      { to: { address: 0xc6336407 | 0, length: 32 }, device: "eth0" },
    ]);
  });

  it("reads GRO from ethtool's words", () => {
    expect(mergesOf("Features for up0:\ngeneric-receive-offload: on\n")).toBe(true);
    expect(mergesOf("generic-receive-offload: off [fixed]\n")).toBe(false);
    expect(mergesOf("")).toBeUndefined();
    expect(mergesOf(undefined)).toBeUndefined();
  });
});
