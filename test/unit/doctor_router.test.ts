/** Whether a router is called healthy, by what it says of itself. */
import { describe, expect, it } from "vitest";
import { exitCodeOf, type Finding } from "../../src/control/doctor/finding.ts";
import { checkRouter } from "../../src/control/doctor/router_checks.ts";
import { checkSocket, checkStranger } from "../../src/control/doctor/socket.ts";
import { type Health, type HealthSource, watchHealth } from "../../src/control/health.ts";

const PORT = { name: "c1", state: "up", txFull: 0, txErrors: 0, rxErrors: 0 };
const GOOD: Health = {
  version: "1.0.0",
  pid: 42,
  uptimeSeconds: 1,
  observedSeconds: 2,
  dataplaneMs: 0.4,
  eventLoopLagMs: 3,
  tables: [
    { name: "flows", used: 79, limit: 100 },
    { name: "macs", used: 0, limit: 16 },
    { name: "frame slots", used: 1, limit: 4096 },
  ],
  drops: [
    { reason: "forward-drop", text: "dropped by the forward chain", count: 9, during: 4 },
    { reason: "ttl-exceeded", text: "time to live exceeded", count: 1, during: 0 },
  ],
  ports: [PORT],
  framesReceived: 2000,
  confinement: { capabilities: "0000000000000000", noNewPrivileges: true, filtered: true },
  invariants: { flows: 79, translated: 0, mappings: 0, violations: [] },
};

const check = (change: Partial<Health>): Finding[] => checkRouter({ ...GOOD, ...change }, "1.0.0");
const troubles = (change: Partial<Health>): Finding[] => check(change).filter(({ status }) => status !== "ok");
const flows = (used: number) => ({ tables: [{ name: "flows", used, limit: 100 }] });
const drop = (reason: string, during: number) => ({ drops: [{ reason, text: "why", count: 7, during }] });
const port = (change: Partial<typeof PORT>) => ({ ports: [{ ...PORT, ...change }] });

const FREE = { capabilities: "000001ffffffffff", noNewPrivileges: true, filtered: false };
const SICK: [string, Partial<Health>, string, string, RegExp][] = [
  ["of another version", { version: "0.9.0" }, "router", "warning", /restart/],
  ["with a slow dataplane", { dataplaneMs: 101 }, "dataplane", "warning", /processor/],
  ["with a busy event loop", { eventLoopLagMs: 201 }, "event loop", "warning", /API/],
  ["with a dataplane that may do too much", { confinement: FREE }, "privileges", "warning", /docs\/security/],
  ["with a failed port", port({ state: "failed (its namespace is gone)" }), "port c1", "problem", /detach c1/],
  ["with a slow receiver", port({ txFull: 5 }), "port c1", "warning", /txqueuelen/],
  ["with a device that refuses", port({ txErrors: 1 }), "port c1", "warning", /ip -s link/],
  ["with malformed frames", port({ rxErrors: 1 }), "port c1", "warning", /ip -s link/],
  ["that is nearly full", flows(80), "table flows", "warning", /limits\.flows/],
  ["that is full", flows(95), "table flows", "problem", /limits\.flows/],
  [
    "with many parked frames",
    { tables: [{ name: "frame slots", used: 4000, limit: 4096 }] },
    "table frame slots",
    "problem",
    /show neighbours/,
  ],
  ["that turns flows away", drop("flow-table-full", 3), "drops", "problem", /limits\.flows/],
  ["that turned flows away", drop("flow-table-full", 0), "drops", "warning", /limits\.flows/],
  ["without ports for NAT", drop("nat-ports-exhausted", 1), "drops", "problem", /nat\.snat/],
  [
    "whose books are wrong",
    { invariants: { flows: 1, translated: 0, mappings: 0, violations: ["flows: 2 in the books, 1 by the flows"] } },
    "invariants",
    "problem",
    /report/,
  ],
];

