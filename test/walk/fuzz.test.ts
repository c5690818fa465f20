/** Random and mutated frames into every port: nothing is thrown, no slot is lost, everything is counted. */
import { describe, expect, it } from "vitest";
import { checkInvariants } from "../../src/dataplane/invariants.ts";
import { arp, echoRequest, ethernet, icmp, tcp, udp, word } from "../support/frames.ts";
import {
  BROADCAST,
  C1_MAC,
  C2_MAC,
  defaultPlan,
  GATEWAY_MAC,
  Port,
  SERVER_MAC,
  seededRandom,
  TestRouter,
  UPLINK_MAC,
} from "../support/router.ts";
import { Action, type ShortPlan, StateBit } from "../support/rules.ts";

const SEED = Number(process.env.TAPIR_SEED ?? 4_711);
const FRAMES = Number(process.env.TAPIR_FUZZ_FRAMES ?? 100_000);

const out = { source: "10.55.66.2", destination: "203.0.113.2" };
const back = { source: "203.0.113.2", destination: "203.0.113.1" };
const flow = udp(out, 4000, 53, new Uint8Array(24));
const inside = { source: "10.55.66.2", destination: "10.55.66.3" };
const insideBack = { source: "10.55.66.3", destination: "10.55.66.2" };
const translated = udp({ source: "203.0.113.1", destination: "203.0.113.2" }, 4000, 53, new Uint8Array(24));

/** Good frames of every kind that the router knows; most mutants are nearly good. */
const CORPUS: Uint8Array[] = [
  ethernet(GATEWAY_MAC, C1_MAC, 0x0800, flow),
  ethernet(
    GATEWAY_MAC,
    C1_MAC,
    0x0800,
    tcp(out, 4000, 80, { flags: "S", options: Uint8Array.of(2, 4, 5, 180, 3, 3, 7, 1) }),
  ),
  ethernet(
    GATEWAY_MAC,
    C1_MAC,
    0x0800,
    tcp(out, 4000, 80, { flags: "A", options: Uint8Array.of(1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9) }),
  ),
  ethernet(GATEWAY_MAC, C1_MAC, 0x0800, tcp(out, 4000, 80, { flags: "R" })),
  ethernet(GATEWAY_MAC, C1_MAC, 0x0800, echoRequest(out, 5)),
  ethernet(GATEWAY_MAC, C1_MAC, 0x0800, echoRequest({ ...out, destination: "10.55.66.1" }, 5)),
  ethernet(GATEWAY_MAC, C1_MAC, 0x0800, udp({ ...out, fragment: 0x2000, id: 9 }, 4000, 53, new Uint8Array(16))),
  ethernet(GATEWAY_MAC, C1_MAC, 0x0800, udp({ ...out, fragment: 0x0003, id: 9 }, 4000, 53, new Uint8Array(16))),
  ethernet(UPLINK_MAC, SERVER_MAC, 0x0800, udp(back, 53, 4000)),
  ethernet(UPLINK_MAC, SERVER_MAC, 0x0800, tcp(back, 80, 4000, { flags: "SA" })),
  ethernet(UPLINK_MAC, SERVER_MAC, 0x0800, icmp(back, 3, 3, 0, translated)),
  ethernet(UPLINK_MAC, SERVER_MAC, 0x0800, icmp(back, 11, 0, 0, translated.slice(0, 28))),
  ethernet(
    BROADCAST,
    C1_MAC,
    0x0806,
    arp({
      operation: 1,
      senderMac: C1_MAC,
      sender: "10.55.66.2",
      targetMac: "00:00:00:00:00:00",
      target: "10.55.66.1",
    }),
  ),
  ethernet(
    GATEWAY_MAC,
    C2_MAC,
    0x0806,
    arp({ operation: 2, senderMac: C2_MAC, sender: "10.55.66.3", targetMac: GATEWAY_MAC, target: "10.55.66.1" }),
  ),
  ethernet(C2_MAC, C1_MAC, 0x86dd, new Uint8Array(60)),
  ethernet(C2_MAC, C1_MAC, 0x0800, udp(inside, 4000, 53, new Uint8Array(24))),
  ethernet(C1_MAC, C2_MAC, 0x0800, udp(insideBack, 53, 4000, new Uint8Array(24))),
  ethernet(C2_MAC, C1_MAC, 0x0800, tcp(inside, 4000, 80, { flags: "S" })),
  ethernet(C1_MAC, C2_MAC, 0x0800, tcp(insideBack, 80, 4000, { flags: "SA" })),
  ethernet(C1_MAC, C2_MAC, 0x0800, icmp(insideBack, 3, 3, 0, udp(inside, 4000, 53))),
  ethernet(C2_MAC, C1_MAC, 0x0800, udp({ ...inside, fragment: 0x2000, id: 9 }, 4000, 53, new Uint8Array(16))),
  ethernet(C2_MAC, C1_MAC, 0x0800, udp({ ...inside, fragment: 0x0003, id: 9 }, 4000, 53, new Uint8Array(16))),
  ethernet(BROADCAST, C1_MAC, 0x0800, udp({ ...inside, destination: "10.55.66.255" }, 138, 138)),
  ethernet(C2_MAC, C1_MAC, 0x8100, Uint8Array.of(0, 0, 8, 6, ...new Uint8Array(44))),
];

