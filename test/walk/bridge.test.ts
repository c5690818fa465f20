import { describe, expect, it } from "vitest";
import { ethernet } from "../support/frames.ts";
import {
  BROADCAST,
  C1_MAC,
  C2_MAC,
  defaultPlan,
  GATEWAY_MAC,
  Port,
  SERVER_MAC,
  TestRouter,
  UPLINK_MAC,
} from "../support/router.ts";

const PAYLOAD = Uint8Array.from({ length: 46 }, (_, index) => index);
const frame = (destination: string, source: string): Uint8Array => ethernet(destination, source, 0x88b5, PAYLOAD);

/** The default plan with a third container. */
function planOfThree() {
  const plan = defaultPlan();
  plan.ports.push({ index: 3, name: "c3", interface: 0 });
  return plan;
}

describe("the bridge of a network", () => {
  it("floods for an unknown station, never back to the port it came from", () => {
    const router = new TestRouter(planOfThree());
    const out = router.send(Port.C1, frame(C2_MAC, C1_MAC));
    expect(out.map((each) => each.port).sort()).toEqual([1, 3]);
    expect(out[0].bytes).toEqual(frame(C2_MAC, C1_MAC));
    expect(router.stopped("flooded")).toBe(1);
    expect(router.arena.heldSlots()).toBe(0);
  });

  it("learns from the source and forwards to that port only", () => {
    const router = new TestRouter(planOfThree());
    router.send(Port.C2, frame(BROADCAST, C2_MAC));
    const out = router.send(Port.C1, frame(C2_MAC, C1_MAC));
    expect(out.map((each) => each.port)).toEqual([Port.C2]);
    expect(router.stopped("switched")).toBe(1);
  });

  it("follows a station that moves", () => {
    const router = new TestRouter(planOfThree());
    router.send(Port.C2, frame(BROADCAST, C2_MAC));
    router.send(3, frame(BROADCAST, C2_MAC));
    expect(router.send(Port.C1, frame(C2_MAC, C1_MAC)).map((each) => each.port)).toEqual([3]);
    expect(router.router.counters.named().stationsMoved).toBe(1);
  });

  it("forgets a station that has been silent for the ageing time", () => {
    const router = new TestRouter(planOfThree());
    router.send(Port.C2, frame(BROADCAST, C2_MAC));
    router.advance(299_000);
    expect(router.send(Port.C1, frame(C2_MAC, C1_MAC)).map((each) => each.port)).toEqual([Port.C2]);
    router.advance(2_000);
    expect(router.send(Port.C1, frame(C2_MAC, C1_MAC)).length).toBe(2);
  });

  it("does not reflect a frame whose destination is behind its ingress port", () => {
    const router = new TestRouter();
    router.send(Port.C1, frame(BROADCAST, "02:00:00:00:00:77"));
    expect(router.send(Port.C1, frame("02:00:00:00:00:77", C1_MAC))).toEqual([]);
    expect(router.stopped("same-port")).toBe(1);
  });

  it("keeps the reserved groups of 802.1D to itself", () => {
    const router = new TestRouter();
    for (const last of ["00", "01", "0e", "0f"]) {
      expect(router.send(Port.C1, frame(`01:80:c2:00:00:${last}`, C1_MAC))).toEqual([]);
    }
    expect(router.stopped("reserved-multicast")).toBe(4);
    expect(router.send(Port.C1, frame("01:80:c2:00:00:10", C1_MAC)).length).toBe(1);
  });

  it("refuses a group, zero or gateway address as source", () => {
    const router = new TestRouter();
    for (const source of ["01:00:5e:00:00:01", "00:00:00:00:00:00", GATEWAY_MAC]) {
      expect(router.send(Port.C1, frame(BROADCAST, source))).toEqual([]);
    }
    expect(router.stopped("source-mac-invalid")).toBe(3);
  });

  it("forgets the stations of a port that is removed", () => {
    const router = new TestRouter(planOfThree());
    router.send(Port.C2, frame(BROADCAST, C2_MAC));
    router.router.removePort(Port.C2);
    expect(router.send(Port.C1, frame(C2_MAC, C1_MAC)).map((each) => each.port)).toEqual([3]);
  });

  it("keeps networks apart", () => {
    const plan = defaultPlan();
    plan.interfaces.push({
      ...plan.interfaces[0],
      index: 2,
      name: "other",
      address: 0x0a374301,
      mac: "02:00:00:00:03:01",
    });
    plan.ports.push({ index: 3, name: "o1", interface: 2 });
    const router = new TestRouter(plan);
    expect(router.send(Port.C1, frame(BROADCAST, C1_MAC)).map((each) => each.port)).toEqual([Port.C2]);
    router.send(3, frame(BROADCAST, C2_MAC));
    expect(router.send(Port.C1, frame(C2_MAC, C1_MAC)).map((each) => each.port)).toEqual([Port.C2]);
  });
});

describe("the door of an uplink", () => {
  it("takes only what is addressed to the router", () => {
    const router = new TestRouter();
    expect(router.send(Port.WAN, frame(C1_MAC, SERVER_MAC))).toEqual([]);
    expect(router.stopped("not-for-router")).toBe(1);
    expect(router.send(Port.WAN, frame(BROADCAST, SERVER_MAC))).toEqual([]);
    expect(router.send(Port.WAN, frame(UPLINK_MAC, SERVER_MAC))).toEqual([]);
    expect(router.stopped("ethertype-unknown")).toBe(2);
    expect(router.arena.heldSlots()).toBe(0);
  });
});