describe("the doctor of routers", () => {
  it("finds nothing wrong with a healthy one", () => {
    expect(troubles({})).toEqual([]);
  });

  it.each(SICK)("names one %s, and the cure", (_, change, name, status, cure) => {
    const found = troubles(change);
    expect(found).toMatchObject([{ check: name, status, cure: expect.stringMatching(cure) }]);
    expect(exitCodeOf(found)).toBe(status === "problem" ? 1 : 0);
  });

  it("gives drops with their rate, those of a policy as well", () => {
    expect(check({}).map(({ finding }) => finding)).toContain(
      "forward-drop, dropped by the forward chain: 4 frames (2.0 a second)",
    );
    expect(check({}).map(({ finding }) => finding)).toContain(
      "10 frames since the start for 2 reasons (`tapir show drops`)",
    );
  });

  it("does not hold a router with many flows up", () => {
    const { invariants: _, ...health } = GOOD;
    const found = checkRouter(health, "1.0.0").find((each) => each.check === "invariants");
    expect(found).toMatchObject({ status: "ok", finding: expect.stringContaining("not asked for") });
  });
});

describe("the doctor of sockets", () => {
  it("misses a router only where one was asked for", () => {
    expect(checkSocket("/s", "absent", false).status).toBe("ok");
    expect(checkSocket("/s", "absent", true)).toMatchObject({ status: "problem" });
  });

  it("tells what is in the way", () => {
    expect(checkSocket("/s", "stale", true)).toMatchObject({ status: "warning" });
    expect(checkSocket("/s", "no-socket", false)).toMatchObject({ status: "problem" });
    expect(checkSocket("/s", "forbidden", false)).toMatchObject({ status: "problem", missing: true });
    expect(checkStranger("/s", "why")).toMatchObject({ status: "problem", finding: expect.stringContaining("why") });
  });
});

describe("watching a router", () => {
  /** A router of cardboard, whose counters have gone on between two looks. */
  function source(flowCount = 3): HealthSource {
    let looks = 0;
    const counters = { flows: flowCount, flowLimit: 8, stations: 2, neighbours: 1, slotsHeld: 1, slotLimit: 64 };
    return {
      resolved: { limits: { flows: 8, macs: 16, neighbours: 32 } },
      dataplanePid: undefined,
      show: async (table) => {
        if (table === "stats") return { counters: { ...counters, framesReceived: 100 * ++looks } };
        if (table === "invariants") return { flows: 3, translated: 0, mappings: 0, violations: [] };
        return [
          { reason: "routed", text: "", outcome: "done", count: 50 },
          { reason: "no-route", text: "none", outcome: "dropped", count: 5 * looks },
          { reason: "fragment", text: "never", outcome: "dropped", count: 0 },
        ];
      },
      ports: async () => [
        { name: "c1", state: "up", txFull: 2 * looks, txErrors: 7, rxErrors: 0 },
        { name: "c2", state: "failed (gone)" },
      ],
    };
  }

  it("gives what came and was lost meanwhile", async () => {
    const health = await watchHealth(source(), 0);
    expect(health).toMatchObject({
      framesReceived: 100,
      drops: [{ reason: "no-route", text: "none", count: 10, during: 5 }],
      ports: [
        { name: "c1", state: "up", txFull: 2, txErrors: 0, rxErrors: 0 },
        { name: "c2", state: "failed (gone)", txFull: 0, txErrors: 0, rxErrors: 0 },
      ],
      tables: [
        { name: "flows", used: 3, limit: 8 },
        { name: "macs", used: 2, limit: 16 },
        { name: "neighbours", used: 1, limit: 32 },
        { name: "frame slots", used: 1, limit: 64 },
      ],
      invariants: { violations: [] },
      pid: process.pid,
    });
    expect(health.observedSeconds).toBeGreaterThan(0);
  });

  it("asks for the invariants only where that takes little time", async () => {
    expect((await watchHealth(source(200_000), 0)).invariants).toBeDefined();
    expect((await watchHealth(source(200_001), 0)).invariants).toBeUndefined();
  });
});