/** All that may stop a frame inside a network is on. */
function guardedPlan(): ShortPlan {
  const plan = defaultPlan();
  plan.ports[Port.C1] = { ...plan.ports[Port.C1], guard: { mac: C1_MAC, address: word("10.55.66.2") } };
  plan.ports.push(
    { index: 3, name: "c3", interface: 0, isolated: true },
    { index: 4, name: "c4", interface: 0, isolated: true },
  );
  const reject = { protocol: 6, destinationPorts: [{ low: 81, high: 65_535 }], action: Action.REJECT };
  plan.bridge = { policy: Action.ACCEPT, rules: [{ states: StateBit.INVALID, action: Action.DROP }, reject] };
  return plan;
}

const PLANS: [string, ShortPlan][] = [
  ["a plain router", defaultPlan()],
  ["a network with guards, isolated ports and a bridge chain", guardedPlan()],
];

describe.each(PLANS)("hostile input, %s", (_, plan) => {
  it(`${FRAMES} random and mutated frames (seed ${SEED})`, () => {
    const random = seededRandom(SEED);
    const below = (limit: number): number => (random() >>> 0) % limit;
    const r = new TestRouter(plan, { flows: 512, macs: 64, neighbours: 32 }, SEED, 512);
    r.introduce();
    r.io.keepSent = false;
    const header = new Uint8Array(10);
    let injected = r.router.counters.named().framesReceived;

    for (let left = FRAMES; left > 0; ) {
      for (let burst = 1 + below(48); burst > 0 && left > 0; burst--, left--) {
        r.io.inject(below(plan.ports.length), mutant(below), below(8) === 0 ? header.map(() => below(256)) : undefined);
        injected++;
      }
      if (below(4) === 0) r.now += below(2_000);
      r.loop.turn(0);
    }

    const { counters, neighbours, fragments, flows } = r.router;
    const named = counters.named();
    expect(named.framesReceived).toBe(injected);
    // Each frame has ended once; a datagram put together ends besides its fragments, a parked frame when it goes on.
    const ended = counters.stops.reduce((sum, count) => sum + count, 0);
    const resumed = counters.stopped("parked") - neighbours.parkedTotal;
    expect(ended - resumed - named.datagramsReassembled).toBeLessThanOrEqual(injected);
    expect(ended - named.datagramsReassembled).toBeGreaterThanOrEqual(injected);
    expect(r.arena.heldSlots()).toBe(neighbours.parkedTotal + fragments.size);
    expect(flows.index.size).toBe(flows.count * 2);
    expect(checkInvariants(r.router).violations).toEqual([]);
    // The probes were not vacuous: many reasons were met, and frames went all the way.
    expect(counters.stops.filter((count) => count > 0).length).toBeGreaterThan(20);
    expect(counters.stopped("routed")).toBeGreaterThan(FRAMES / 250);

    r.advance(120_000);
    expect(neighbours.parkedTotal + fragments.size).toBe(0);
    expect(r.arena.heldSlots()).toBe(0);
  }, 120_000);
});

function mutant(below: (limit: number) => number): Uint8Array {
  if (below(10) === 0) return Uint8Array.from({ length: below(200) }, () => below(256));
  const frame = Uint8Array.from(CORPUS[below(CORPUS.length)]);
  for (let changes = below(4); changes > 0; changes--) frame[below(frame.length)] = below(256);
  return below(8) === 0 ? frame.slice(0, below(frame.length + 1)) : frame;
}
