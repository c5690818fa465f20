/** Reloads while packets of flows pass that they do not concern: none is lost, and none comes out otherwise. */
import { describe, expect, it } from "vitest";
import { ethernet, udp } from "../support/frames.ts";
import {
  C1_MAC,
  defaultPlan,
  GATEWAY_MAC,
  Port,
  SERVER_MAC,
  seededRandom,
  TestRouter,
  UPLINK_MAC,
} from "../support/router.ts";
import { Action, planOf, type ShortPlan } from "../support/rules.ts";

const FLOWS = 8;
const RELOADS = 1000;

describe("1 000 reloads", () => {
  it("of rules, routes, NAT and ports cost no packet of a flow that they do not concern", () => {
    const r = new TestRouter();
    r.introduce();
    const random = seededRandom(3);
    const below = (limit: number): number => (random() >>> 0) % limit;
    const others = { sources: [{ address: 0x0a374200 + 200, length: 29 }] };
    const variants: (() => ShortPlan)[] = [
      () => ({ ...defaultPlan(), forward: { policy: Action.ACCEPT, rules: [{ ...others, action: Action.DROP }] } }),
      () => ({ ...defaultPlan(), forward: { policy: Action.DROP, rules: [{ action: Action.ACCEPT }] } }),
      () => ({ ...defaultPlan(), input: { policy: Action.DROP, rules: [] } }),
      () => ({
        ...defaultPlan(),
        sourceNat: [{ from: { address: 0x0a640000, length: 16 }, out: 1 }, ...defaultPlan().sourceNat],
      }),
      () => ({
        ...defaultPlan(),
        routes: [
          { to: { address: 0x0a640000 | 0, length: 16 }, nextHops: [{ interface: 1, via: 0xcb007109 | 0 }] },
          ...(defaultPlan().routes ?? []),
        ],
      }),
      () => ({
        ...defaultPlan(),
        publish: [{ protocol: 6, interface: 1, ports: { first: 80, last: 80 }, to: 0x0a374203 }],
      }),
    ];
    const request = (flow: number): Uint8Array =>
      ethernet(GATEWAY_MAC, C1_MAC, 0x0800, udp({ source: "10.55.66.2", destination: "203.0.113.2" }, 4000 + flow, 53));
    const reply = (flow: number): Uint8Array =>
      ethernet(
        UPLINK_MAC,
        SERVER_MAC,
        0x0800,
        udp({ source: "203.0.113.2", destination: "203.0.113.1" }, 53, 4000 + flow),
      );
    for (let reload = 0; reload < RELOADS; reload++) {
      const plan = planOf(variants[below(variants.length)]());
      const isAttached = below(2) === 0;
      if (isAttached) plan.ports.push({ index: 9, name: "c9", interface: 0 });
      r.router.apply(below(3) === 0 ? { ...plan, rules: r.router.rules.ruleSet } : plan);
      if (isAttached) r.router.addPort(plan.ports[3]);
      for (let flow = 0; flow < FLOWS; flow++) {
        r.io.inject(Port.C1, request(flow));
        r.io.inject(Port.WAN, reply(flow));
      }
      const out = r.turn();
      expect([reload, out.length]).toEqual([reload, 2 * FLOWS]);
      for (const { port, sourcePort, destinationPort } of out) {
        expect(port === Port.WAN ? sourcePort : destinationPort).toBeGreaterThanOrEqual(4000);
      }
      if (isAttached) r.router.removePort(9);
    }
    expect(r.router.flows.count).toBe(FLOWS);
    expect(r.router.counters.named()).toMatchObject({ flowsCreated: FLOWS, flowsForbidden: 0 });
  });
});
