/**
 * Random traffic inside a network, switched and through the gateway, with stations that move, time and reloads, beside
 * a slow and obvious model: the same datagrams come out by the same ports, the same flows live, the books agree.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkInvariants } from "../../src/dataplane/invariants.ts";
import { ethernet, udp } from "../support/frames.ts";
import { ADDRESSES, type Container, Lan, MACS, PORTS, planOfThree, portsOf } from "../support/lan.ts";
import { GATEWAY_MAC } from "../support/router.ts";
import { Action, type Chain, type Rule, StateBit } from "../support/rules.ts";
import { SEEDS } from "../support/seeds.ts";

const NAMES = Object.keys(PORTS) as Container[];
const UDP_MS = 30_000;
const STREAM_MS = 120_000;

/** Who may begin to speak to whom, and on which ports: `at` is -1 for any. */
interface Policy {
  begin: { from: number; to: number; at: number }[];
  isolated: boolean[];
}

type Step =
  | { do: "send"; by: number; from: number; to: number; sport: number; dport: number; way: "switched" | "routed" }
  | { do: "wait"; seconds: number }
  | { do: "reload"; policy: Policy }
  | { do: "announce"; who: number };

interface Flow {
  way: string;
  key: string;
  reply: string;
  created: number;
  deadline: number;
  seenReply: boolean;
  /** Where its original direction was last accepted, and what for. */
  by: number;
  egress: number;
  dport: number;
  /** Packet classes that were accepted, with the ports between which they went, since the last reload. */
  admitted: Map<string, string>;
}

/** Switched datagrams of one network under one policy. */
class Model {
  policy: Policy;
  flows: Flow[] = [];
  private readonly stations = new Map<number, number>();
  /** Between which ports packets of a direction of a flow went when they were last judged. */
  private readonly last = new Map<string, string>();

  constructor(policy: Policy) {
    this.policy = policy;
  }

  learn(mac: number, port: number): void {
    this.stations.set(mac, port);
  }

  /** A flow that had no answer yet ends when the policy forbids what the former one let begin. */
  reload(policy: Policy): void {
    const before = this.policy;
    this.policy = policy;
    this.flows = this.flows.filter(
      ({ seenReply, by, egress, dport }) =>
        seenReply || !begins(before, by, egress, dport) || begins(policy, by, egress, dport),
    );
    for (const { admitted } of this.flows) admitted.clear();
  }

  /** The containers that a datagram comes out at. */
  switched(now: number, by: number, from: number, to: number, sport: number, dport: number): number[] {
    this.learn(from, by);
    const egress = this.stations.get(to);
    if (egress === by) return [];
    const { isolated } = this.policy;
    const reached = [0, 1, 2].filter(
      (port) => port !== by && (egress === undefined || egress === port) && !(isolated[by] && isolated[port]),
    );
    if (egress !== undefined && reached.length === 0) return [];
    return this.passes(now, by, egress ?? -1, from, to, sport, dport) ? reached : [];
  }

  private passes(
    now: number,
    by: number,
    egress: number,
    from: number,
    to: number,
    sport: number,
    dport: number,
  ): boolean {
    this.flows = this.flows.filter(({ deadline }) => deadline > now);
    const key = `${from}:${sport} ${to}:${dport}`;
    const flow = this.flows.find((each) => each.key === key || each.reply === key);
    const ports = `${by} ${egress}`;
    if (flow === undefined) {
      if (!this.accepts("new", by, egress, dport)) return false;
      const reply = `${to}:${dport} ${from}:${sport}`;
      const admitted = new Map([["new", ports]]);
      this.flows.push({
        way: "switched",
        key,
        reply,
        created: now,
        deadline: now + UDP_MS,
        seenReply: false,
        by,
        egress,
        dport,
        admitted,
      });
      return true;
    }
    const isReply = flow.key !== key;
    const isStream = flow.seenReply && now - flow.created > 2000;
    flow.deadline = Math.max(flow.deadline, now + (isStream ? STREAM_MS : UDP_MS));
    if (isReply) flow.seenReply = true;
    const kind = isReply ? "reply" : flow.seenReply ? "original" : "new";
    const known = flow.admitted.get(kind);
    // Both classes of the original direction share the ports that were seen last.
    if (known !== undefined && this.portsOf(flow, isReply) === ports) return true;
    if (!this.accepts(kind === "new" ? "new" : "established", by, egress, dport)) return false;
    flow.admitted.set(kind, ports);
    if (!isReply) Object.assign(flow, { by, egress });
    this.last.set(`${flow.key} ${isReply}`, ports);
    return true;
  }

  private portsOf(flow: Flow, isReply: boolean): string | undefined {
    return this.last.get(`${flow.key} ${isReply}`) ?? flow.admitted.get(isReply ? "reply" : "new");
  }

  private accepts(state: string, by: number, egress: number, dport: number): boolean {
    return state === "established" || begins(this.policy, by, egress, dport);
  }
}

function begins({ begin }: Policy, by: number, egress: number, dport: number): boolean {
  return begin.some(({ from, to, at }) => from === by && to === egress && (at < 0 || at === dport));
}

