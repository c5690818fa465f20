/** Routes of all types, metrics, several next hops, policy rules, permanent neighbours, links that go down. */
import { describe, expect, it } from "vitest";
import { setLinkState } from "../../src/dataplane/link_state.ts";
import type { RoutePlan } from "../../src/dataplane/plan.ts";
import { changeRoutes, removeNeighbour, setNeighbour, setPolicy } from "../../src/dataplane/routing.ts";
import { DEFAULT_POLICY, TableId } from "../../src/routing/policy.ts";
import { type NextHopPlan, RouteKind } from "../../src/routing/route_set.ts";
import { udp, word } from "../support/frames.ts";
import { defaultPlan, Port, SERVER_MAC, TestRouter } from "../support/router.ts";

const WAN = 1;
const SERVER: NextHopPlan = { interface: WAN, via: word("203.0.113.2") };
const OTHER: NextHopPlan = { interface: WAN, via: word("203.0.113.9") };
const OTHER_MAC = "02:00:00:00:00:77";

const to = (prefix: string) => {
  const [address, length] = prefix.split("/");
  return { address: word(address), length: Number(length) };
};

function routerWith(routes: RoutePlan[], hasNat = true): TestRouter {
  const plan = defaultPlan();
  plan.routes = [...(plan.routes ?? []), ...routes];
  if (!hasNat) plan.sourceNat = [];
  const router = new TestRouter(plan);
  router.introduce();
  router.arp(Port.WAN, { operation: 1, senderMac: OTHER_MAC, sender: "203.0.113.9", target: "203.0.113.1" });
  return router;
}

let ident = 1;
const ask = (destination: string, sourcePort = 4000, source = "10.55.66.2") =>
  udp({ source, destination, id: ident++ }, sourcePort, 53, new Uint8Array(4));

/** Hardware address that c1's datagram is sent to; undefined when it does not leave. */
const nextHopOf = (router: TestRouter, destination: string, sourcePort = 4000): string | undefined =>
  router.fromC1(ask(destination, sourcePort)).find(({ port, arp }) => port === Port.WAN && arp === undefined)
    ?.destinationMac;

function change(router: TestRouter, prefix: string, nextHops: NextHopPlan[], table: number = TableId.MAIN): void {
  const { address, length } = to(prefix);
  const isGone = nextHops.length === 0;
  changeRoutes(router.router, {
    table,
    sets: isGone ? [] : [[{ nextHops }]],
    prefixes: [address, length, isGone ? -1 : 0],
  });
}

describe("the type of a route", () => {
  it.each([
    ["unreachable", RouteKind.UNREACHABLE, "route-unreachable", 1],
    ["prohibit", RouteKind.PROHIBIT, "route-prohibited", 13],
  ])("%s answers with ICMP", (_, kind, reason, code) => {
    const router = routerWith([{ to: to("192.0.2.0/24"), kind, nextHops: [] }]);
    const out = router.fromC1(ask("192.0.2.7"));
    expect(out.map(({ port, icmpType, icmpCode }) => [port, icmpType, icmpCode])).toEqual([[Port.C1, 3, code]]);
    expect(router.stopped(reason)).toBe(1);
    expect(router.router.flows.count).toBe(0);
  });

  it("blackhole says nothing", () => {
    const router = routerWith([{ to: to("192.0.2.0/24"), kind: RouteKind.BLACKHOLE, nextHops: [] }]);
    expect(router.fromC1(ask("192.0.2.7"))).toEqual([]);
    expect(router.stopped("route-blackhole")).toBe(1);
  });

  it("a longer prefix goes on inside of it", () => {
    const router = routerWith([
      { to: to("192.0.2.0/24"), kind: RouteKind.BLACKHOLE, nextHops: [] },
      { to: to("192.0.2.128/25"), nextHops: [OTHER] },
    ]);
    expect(nextHopOf(router, "192.0.2.7")).toBeUndefined();
    expect(nextHopOf(router, "192.0.2.200")).toBe(OTHER_MAC);
  });

  it("a flow whose route becomes one of these is refused, and goes on once it is gone", () => {
    const router = routerWith([]);
    expect(nextHopOf(router, "192.0.2.7")).toBe(SERVER_MAC);
    changeRoutes(router.router, {
      table: TableId.MAIN,
      sets: [[{ kind: RouteKind.PROHIBIT, nextHops: [] }]],
      prefixes: [word("192.0.2.0"), 24, 0],
    });
    expect(router.fromC1(ask("192.0.2.7"))[0].icmpCode).toBe(13);
    change(router, "192.0.2.0/24", []);
    expect(nextHopOf(router, "192.0.2.7")).toBe(SERVER_MAC);
    expect(router.router.flows.count).toBe(1);
  });
});

