/** What the router does when its surroundings fail: its clock jumps, its neighbours change or fall silent, slots run out. */
import { describe, expect, it } from "vitest";
import { FlowWord } from "../../src/conntrack/flow_layout.ts";
import { ethernet, udp } from "../support/frames.ts";
import { C1_MAC, GATEWAY_MAC, Port, SERVER_MAC, TestRouter } from "../support/router.ts";

const OTHER_MAC = "02:00:00:00:00:77";
const SERVER = "203.0.113.2";
const MINUTE_MS = 60_000;
const FLOW_DEADLINE = FlowWord.DEADLINE;
const DAY_MS = 24 * 60 * MINUTE_MS;

const out = (port = 4000) => udp({ source: "10.55.66.2", destination: SERVER }, port, 53);
const back = (port = 4000) => udp({ source: SERVER, destination: "203.0.113.1" }, 53, port);

/** A router at a time of its clock, with a flow that both sides have spoken in. */
function withFlow(now = 1_000): TestRouter {
  const router = new TestRouter();
  router.now = now;
  router.introduce();
  expect(router.fromC1(out())[0]).toMatchObject({ port: Port.WAN, source: "203.0.113.1", destinationMac: SERVER_MAC });
  expect(router.fromServer(back())[0]).toMatchObject({ port: Port.C1, destination: "10.55.66.2" });
  return router;
}

describe("a clock", () => {
  it("that wraps at 32 bits ends no flow before its time, and each one after it", () => {
    // The signed word goes from its greatest value to its least 10 s from now, then from -1 to 0.
    for (const now of [2 ** 31 - 10_000, 2 ** 32 - 10_000]) {
      const router = withFlow(now);
      for (let i = 0; i < 4; i++) {
        router.advance(5_000);
        expect(router.fromServer(back())[0]).toMatchObject({ destination: "10.55.66.2" });
        expect(router.fromC1(out())[0]?.source).toBe("203.0.113.1");
      }
      expect(router.router.flows.count).toBe(1);
      router.advance(3 * MINUTE_MS);
      expect(router.router.flows.count).toBe(0);
      expect(router.fromServer(back()).filter((each) => each.port === Port.C1)).toEqual([]);
    }
  });

  it.each([5 * MINUTE_MS, 20 * DAY_MS])(
    "that jumps by %i ms ends what has been silent, and the router works on",
    (gap) => {
      const router = withFlow();
      router.now += gap;
      // The first packet after the gap is a stranger's: nobody remembers the flow.
      expect(router.fromServer(back()).filter((each) => each.port === Port.C1)).toEqual([]);
      router.advance(MINUTE_MS);
      expect(router.router.flows.count).toBe(0);
      router.introduce();
      expect(router.fromC1(out())[0]).toMatchObject({ port: Port.WAN, source: "203.0.113.1" });
      expect(router.fromServer(back())[0]).toMatchObject({ port: Port.C1 });
      expect(router.arena.heldSlots()).toBe(0);
    },
  );

  it("that stands still for a packet's wait does not lose it", () => {
    const router = new TestRouter();
    router.arp(Port.C1, { operation: 1, senderMac: C1_MAC, sender: "10.55.66.2", target: "10.55.66.1" });
    router.fromC1(out());
    // The process was stopped for longer than three questions would have taken: they are asked now, not given up.
    router.now += 10_000;
    expect(router.turn().some((each) => each.arp?.target === SERVER)).toBe(true);
    const answer = { operation: 2, senderMac: SERVER_MAC, sender: SERVER, target: "203.0.113.1" } as const;
    const woken = router.arp(Port.WAN, answer);
    expect(woken.map(({ source }) => source)).toEqual(["203.0.113.1"]);
    expect(router.arena.heldSlots()).toBe(0);
  });
});

describe("a flow that is older than half of what the clock can tell", () => {
  it("keeps the timeout of a stream", () => {
    const router = withFlow();
    for (let day = 0; day < 26; day++) {
      router.now += DAY_MS;
      // Time passes without the flow's being silent, as far as it is told.
      router.router.flows.words[FLOW_DEADLINE] = (router.now + MINUTE_MS) | 0;
      router.introduce();
      router.fromC1(out());
      router.fromServer(back());
    }
    router.fromC1(out());
    const left = (router.router.flows.words[FLOW_DEADLINE] - router.now) | 0;
    expect(left).toBeGreaterThan(MINUTE_MS);
  });
});

