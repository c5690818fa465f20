/** After a change of rules, the flows that it forbids end by themselves, and no others. */
import { describe, expect, it } from "vitest";
import { emptyRuleSet, type Rule as FullRule, type Match, type Target } from "../../src/filter/rule_set.ts";
import { isToldByFlow } from "../../src/filter/told_by_flow.ts";
import { ethernet, tcp, udp } from "../support/frames.ts";
import { C1_MAC, C2_MAC, defaultPlan, Port, seededRandom, TestRouter } from "../support/router.ts";
import { Action, planOf, type Rule, type ShortPlan, StateBit } from "../support/rules.ts";

const TCP = 6;
const UDP = 17;
const out = { source: "10.55.66.2", destination: "203.0.113.2" };
const fromC2 = { ...out, source: "10.55.66.3" };
const back = { source: "203.0.113.2", destination: "203.0.113.1" };

function forwarding(rules: Rule[], policy: ShortPlan["forward"]["policy"] = Action.ACCEPT): ShortPlan {
  return { ...defaultPlan(), forward: { policy, rules } };
}

function introduced(plan: ShortPlan = defaultPlan(), flows = 1024): TestRouter {
  const router = new TestRouter(plan, { flows });
  router.introduce();
  return router;
}

/** Turns until all flows have been judged; returns how many that took. */
function settle(r: TestRouter): number {
  let turns = 0;
  for (; r.router.rejudge.isPending; turns++) expect(r.turn()).toEqual([]);
  return turns;
}

const drop = (rule: Partial<Rule>): Rule => ({ ...rule, action: Action.DROP });