describe("metrics and links", () => {
  it("the lowest metric wins", () => {
    const router = routerWith([
      { to: to("192.0.2.0/24"), metric: 20, nextHops: [SERVER] },
      { to: to("192.0.2.0/24"), metric: 10, nextHops: [OTHER] },
    ]);
    expect(nextHopOf(router, "192.0.2.7")).toBe(OTHER_MAC);
  });

  it("a link that is down takes its routes with it, its return brings them back", () => {
    const router = routerWith([]);
    expect(nextHopOf(router, "192.0.2.7")).toBe(SERVER_MAC);
    setLinkState(router.router, WAN, false);
    expect(router.fromC1(ask("192.0.2.7"))[0]).toMatchObject({ icmpType: 3, icmpCode: 0 });
    expect(router.stopped("no-route")).toBe(1);
    setLinkState(router.router, WAN, true);
    router.introduce();
    expect(nextHopOf(router, "192.0.2.7")).toBe(SERVER_MAC);
  });

  it("a route by a link that is down leaves its packets to the next metric, or to a shorter prefix", () => {
    const lab: NextHopPlan = { interface: 0, via: word("10.55.66.3") };
    const router = routerWith(
      [
        { to: to("192.0.2.0/24"), metric: 5, nextHops: [OTHER] },
        { to: to("192.0.2.0/24"), metric: 9, nextHops: [lab] },
        { to: to("198.51.0.0/16"), nextHops: [lab] },
        { to: to("198.51.100.0/24"), nextHops: [OTHER] },
      ],
      false,
    );
    setLinkState(router.router, WAN, false);
    expect(router.fromC1(ask("192.0.2.7")).map(({ port }) => port)).toEqual([Port.C2]);
    expect(router.fromC1(ask("198.51.100.7")).map(({ port }) => port)).toEqual([Port.C2]);
  });
});

