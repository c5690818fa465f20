/** `show drops`: each reason with its stage, the rule, and the last packet that met it. */
import { describe, expect, it } from "vitest";
import { rehearse } from "../../src/dataplane/explain/rehearse.ts";
import type { DropRow } from "../../src/dataplane/messages.ts";
import { show } from "../../src/dataplane/show.ts";
import { stageOf } from "../../src/dataplane/stop_stages.ts";
import { STOP_REASONS } from "../../src/packet/stop_reasons.ts";
import { ethernet, udp } from "../support/frames.ts";
import { C1_MAC, defaultPlan, GATEWAY_MAC, Port, TestRouter } from "../support/router.ts";
import { Action } from "../support/rules.ts";

const OUT = { source: "10.55.66.2", destination: "203.0.113.2" };

function closedWorld(): TestRouter {
  const plan = defaultPlan();
  plan.forward = {
    policy: Action.DROP,
    rules: [{ name: "no-dns", protocol: 17, destinationPorts: [{ low: 53, high: 53 }], action: Action.DROP }],
  };
  const r = new TestRouter(plan);
  r.introduce();
  return r;
}

const dropOf = (r: TestRouter, reason: string): DropRow | undefined =>
  (show(r.router, "drops", new Float64Array(0)) as DropRow[]).find((row) => row.reason === reason);

describe("the last packet of a stop reason", () => {
  it("is told with its port, its rule and its stage", () => {
    const r = closedWorld();
    expect(dropOf(r, "forward-drop")).toMatchObject({ stage: "forward", count: 0 });
    expect(dropOf(r, "forward-drop")?.last).toBeUndefined();
    r.fromC1(udp(OUT, 4000, 53));
    const last = dropOf(r, "forward-drop")?.last;
    expect(last).toMatchObject({ port: "c1", rule: { chain: "FORWARD", number: 1 } });
    expect(last?.rule?.rule).toContain("no-dns");
    expect(last?.frame).toContain("10.55.66.2.4000 > 203.0.113.2.53: UDP, length 0");
    expect(Math.abs((last?.time ?? 0) - Date.now())).toBeLessThan(60_000);
  });

  it("is a later one as soon as the clock goes on, and names the policy where no rule decides", () => {
    const r = closedWorld();
    r.fromC1(udp(OUT, 4000, 53));
    r.fromC1(udp(OUT, 4001, 99));
    expect(dropOf(r, "forward-drop")?.last?.frame).toContain(".4000 >");
    r.now += 1;
    r.fromC1(udp(OUT, 4002, 99));
    expect(dropOf(r, "forward-drop")?.last?.frame).toContain(".4002 >");
    expect(dropOf(r, "forward-drop")?.last?.rule).toEqual({ chain: "FORWARD", number: 0, rule: "policy DROP" });
    expect(dropOf(r, "forward-drop")?.count).toBe(3);
  });

  it("keeps the words of a rule that is gone", () => {
    const r = closedWorld();
    r.fromC1(udp(OUT, 4000, 53));
    const plan = defaultPlan();
    r.apply(plan);
    expect(dropOf(r, "forward-drop")?.last?.rule?.rule).toContain("no-dns");
  });

  it("prints any bytes, and packets longer than what is kept of them", () => {
    const r = closedWorld();
    r.send(Port.C1, Uint8Array.of(1, 2, 3));
    expect(dropOf(r, "frame-truncated")?.last?.frame).toBe("[|ether]");
    r.fromC1(udp(OUT, 4000, 99, new Uint8Array(1400)));
    expect(dropOf(r, "forward-drop")?.last?.frame).toContain("UDP, length 1400");
    const tags = new Uint8Array(600).fill(0x81).map((byte, index) => (index % 2 === 0 ? byte : 0));
    r.send(Port.WAN, ethernet(GATEWAY_MAC, C1_MAC, 0x8100, tags));
    expect(dropOf(r, "not-for-router")?.last?.frame).toContain("vlan");
  });

  it("is not changed by a rehearsal", () => {
    const r = closedWorld();
    rehearse(r.router, Port.C1, ethernet(GATEWAY_MAC, C1_MAC, 0x0800, udp(OUT, 4000, 53)));
    expect(dropOf(r, "forward-drop")).toMatchObject({ count: 0 });
    expect(dropOf(r, "forward-drop")?.last).toBeUndefined();
  });
});

it("every stop reason has a stage", () => {
  const without = STOP_REASONS.filter((_, stop) => stop > 0 && stageOf(stop) === "").map(({ name }) => name);
  expect(without).toEqual([]);
});