describe("flows that a change forbids", () => {
  it("end without a packet of theirs, and the others lose nothing", () => {
    const r = introduced();
    for (const port of [53, 99]) r.fromC1(udp(out, 4000, port));
    r.fromC2(udp(fromC2, 4000, 53));
    r.apply(forwarding([drop({ protocol: UDP, destinationPorts: [{ low: 53, high: 53 }], inPorts: [Port.C1] })]));
    settle(r);
    const left = [...Array(3).keys()].filter((flow) => r.router.flows.isLive(flow as never, r.now));
    expect(left).toEqual([1, 2]);
    expect(r.router.counters.named().flowsForbidden).toBe(1);
    expect(r.fromServer(udp(back, 99, 4000))[0]).toMatchObject({ port: Port.C1, destinationPort: 4000 });
    expect(r.fromC1(udp(out, 4000, 53))).toEqual([]);
  });

  it("end as soon as answers are refused, where they cannot do without: TCP", () => {
    const r = introduced();
    const open = (protocol: number): void => {
      if (protocol === UDP) {
        r.fromC1(udp(out, 4000, 53));
        r.fromServer(udp(back, 53, 4000));
      } else {
        r.fromC1(tcp(out, 4000, 80, { flags: "S" }));
        r.fromServer(tcp(back, 80, 4000, { flags: "SA" }));
      }
    };
    open(UDP);
    open(TCP);
    expect(r.router.flows.count).toBe(2);
    r.apply(forwarding([drop({ inInterfaces: [1], outInterfaces: [0] })]));
    settle(r);
    expect(r.router.flows.count).toBe(1);
    expect(r.fromC1(udp(out, 4000, 53)).length).toBe(1);
  });

  it("are those to the router itself too, and those inside a network that is filtered", () => {
    const open = { policy: Action.ACCEPT, rules: [drop({ protocol: 99 })] } as const;
    const r = introduced({ ...defaultPlan(), bridge: { ...open, rules: [...open.rules] } });
    r.fromC1(udp({ source: "10.55.66.2", destination: "10.55.66.1" }, 4000, 53));
    const switched = udp({ source: "10.55.66.2", destination: "10.55.66.3" }, 4000, 53);
    expect(r.send(Port.C1, ethernet(C2_MAC, C1_MAC, 0x0800, switched)).length).toBe(1);
    const before = r.router.flows.count;
    expect(before).toBe(2);
    r.apply({ ...defaultPlan(), bridge: { policy: Action.ACCEPT, rules: [drop({ outPorts: [Port.C2] })] } });
    settle(r);
    expect(r.router.flows.count).toBe(1);
    r.apply({ ...defaultPlan(), input: { policy: Action.DROP, rules: [] } });
    settle(r);
    expect(r.router.flows.count).toBe(0);
  });

  it("are not those whose state is accepted still", () => {
    const r = introduced();
    r.fromC1(udp(out, 4000, 53));
    r.fromServer(udp(back, 53, 4000));
    r.fromC1(udp(out, 4001, 53));
    r.apply(forwarding([{ states: StateBit.ESTABLISHED, action: Action.ACCEPT }], Action.DROP));
    settle(r);
    // The one that nobody has answered is new still.
    expect(r.router.flows.count).toBe(1);
  });

  it("are gone through a piece at a time, while packets pass", () => {
    const r = introduced(defaultPlan(), 4096);
    for (let port = 1; port <= 1000; port++) r.fromC1(udp(out, port, 53));
    const { flows, rejudge } = r.router;
    r.apply(forwarding([drop({ sourcePorts: [{ low: 1, high: 999 }] })]));
    let before = flows.count;
    while (rejudge.isPending) {
      expect(r.fromC1(udp(out, 1000, 53)).length).toBe(1);
      expect(before - flows.count).toBeLessThanOrEqual(64);
      before = flows.count;
    }
    expect(flows.count).toBe(1);
    expect(r.stopped("forward-drop")).toBe(0);
  });

  it("are judged anew when another change comes meanwhile, and that counts which came last", () => {
    const r = introduced();
    for (let port = 1; port <= 200; port++) r.fromC1(udp(out, port, 53));
    r.apply(forwarding([drop({ protocol: UDP })]));
    r.turn();
    r.apply(forwarding([drop({ sourcePorts: [{ low: 150, high: 160 }] })]));
    settle(r);
    expect(r.router.flows.count).toBe(200 - 64 - 11);
  });

  it("stay until their next packet where only that could tell", () => {
    const r = introduced();
    r.fromC1(udp(out, 4000, 53));
    const plan = planOf(forwarding([], Action.DROP));
    const forward = plan.rules.filter.chains.find(({ name }) => name === "FORWARD");
    const mac: Match = { kind: "mac", high: 0x0200, low: 0x00000002 };
    forward?.rules.push({ matches: [mac], target: { kind: "ACCEPT" } });
    r.router.apply(plan);
    expect(r.router.rejudge.isPending).toBe(false);
    expect(r.fromC1(udp(out, 4000, 53)).length).toBe(1);
    expect(r.router.flows.count).toBe(1);
  });

  it("are, of random rules, exactly those whose next packet would be dropped now and not before", () => {
    const random = seededRandom(7);
    const below = (limit: number): number => (random() >>> 0) % limit;
    const ruleOf = (): Rule => ({
      action: below(3) === 0 ? Action.ACCEPT : Action.DROP,
      ...(below(2) === 0 ? { protocol: below(2) === 0 ? UDP : TCP } : {}),
      ...(below(2) === 0 ? { destinationPorts: [{ low: 50, high: 50 + below(8) }] } : {}),
      ...(below(3) === 0 ? { sourcePorts: [{ low: 4000, high: 4000 + below(8) }] } : {}),
      ...(below(3) === 0 ? { states: below(2) === 0 ? StateBit.NEW : StateBit.ESTABLISHED } : {}),
      ...(below(4) === 0 ? { inInterfaces: [below(2)] } : {}),
      ...(below(4) === 0 ? { inPorts: [below(2)] } : {}),
    });
    const planned = (): ShortPlan => forwarding(Array.from({ length: below(5) }, ruleOf), below(3) === 0 ? 0 : 1);
    const seen = { ended: 0, left: 0 };
    for (let round = 0; round < 60; round++) {
      const [first, second] = [planned(), planned()];
      const [judged, lazy, former] = [introduced(first), introduced(first), introduced(first)];
      const flows: [boolean, number, number][] = Array.from({ length: 12 }, () => [
        below(2) === 0,
        4000 + below(8),
        50 + below(8),
      ]);
      for (const r of [judged, lazy, former]) {
        for (const [isC1, from, to] of flows) isC1 ? r.fromC1(udp(out, from, to)) : r.fromC2(udp(fromC2, from, to));
        for (const [, from, to] of flows.slice(0, 6)) r.fromServer(udp(back, to, from));
        if (r !== former) r.apply(second);
      }
      settle(judged);
      lazy.router.rejudge.isPending = false;
      for (const [isC1, from, to] of new Set(flows)) {
        const [source, destination] = [isC1 ? out.source : fromC2.source, out.destination];
        const words = [source, destination].map((text) =>
          text.split(".").reduce((sum, part) => (sum << 8) | Number(part), 0),
        );
        const ports = (from << 16) | to;
        const find = (r: TestRouter): number => {
          const { flows: table } = r.router;
          return table.lookup(table.hash(words[0], words[1], ports, UDP), words[0], words[1], ports, UDP, r.now);
        };
        if (find(lazy) < 0) continue;
        const [passes, passed] = [lazy, former].map((r) => {
          const dropped = r.stopped("forward-drop");
          isC1 ? r.fromC1(udp(out, from, to)) : r.fromC2(udp(fromC2, from, to));
          return r.stopped("forward-drop") === dropped;
        });
        // What was refused before the change already is no concern of it.
        if (passed || passes) expect([round, from, to, find(judged) >= 0]).toEqual([round, from, to, passes]);
        if (passes) seen.left++;
        else seen.ended++;
      }
    }
    expect(seen.ended).toBeGreaterThan(30);
    expect(seen.left).toBeGreaterThan(30);
  });
});