describe("several next hops", () => {
  const shared = (weights: [number, number]) =>
    routerWith([
      {
        to: to("192.0.2.0/24"),
        nextHops: [
          { ...SERVER, weight: weights[0] },
          { ...OTHER, weight: weights[1] },
        ],
      },
    ]);
  const shares = (router: TestRouter, flows: number): Record<string, number> => {
    const counted: Record<string, number> = { [SERVER_MAC]: 0, [OTHER_MAC]: 0 };
    for (let flow = 0; flow < flows; flow++) counted[nextHopOf(router, "192.0.2.7", 5000 + flow) ?? "none"]++;
    return counted;
  };

  it("share the flows by their weights, and a flow stays where it is", () => {
    const router = shared([1, 3]);
    const counted = shares(router, 400);
    expect(counted[OTHER_MAC]).toBeGreaterThan(260);
    expect(counted[OTHER_MAC]).toBeLessThan(340);
    const before = nextHopOf(router, "192.0.2.7", 5000);
    router.router.raiseGeneration();
    expect(nextHopOf(router, "192.0.2.7", 5000)).toBe(before);
  });

  it("a flow keeps its next hop when the weights change against it", () => {
    const router = shared([1, 1]);
    const before = [...Array(40).keys()].map((flow) => nextHopOf(router, "192.0.2.7", 5000 + flow));
    change(router, "192.0.2.0/24", [SERVER, { ...OTHER, weight: 256 }]);
    expect([...Array(40).keys()].map((flow) => nextHopOf(router, "192.0.2.7", 5000 + flow))).toEqual(before);
  });

  it("one that does not answer is left out, and comes back when it does", () => {
    const router = shared([1, 1]);
    const flow = [...Array(100).keys()].find((each) => nextHopOf(router, "192.0.2.7", 5000 + each) === OTHER_MAC);
    // The server goes on answering; the other is asked until it has failed.
    for (let waited = 0; waited < 60_000; waited += 1000) {
      for (const out of router.advance(1000)) {
        if (out.arp?.operation === 1 && out.arp.target === "203.0.113.2") {
          router.arp(
            Port.WAN,
            { operation: 2, senderMac: SERVER_MAC, sender: "203.0.113.2", target: "203.0.113.1" },
            "02:00:00:00:02:01",
          );
        }
      }
    }
    expect(shares(router, 50)).toEqual({ [SERVER_MAC]: 50, [OTHER_MAC]: 0 });
    expect(nextHopOf(router, "192.0.2.7", 5000 + (flow ?? 0))).toBe(SERVER_MAC);
    router.arp(Port.WAN, { operation: 1, senderMac: OTHER_MAC, sender: "203.0.113.9", target: "203.0.113.1" });
    expect(shares(router, 300)[OTHER_MAC]).toBeGreaterThan(80);
  });
});

describe("rules", () => {
  const inTable = (table: number): RoutePlan => ({ to: to("0.0.0.0/0"), table, nextHops: [OTHER] });

  it("choose the table by source, mark, ingress; a table without a route leaves it to the next", () => {
    const router = routerWith([inTable(100)]);
    const by = (rule: object) =>
      setPolicy(router.router, [{ priority: 10, action: { table: 100 }, ...rule }, ...DEFAULT_POLICY]);
    expect(nextHopOf(router, "192.0.2.1")).toBe(SERVER_MAC);
    by({ from: to("10.55.66.2/32") });
    expect(nextHopOf(router, "192.0.2.1")).toBe(OTHER_MAC);
    by({ from: to("10.55.66.3/32") });
    expect(nextHopOf(router, "192.0.2.1")).toBe(SERVER_MAC);
    by({ not: true, from: to("10.55.66.3/32") });
    expect(nextHopOf(router, "192.0.2.1")).toBe(OTHER_MAC);
    by({ iif: { interface: WAN } });
    expect(nextHopOf(router, "192.0.2.1")).toBe(SERVER_MAC);
    by({ iif: { port: Port.C1 } });
    expect(nextHopOf(router, "192.0.2.1")).toBe(OTHER_MAC);
    by({ fwmark: { value: 1, mask: 1 } });
    expect(nextHopOf(router, "192.0.2.1")).toBe(SERVER_MAC);
    by({ action: { table: 77 } });
    expect(nextHopOf(router, "192.0.2.1")).toBe(SERVER_MAC);
  });

  it("refuse by themselves, and a throw route goes on behind its table", () => {
    const router = routerWith([
      inTable(100),
      { to: to("192.0.2.0/24"), table: 100, kind: RouteKind.THROW, nextHops: [] },
    ]);
    setPolicy(router.router, [{ priority: 10, action: { table: 100 } }, ...DEFAULT_POLICY]);
    expect(nextHopOf(router, "192.0.2.1")).toBe(SERVER_MAC);
    expect(nextHopOf(router, "198.51.100.1")).toBe(OTHER_MAC);
    // For c1 alone: a rule for everybody would forbid the router its own answer as well.
    const prohibit = { priority: 10, from: to("10.55.66.2/32"), action: { kind: RouteKind.PROHIBIT } };
    setPolicy(router.router, [prohibit, ...DEFAULT_POLICY]);
    expect(router.fromC1(ask("198.51.100.1"))[0].icmpCode).toBe(13);
  });

  it("the router's own addresses come first", () => {
    const router = routerWith([]);
    setPolicy(router.router, [{ priority: 1, action: { kind: RouteKind.BLACKHOLE } }, ...DEFAULT_POLICY]);
    expect(router.fromC1(ask("10.55.66.1"))).toEqual([]);
    expect(router.stopped("local")).toBeGreaterThan(0);
    expect(router.stopped("route-blackhole")).toBe(0);
  });
});

