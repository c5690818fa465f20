import { describe, expect, it } from "vitest";
import { ethernet, udp } from "../support/frames.ts";
import { ADDRESSES } from "../support/lan.ts";
import { C1_MAC, defaultPlan, GATEWAY_MAC, Port, TestRouter } from "../support/router.ts";

const SERVER = "203.0.113.2";

function limited(rateLimit: { packets?: number; bytes?: number; flows?: number }): TestRouter {
  const plan = defaultPlan();
  plan.ports[0] = { ...plan.ports[0], rateLimit };
  const r = new TestRouter(plan);
  r.introduce();
  // The bucket that introducing has taken from is full again.
  r.advance(1000);
  return r;
}

/** c1 sends packets, all at once, over `milliseconds` in steps of one; returns how many were routed. */
function pass(r: TestRouter, perMillisecond: number, milliseconds: number, payload = 0, flows = 1): number {
  const before = r.stopped("routed");
  for (let at = 0; at < milliseconds; at++) {
    r.now++;
    const frames = Array.from({ length: perMillisecond }, (_, index) => {
      const packet = udp(
        { source: ADDRESSES.c1, destination: SERVER },
        1000 + ((at * perMillisecond + index) % flows),
        53,
        new Uint8Array(payload),
      );
      return ethernet(GATEWAY_MAC, C1_MAC, 0x0800, packet);
    });
    r.send(Port.C1, ...frames);
  }
  return r.stopped("routed") - before;
}

describe("a rate limit of a port", () => {
  it("lets so many packets pass in a second, and 64 at once, and counts the others", () => {
    const r = limited({ packets: 500 });
    expect(pass(r, 4, 1000)).toBe(64 + 499);
    expect(r.stopped("packet-rate")).toBe(4000 - 563);
    expect(r.router.police.framesDropped[Port.C1]).toBe(4000 - 563);
    expect(r.arena.heldSlots()).toBe(0);
  });

  it("lets so many bytes pass", () => {
    const r = limited({ bytes: 1_000_000 });
    // 1 042 bytes a frame; 128 KiB at once.
    expect(pass(r, 2, 1000, 1000)).toBe(Math.floor((131_072 + 999_000) / 1042));
    expect(r.stopped("packet-rate")).toBeGreaterThan(900);
  });

  it("lets so many new flows begin, and packets of known ones pass", () => {
    const r = limited({ flows: 100 });
    expect(pass(r, 1, 1000, 0, 1000)).toBe(16 + 99);
    expect(r.stopped("flow-rate")).toBe(1000 - 115);
    expect(r.router.police.flowsDropped[Port.C1]).toBe(1000 - 115);
    expect(pass(r, 4, 100, 0, 10)).toBe(400);
  });

  it("is that port's own", () => {
    const r = limited({ packets: 1, flows: 1 });
    pass(r, 4, 100);
    for (let port = 1; port <= 100; port++) {
      expect(r.fromC2(udp({ source: ADDRESSES.c2, destination: SERVER }, port, 53))).toHaveLength(1);
    }
  });

  it("comes and goes with the plan, and costs no look where no port has one", () => {
    const r = limited({ packets: 1 });
    expect(pass(r, 50, 4)).toBe(64);
    r.apply(defaultPlan());
    expect(r.router.police.isActive).toBe(false);
    expect(pass(r, 50, 4)).toBe(200);
    r.apply({ ...defaultPlan(), ports: defaultPlan().ports.map((port) => ({ ...port, rateLimit: { packets: 1 } })) });
    expect(pass(r, 50, 4)).toBe(64);
    r.router.removePort(Port.C1);
    r.router.removePort(Port.C2);
    r.router.removePort(Port.WAN);
    expect(r.router.police.isActive).toBe(false);
  });
});
