/** Several uplinks, several addresses on one, and links that go down and come back. */
import { describe, expect, it } from "vitest";
import { setLinkState } from "../../src/dataplane/link_state.ts";
import { setNeighbour } from "../../src/dataplane/routing.ts";
import { echoRequest, tcp, udp, word } from "../support/frames.ts";
import { defaultPlan, Port, SERVER_MAC, TestRouter } from "../support/router.ts";
import type { ShortPlan } from "../support/rules.ts";

const WAN = 1;
const WAN2 = 2;
const WAN2_PORT = 3;
const PEER2_MAC = "02:00:00:00:00:98";
const FAR = "192.0.2.9";

/** The default plan with a second uplink, whose default route is second best. */
function planOfTwo(): ShortPlan {
  const plan = defaultPlan();
  plan.interfaces.push({
    index: WAN2,
    name: "wan2",
    kind: "uplink",
    address: word("198.51.100.1"),
    prefixLength: 24,
    mac: "02:00:00:00:02:02",
    mtu: 1500,
  });
  plan.ports.push({ index: WAN2_PORT, name: "wan2", interface: WAN2 });
  plan.routes?.push({
    to: { address: 0, length: 0 },
    metric: 10,
    nextHops: [{ interface: WAN2, via: word("198.51.100.2") }],
  });
  plan.sourceNat.push({ from: { address: word("10.55.66.0"), length: 24 }, out: WAN2 });
  return plan;
}

function routerOfTwo(): TestRouter {
  const router = new TestRouter(planOfTwo());
  router.introduce();
  introduceSecond(router);
  return router;
}

function introduceSecond(router: TestRouter): void {
  router.arp(WAN2_PORT, { operation: 1, senderMac: PEER2_MAC, sender: "198.51.100.2", target: "198.51.100.1" });
}

const outward = (port: number) => udp({ source: "10.55.66.2", destination: FAR }, port, 53);

describe("an uplink that waits for a lease", () => {
  it("answers nothing, and lets the DHCP client's answers pass nobody", () => {
    const plan = defaultPlan();
    const wan = plan.interfaces.find(({ name }) => name === "wan") as (typeof plan.interfaces)[number];
    Object.assign(wan, { address: 0, prefixLength: 32, isLeased: true });
    const router = new TestRouter(plan);
    router.introduce();
    setLinkState(router.router, WAN, false);
    const offered = { source: "203.0.113.2", destination: "203.0.113.50" };
    expect(router.fromServer(udp(offered, 67, 68))).toEqual([]);
    expect(router.stopped("dhcp-client")).toBe(1);
    expect(router.fromServer(udp(offered, 67, 69))).toEqual([]);
    expect(router.stopped("no-route")).toBe(1);
    expect(router.fromC1(outward(4000))).toMatchObject([{ port: Port.C1, source: "10.55.66.1" }]);
    expect(router.stopped("no-route")).toBe(2);
    // An uplink with an address of its own has no client.
    router.apply(defaultPlan());
    const renewed = { source: "203.0.113.2", destination: "203.0.113.1" };
    router.fromServer(udp(renewed, 67, 68));
    expect(router.stopped("dhcp-client")).toBe(1);
  });
});