describe("permanent neighbours", () => {
  it("are not asked for, and believe nobody", () => {
    const router = routerWith([{ to: to("192.0.2.0/24"), nextHops: [{ interface: WAN, via: word("203.0.113.50") }] }]);
    setNeighbour(router.router, { interface: WAN, address: word("203.0.113.50"), mac: "02:00:00:00:00:50" });
    expect(nextHopOf(router, "192.0.2.1")).toBe("02:00:00:00:00:50");
    router.arp(Port.WAN, { operation: 1, senderMac: OTHER_MAC, sender: "203.0.113.50", target: "203.0.113.1" });
    router.advance(200_000);
    expect(nextHopOf(router, "192.0.2.1")).toBe("02:00:00:00:00:50");
    expect(removeNeighbour(router.router, WAN, word("203.0.113.50"))).toBe(true);
    expect(nextHopOf(router, "192.0.2.1")).toBeUndefined();
  });

  it("a packet that waits for one goes on", () => {
    const router = routerWith([{ to: to("192.0.2.0/24"), nextHops: [{ interface: WAN, via: word("203.0.113.50") }] }]);
    expect(nextHopOf(router, "192.0.2.1")).toBeUndefined();
    setNeighbour(router.router, { interface: WAN, address: word("203.0.113.50"), mac: "02:00:00:00:00:50" });
    expect(router.advance(200).map(({ destinationMac }) => destinationMac)).toEqual(["02:00:00:00:00:50"]);
  });
});

describe("a change of routes", () => {
  it("concerns the flows to that prefix alone", () => {
    const router = routerWith([]);
    const forward = (): number => router.router.rules.counted().filter[1].packets.reduce((sum, each) => sum + each, 0);
    nextHopOf(router, "192.0.2.1");
    nextHopOf(router, "198.51.100.1");
    let admitted = 0;
    const { find } = router.router.routes;
    router.router.routes.find = function (...words) {
      admitted++;
      return find.apply(this, words);
    };
    change(router, "192.0.2.0/24", [OTHER]);
    expect(nextHopOf(router, "198.51.100.1")).toBe(SERVER_MAC);
    expect(admitted).toBe(0);
    expect(nextHopOf(router, "192.0.2.1")).toBe(OTHER_MAC);
    expect(admitted).toBe(1);
    expect(forward()).toBe(4);
  });

  it("keeps the binding of a flow that leaves by the same interface", () => {
    const router = routerWith([]);
    const [before] = router.fromC1(ask("192.0.2.1"));
    change(router, "192.0.2.0/24", [OTHER]);
    const [after] = router.fromC1(ask("192.0.2.1"));
    expect([after.source, after.sourcePort]).toEqual([before.source, before.sourcePort]);
    expect(router.router.flows.count).toBe(1);
  });

  it("is all or nothing", () => {
    const plan = defaultPlan();
    const router = new TestRouter(plan, { routes: 3 });
    const prefixes = [...Array(5000).keys()].flatMap((each) => [word("20.0.0.0") + each * 256, 24, 0]);
    const size = router.router.routes.size;
    expect(() =>
      changeRoutes(router.router, { table: TableId.MAIN, sets: [[{ nextHops: [SERVER] }]], prefixes }),
    ).toThrow(/full/);
    expect(router.router.routes.size).toBe(size);
  });
});