function chainOf(policy: Policy): Chain {
  const begin = policy.begin.map(({ from, to, at }): Rule => {
    const ports = at < 0 ? {} : { protocol: 17, destinationPorts: [{ low: at, high: at }] };
    const places = { inPorts: [PORTS[NAMES[from]]], outPorts: [PORTS[NAMES[to]]] };
    return { ...places, ...ports, states: StateBit.NEW, action: Action.ACCEPT };
  });
  return { policy: Action.DROP, rules: [{ states: StateBit.ESTABLISHED, action: Action.ACCEPT }, ...begin] };
}

function planOf(policy: Policy) {
  const plan = planOfThree({ bridge: chainOf(policy) });
  plan.ports = plan.ports.map((port) => {
    const index = NAMES.findIndex((name) => PORTS[name] === port.index);
    return index >= 0 && policy.isolated[index] ? { ...port, isolated: true } : port;
  });
  return plan;
}

const station = fc.integer({ min: 0, max: 2 });
const portNumber = fc.constantFrom(53, 4000);
const policies: fc.Arbitrary<Policy> = fc.record({
  begin: fc.array(fc.record({ from: station, to: station, at: fc.constantFrom(-1, -1, 53) }), {
    minLength: 2,
    maxLength: 6,
  }),
  isolated: fc
    .tuple(...[0, 1, 2].map(() => fc.boolean()))
    .map((each) => (each.every(Boolean) ? [false, ...each.slice(1)] : each)),
});
const sending = fc.record({
  do: fc.constant("send" as const),
  // Mostly from where the sender lives.
  by: station,
  from: station,
  to: station,
  sport: portNumber,
  dport: portNumber,
  way: fc.constantFrom("switched" as const, "switched" as const, "switched" as const, "routed" as const),
});
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 20, arbitrary: sending },
  { weight: 10, arbitrary: sending.map((step) => ({ ...step, by: step.from })) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), seconds: fc.constantFrom(1, 3, 29, 31) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reload" as const), policy: policies }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("announce" as const), who: station }) },
);

/** How often each kind of outcome was met: a test of nothing but drops would prove little. */
const met = { passed: 0, dropped: 0, flooded: 0, routed: 0 };

function play(policy: Policy, script: readonly Step[]): void {
  const lan = new Lan(planOf(policy));
  // The router knows everybody's address; where they are, only what they send tells.
  lan.introduce();
  lan.arp(PORTS.c3, { operation: 1, senderMac: MACS.c3, sender: ADDRESSES.c3, target: "10.55.66.1" });
  const model = new Model(policy);
  for (const index of NAMES.keys()) model.learn(index, index);
  let current = policy;
  for (const step of script) {
    if (step.do === "wait") lan.advance(step.seconds * 1000);
    else if (step.do === "reload") {
      current = step.policy;
      lan.apply(planOf(current));
      // Flows that are forbidden end between two bursts.
      lan.turn();
      model.reload(current);
    } else if (step.do === "announce") {
      lan.announce(NAMES[step.who]);
      model.learn(step.who, step.who);
    } else send(lan, model, step);
    expect(checkInvariants(lan.router).violations).toEqual([]);
    // What is routed may wait for its next hop.
    expect(lan.arena.heldSlots()).toBe(lan.router.neighbours.parkedTotal);
  }
}

function send(lan: Lan, model: Model, step: Extract<Step, { do: "send" }>): void {
  const { by, from, to, sport, dport, way } = step;
  if (from === to) return;
  const packet = udp({ source: ADDRESSES[NAMES[from]], destination: ADDRESSES[NAMES[to]] }, sport, dport);
  const ingress = PORTS[NAMES[by]];
  if (way === "routed") {
    // What is routed must change nothing of what is switched.
    model.learn(from, by);
    const out = lan.send(ingress, ethernet(GATEWAY_MAC, MACS[NAMES[from]], 0x0800, packet));
    met.routed += out.length;
    return;
  }
  const out = lan.send(ingress, ethernet(MACS[NAMES[to]], MACS[NAMES[from]], 0x0800, packet));
  const wanted = model.switched(lan.now, by, from, to, sport, dport).map((index) => PORTS[NAMES[index]]);
  expect(portsOf(out), JSON.stringify(step)).toEqual([...wanted].sort());
  for (const { ttl, bad, sourceMac } of out)
    expect({ ttl, bad, sourceMac }).toEqual({ ttl: 64, bad: [], sourceMac: MACS[NAMES[from]] });
  if (wanted.length === 0) met.dropped++;
  else if (wanted.length === 1) met.passed++;
  else met.flooded++;
}

describe("frames inside a network, beside the model", () => {
  it.each(SEEDS)("seed %i", (seed) => {
    fc.assert(
      fc.property(policies, fc.array(steps, { minLength: 30, maxLength: 80 }), (policy, script) =>
        play(policy, script),
      ),
      { seed, numRuns: 60 },
    );
  });

  it("was no test of drops alone", () => {
    expect(Math.min(met.passed, met.dropped, met.routed)).toBeGreaterThan(500);
    expect(met.flooded).toBe(0);
  });
});