describe("two uplinks", () => {
  it("take the default route with the lower metric, each with its own masquerade", () => {
    const router = routerOfTwo();
    expect(router.fromC1(outward(4000))).toMatchObject([
      { port: Port.WAN, destinationMac: SERVER_MAC, source: "203.0.113.1" },
    ]);
    const direct = udp({ source: "10.55.66.2", destination: "198.51.100.7" }, 4000, 53);
    expect(router.fromC1(direct)).toMatchObject([{ port: WAN2_PORT, arp: { target: "198.51.100.7" } }]);
  });

  it("stand in for each other while a link is down; a flow that has moved has another source", () => {
    const router = routerOfTwo();
    router.fromC1(outward(4000));
    setLinkState(router.router, WAN, false);
    expect(router.fromC1(outward(4000))).toMatchObject([{ port: WAN2_PORT, source: "198.51.100.1" }]);
    setLinkState(router.router, WAN, true);
    const [asked] = router.fromC1(outward(4000));
    expect(asked).toMatchObject({ port: Port.WAN, arp: { operation: 1, target: "203.0.113.2" } });
    const reply = { operation: 2, senderMac: SERVER_MAC, sender: "203.0.113.2", target: "203.0.113.1" } as const;
    expect(router.arp(Port.WAN, reply)).toMatchObject([{ port: Port.WAN, source: "203.0.113.1" }]);
  });

  it("say that there is no route when all are down, and keep their flows until they are back", () => {
    const router = new TestRouter();
    router.introduce();
    const open = tcp({ source: "10.55.66.2", destination: FAR }, 4000, 80, { flags: "S" });
    const [sent] = router.fromC1(open);
    setLinkState(router.router, WAN, false);
    expect(router.fromC1(open)).toMatchObject([{ port: Port.C1, icmpType: 3, icmpCode: 0 }]);
    expect(router.stopped("no-route")).toBe(1);
    expect(router.router.flows.count).toBe(1);
    setLinkState(router.router, WAN, true);
    router.introduce();
    expect(router.fromC1(open)).toMatchObject([{ port: Port.WAN, sourcePort: sent.sourcePort }]);
  });

  it("keep their addresses for the router's own while down, and give up what waits for a neighbour", () => {
    const router = new TestRouter(planOfTwo());
    router.introduce();
    router.fromC1(udp({ source: "10.55.66.2", destination: "198.51.100.7" }, 4000, 53));
    expect(router.router.neighbours.parkedTotal).toBe(1);
    setLinkState(router.router, WAN2, false);
    expect(router.router.neighbours.parkedTotal).toBe(0);
    expect(router.arena.heldSlots()).toBe(0);
    const ping = echoRequest({ source: "10.55.66.2", destination: "198.51.100.1" }, 1, 1);
    expect(router.fromC1(ping)).toMatchObject([{ port: Port.C1, source: "198.51.100.1" }]);
  });

  it("keep permanent neighbours over a link that was down", () => {
    const router = new TestRouter();
    router.introduce();
    setNeighbour(router.router, { interface: WAN, address: word("203.0.113.9"), mac: PEER2_MAC });
    setLinkState(router.router, WAN, false);
    setLinkState(router.router, WAN, true);
    const packet = udp({ source: "10.55.66.2", destination: "203.0.113.9" }, 4000, 53);
    expect(router.fromC1(packet)).toMatchObject([{ port: Port.WAN, destinationMac: PEER2_MAC, sourcePort: 4000 }]);
    expect(router.fromC1(outward(4000))).toMatchObject([{ arp: { operation: 1, target: "203.0.113.2" } }]);
  });

  it("stay down when another plan comes, and are up again when they are made anew", () => {
    const router = routerOfTwo();
    setLinkState(router.router, WAN, false);
    router.apply(planOfTwo());
    expect(router.fromC1(outward(4001))).toMatchObject([{ port: WAN2_PORT }]);
    const without = planOfTwo();
    without.interfaces = without.interfaces.filter(({ index }) => index !== WAN);
    without.routes = (without.routes ?? []).filter(({ nextHops }) => nextHops[0].interface !== WAN);
    without.sourceNat = without.sourceNat.filter(({ out }) => out !== WAN);
    without.ports = without.ports.filter((port) => port.interface !== WAN);
    router.apply(without);
    expect(router.router.linkDown[WAN]).toBe(0);
  });
});

describe("several addresses of an uplink", () => {
  const further = [
    { address: word("203.0.113.77"), prefixLength: 24 },
    { address: word("192.0.2.1"), prefixLength: 25 },
    { address: word("198.51.100.200"), prefixLength: 32 },
  ];

  function router(): TestRouter {
    const plan = defaultPlan();
    plan.interfaces[WAN].further = further;
    const made = new TestRouter(plan);
    made.introduce();
    return made;
  }

  it.each(["203.0.113.77", "192.0.2.1", "198.51.100.200"])("are local: %s answers ARP and echo requests", (own) => {
    const made = router();
    const asked = { operation: 1, senderMac: SERVER_MAC, sender: "203.0.113.2", target: own } as const;
    expect(made.arp(Port.WAN, asked)).toMatchObject([{ arp: { operation: 2, sender: own } }]);
    const ping = echoRequest({ source: "203.0.113.2", destination: own }, 1, 1);
    expect(made.fromServer(ping)).toMatchObject([{ port: Port.WAN, source: own, destination: "203.0.113.2" }]);
    // Nobody else may send from it.
    made.fromServer(udp({ source: own, destination: "10.55.66.2" }, 1, 2));
    expect(made.stopped("martian-source")).toBe(1);
  });

  it("connect the router to their subnets, where it asks in the name of that subnet's address", () => {
    const made = router();
    const out = made.fromC1(udp({ source: "10.55.66.2", destination: "192.0.2.77" }, 4000, 53));
    expect(out).toMatchObject([{ port: Port.WAN, arp: { sender: "192.0.2.1", target: "192.0.2.77" } }]);
    made.fromC1(udp({ source: "10.55.66.2", destination: "192.0.2.127" }, 4000, 53));
    expect(made.stopped("directed-broadcast")).toBe(1);
  });

  it("end the flows that live by them when they are taken away, and no others", () => {
    const made = router();
    made.fromServer(echoRequest({ source: "203.0.113.2", destination: "192.0.2.1" }, 1, 1));
    made.fromServer(echoRequest({ source: "203.0.113.2", destination: "203.0.113.1" }, 2, 1));
    expect(made.router.flows.count).toBe(2);
    made.apply(defaultPlan());
    expect(made.router.flows.count).toBe(1);
  });
});