describe("a neighbour", () => {
  it("that has another hardware address from now on gets the packets of its flows there", () => {
    const router = withFlow();
    const claim = { operation: 2, senderMac: OTHER_MAC, sender: SERVER, target: "203.0.113.1" } as const;
    // Asked again after a while, the other machine answers.
    router.advance(31_000);
    router.fromC1(out());
    router.advance(200);
    router.arp(Port.WAN, claim);
    expect(router.fromC1(out())[0]).toMatchObject({ destinationMac: OTHER_MAC, source: "203.0.113.1" });
    expect(router.router.flows.count).toBe(1);
  });

  it("that falls silent is reported to the senders of its flows, and used again once it answers", () => {
    const router = withFlow();
    router.advance(31_000);
    router.fromC1(out());
    const told = router.advance(5_000);
    expect(told.filter((each) => each.arp?.operation === 1 && each.port === Port.WAN).length).toBeGreaterThanOrEqual(3);
    const after = [...router.fromC1(out()), ...router.advance(5_000)];
    const unreachable = after.filter((each) => each.port === Port.C1 && each.icmpType === 3 && each.icmpCode === 1);
    expect(unreachable.length).toBeGreaterThan(0);
    expect(router.stopped("neighbour-unreachable")).toBeGreaterThan(0);
    router.arp(Port.WAN, { operation: 2, senderMac: SERVER_MAC, sender: SERVER, target: "203.0.113.1" });
    router.arp(Port.WAN, { operation: 1, senderMac: SERVER_MAC, sender: SERVER, target: "203.0.113.1" });
    expect(router.fromC1(out())[0]).toMatchObject({ port: Port.WAN, destinationMac: SERVER_MAC });
    expect(router.arena.heldSlots()).toBe(0);
  });
});

describe("resources that run out", () => {
  it("slots: packets that wait give way, every slot comes back, and traffic goes on", () => {
    const slots = 16;
    const router = new TestRouter(undefined, {}, 1, slots);
    router.introduce();
    // Packets for hosts that never answer hold slots until they are given up.
    for (let host = 100; host < 160; host++) {
      if (router.arena.heldSlots() > slots - 3) router.advance(4_000);
      router.fromC1(udp({ source: "10.55.66.2", destination: `203.0.113.${host}` }, 4000, 53));
    }
    router.advance(5_000);
    expect(router.arena.heldSlots()).toBe(0);
    expect(router.fromC1(out())[0]).toMatchObject({ port: Port.WAN });
  });

  it("flows: new ones are dropped and counted, those there are go on, and places come back", () => {
    const router = new TestRouter(undefined, { flows: 4 });
    router.introduce();
    for (let second = 0; second < 5; second++) {
      for (let port = 4000; port < 4004; port++) {
        router.fromC1(out(port));
        router.fromServer(back(port));
      }
      router.advance(1_000);
    }
    expect(router.fromC1(out(5000)).filter((each) => each.port === Port.WAN)).toEqual([]);
    expect(router.stopped("flow-table-full")).toBe(1);
    expect(router.fromC1(out(4001))[0]).toMatchObject({ port: Port.WAN, source: "203.0.113.1" });
    router.advance(4 * MINUTE_MS);
    router.introduce();
    expect(router.fromC1(out(5000))[0]).toMatchObject({ port: Port.WAN });
  });

  it("memory for a frame: what comes while no slot is free is lost, and only that", () => {
    const router = withFlow();
    const held: number[] = [];
    while (router.arena.heldSlots() < 256) held.push(router.arena.take());
    expect(() => router.io.inject(Port.C1, ethernet(GATEWAY_MAC, C1_MAC, 0x0800, out()))).toThrow();
    expect(router.turn()).toEqual([]);
    for (const slot of held) router.arena.release(slot);
    expect(router.fromC1(out())[0]).toMatchObject({ port: Port.WAN });
  });
});
