/** Impairments on real devices: what ping sees, and what the commands say. No upper bound on a time is asserted. */
import { describe, expect, it } from "vitest";
import { must, ping, requireSystem } from "../support/netns.ts";
import { Address, tapirWorld } from "./worlds.ts";

const canRun = requireSystem(["ping"], "tapir impair on real devices");

/** Round trips that ping tells of, in milliseconds. */
function roundTrips(netns: string, address: string): number[] {
  const output = must(netns, "ping", ["-n", "-c", "3", "-i", "0.2", "-W", "5", address]);
  return [...output.matchAll(/time=([0-9.]+) ms/g)].map(([, time]) => Number(time));
}

const lost = (netns: string, address: string): boolean => !ping(netns, address, "-c", "1", "-W", "1");

describe.skipIf(!canRun)("tapir impair", () => {
  it("delays both ways, loses all, and ends, while the router runs", async () => {
    const { c1, c2, tapir } = await tapirWorld();
    if (tapir === undefined) throw new Error("no router");
    expect(ping(c1, Address.SERVER)).toBe(true);

    tapir.mustTapir("impair", "c1", "--direction", "both", "--delay", "30ms");
    const times = roundTrips(c1, Address.SERVER);
    expect(times.length).toBe(3);
    expect(Math.min(...times)).toBeGreaterThanOrEqual(60);

    // Each direction by itself.
    tapir.mustTapir("impair", "c1", "--direction", "in", "--clear");
    expect(Math.min(...roundTrips(c1, Address.SERVER))).toBeGreaterThanOrEqual(30);
    tapir.mustTapir("impair", "wan", "--loss", "100%");
    expect(lost(c1, Address.SERVER)).toBe(true);
    const rows = JSON.parse(tapir.mustTapir("impair", "-j")) as { port: string; direction: string; lost: number }[];
    expect(rows.map(({ port, direction }) => `${port} ${direction}`)).toEqual(["c1 out", "wan out"]);
    expect(rows[1].lost).toBeGreaterThanOrEqual(1);
    expect(tapir.mustTapir("show", "drops")).toMatch(/impairment-loss .*\bdropped\b/);
    tapir.mustTapir("impair", "wan", "--clear");
    expect(ping(c1, Address.SERVER)).toBe(true);

    // A network stands for each of its ports; a port may be taken out again.
    tapir.mustTapir("impair", "lab", "--loss", "100%");
    expect(tapir.mustTapir("impair", "c1", "--clear")).toBe("c1: nothing is impaired\n");
    expect(ping(c1, Address.SERVER)).toBe(true);
    expect(lost(c2, Address.SERVER)).toBe(true);
    tapir.mustTapir("impair", "lab", "--clear");
    expect(ping(c2, Address.SERVER)).toBe(true);
    expect(tapir.mustTapir("impair")).toBe("nothing is impaired\n");
  });

  it("says in one line what is wrong", async () => {
    const { tapir } = await tapirWorld();
    if (tapir === undefined) throw new Error("no router");
    const said = (...words: string[]): string => {
      const { status, stderr } = tapir.tapir("impair", ...words);
      return `${status} ${stderr.trim()}`;
    };
    expect(said("c1", "--loss", "200%")).toBe(
      "3 tapir: configuration: networks.lab.ports.c1.impair.loss: 200% is more than 100%",
    );
    expect(said("c1", "--delay", "20")).toMatch(/^3 .*expected a time like 20ms, 1.5s or 300us, not "20"$/);
    expect(said("c9", "--loss", "1%")).toBe("1 tapir: impair: no port, network or uplink is called c9");
    expect(said("c1")).toBe("2 tapir: impair: how? See tapir impair --help; --clear ends an impairment");
    expect(said("--loss", "1%")).toBe("2 tapir: impair: which port?");
    expect(said("c1", "--clear", "--loss", "1%")).toBe("2 tapir: impair: --clear takes no settings");
  });
});