describe("what a rule set asks for", () => {
  const told = (matches: Match[], target?: Target): boolean => {
    const set = emptyRuleSet();
    const rule: FullRule = { matches, ...(target === undefined ? {} : { target }) };
    set.filter.chains[1].rules.push(rule);
    return isToldByFlow(set);
  };
  const mac: Match = { kind: "mac", high: 0, low: 1 };
  const limit: Match = { kind: "limit", packets: 1, perSeconds: 1, burst: 5 };

  it.each<[string, Match[], Target | undefined, boolean]>([
    ["ports and states", [{ kind: "state", states: { is: 1 } }, { kind: "udp" }], { kind: "ACCEPT" }, true],
    ["a hardware address to let pass", [mac], { kind: "ACCEPT" }, false],
    ["a hardware address to drop", [mac], { kind: "DROP" }, true],
    ["any other to drop", [{ ...mac, not: true }], { kind: "DROP" }, false],
    ["a rate to log at", [limit], { kind: "LOG", level: 4, prefix: "", options: 0 }, true],
    ["a rate to count", [limit], undefined, true],
    ["a rate to let pass at", [limit], { kind: "ACCEPT" }, false],
    ["flags that lead elsewhere", [{ kind: "tcp", flags: { is: { mask: 2, set: 2 } } }], { kind: "RETURN" }, false],
    ["a port of the bridge", [{ kind: "physdev", in: { is: "c1" } }], { kind: "DROP" }, false],
  ])("%s", (_, matches, target, isTold) => expect(told(matches, target)).toBe(isTold));
});

describe("a plan that changes ports alone", () => {
  it("is no reason to judge flows anew, unless rules name them", () => {
    const r = introduced();
    const before = r.router.generation;
    const { rules } = r.router;
    const plan = planOf(defaultPlan());
    const more = { ...plan, ports: [...plan.ports, { index: 9, name: "c9", interface: 0 }] };
    r.router.apply({ ...more, rules: rules.ruleSet });
    expect([r.router.generation, r.router.rules, r.router.rejudge.isPending]).toEqual([before, rules, false]);

    const named = planOf(forwarding([]));
    named.rules.filter.chains[1].rules.push({ in: { is: ["c9"] }, matches: [], target: { kind: "DROP" } });
    r.router.apply(named);
    const present = r.router.rules;
    r.router.apply({ ...more, rules: named.rules });
    expect(r.router.rules).not.toBe(present);
    expect(r.router.generation).toBe(before + 2);
  });
});
