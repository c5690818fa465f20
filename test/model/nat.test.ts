/**
 * Random traffic, time, reloads and flushes, through the router and through a slow and obvious model of NAT: the same
 * packets come out, with addresses and ports that the model allows, the same flows live, and the books agree.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { FLOW_SHIFT, FlowFlag, FlowWord, HeaderWord } from "../../src/conntrack/flow_layout.ts";
import { endFlows } from "../../src/dataplane/end_flows.ts";
import { checkInvariants } from "../../src/dataplane/invariants.ts";
import { echoReply, echoRequest, ethernet, tcp, udp, word } from "../support/frames.ts";
import { inverse, isInside, type ModelPlan, NatModel, type Packet, type Tuple, textOf } from "../support/nat_model.ts";
import {
  C1_MAC,
  C2_MAC,
  defaultPlan,
  GATEWAY_MAC,
  type Out,
  Port,
  SERVER_MAC,
  TestRouter,
  UPLINK_MAC,
} from "../support/router.ts";
import { Action, type ShortPlan } from "../support/rules.ts";
import { SEEDS } from "../support/seeds.ts";

const STEPS = 60;
const RUNS = 100;

const INSIDE = ["10.55.66.2", "10.55.66.3", "10.55.66.4"];
const OUTSIDE = ["203.0.113.2", "198.51.100.7", "198.51.100.8"];
/** Few ports, so that they collide: two of each class, and those that are published. */
const INSIDE_PORTS = [5000, 5001, 80, 700, 8080];
const OUTSIDE_PORTS = [53, 80, 5000];
const PROTOCOLS = { udp: 17, tcp: 6, icmp: 1 } as const;
const POOL = ["203.0.113.10", "203.0.113.11"];

type Step =
  | { do: "out"; protocol: Tuple["protocol"]; from: number; port: number; to: number; toPort: number }
  | { do: "in"; protocol: Tuple["protocol"]; from: number; port: number; to: number; toPort: number }
  | { do: "hairpin"; protocol: "udp" | "tcp"; from: number; port: number; toPort: number }
  | { do: "follow"; flow: number; reply: boolean }
  | { do: "stray"; protocol: "tcp" | "icmp"; from: number; to: number; outward: boolean }
  | { do: "wait"; seconds: number }
  | { do: "flush"; host: number }
  | { do: "crash" }
  | { do: "reload"; source: number; publish: number; renumber: boolean; other: boolean };

const any = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const index = fc.nat({ max: 2 });
const protocol = any(["udp", "tcp", "icmp"] as const);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("out" as const),
      protocol,
      from: index,
      port: any(INSIDE_PORTS),
      to: index,
      toPort: any(OUTSIDE_PORTS),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("in" as const),
      protocol,
      from: index,
      port: any(OUTSIDE_PORTS),
      to: fc.nat({ max: 5 }),
      toPort: any(INSIDE_PORTS),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("hairpin" as const),
      protocol: any(["udp", "tcp"] as const),
      from: index,
      port: any(INSIDE_PORTS),
      toPort: any(INSIDE_PORTS),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("follow" as const), flow: fc.nat(), reply: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("stray" as const),
      protocol: any(["tcp", "icmp"] as const),
      from: index,
      to: index,
      outward: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("wait" as const),
      seconds: any([1, 3, 10, 29, 31, 59, 61, 119, 121, 241, 299, 301, 7441, 432_001]),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("crash" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("flush" as const), host: fc.nat({ max: 3 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("reload" as const),
      source: fc.nat({ max: 5 }),
      publish: fc.nat({ max: 5 }),
      renumber: fc.nat({ max: 4 }).map((n) => n === 0),
      other: fc.nat({ max: 9 }).map((n) => n === 0),
    }),
  },
);

/** Each place can shrink to nothing: what is left is what makes the difference. */
const sequence = fc.array(fc.option(step, { freq: 1_000_000 }), { minLength: STEPS, maxLength: STEPS });

function sourceOf(kind: number, wan: string): ModelPlan["source"] {
  const few: [number, number] = [2000, 2003];
  const kinds: ModelPlan["source"][] = [
    { addresses: [wan] },
    undefined,
    { addresses: POOL },
    { addresses: [wan], ports: few },
    { addresses: POOL, ports: [5000, 5003] },
    { addresses: [wan], random: true },
  ];
  return kinds[kind];
}

function publishOf(kind: number): ModelPlan["publish"] {
  const both = (ports: [number, number], to: string, toPort: number): ModelPlan["publish"] =>
    (["tcp", "udp"] as const).map((each) => ({ protocol: each, ports, to, toPort }));
  const kinds = [
    [],
    both([8080, 8080], INSIDE[1], 80),
    both([8080, 8080], INSIDE[2], 80),
    both([8080, 8080], INSIDE[1], 80).concat({ protocol: "udp", ports: [5000, 5000], to: INSIDE[0], toPort: 5000 }),
    both([5000, 5001], INSIDE[2], 7000),
    both([8080, 8080], INSIDE[1], 700),
  ] as ModelPlan["publish"][];
  return kinds[kind];
}

/** The model's plan for the router. What is for the router itself is dropped: the walk's tests are about that. */
function routerPlan({ profile, wan, source, publish }: ModelPlan): ShortPlan {
  const plan = defaultPlan();
  plan.interfaces[1].address = word(wan);
  plan.input = { policy: Action.DROP, rules: [] };
  plan.conntrack.profile = profile;
  plan.sourceNat = [];
  if (source !== undefined) {
    const { addresses, ports, random } = source;
    plan.sourceNat.push({
      from: { address: word("10.55.66.0"), length: 24 },
      out: 1,
      ...(addresses[0] === wan ? {} : { to: { first: word(addresses[0]), last: word(addresses[1]) } }),
      ...(ports && { ports: { first: ports[0], last: ports[1] } }),
      ...(random && { fullyRandom: true }),
    });
  }
  plan.publish = publish.map((each) => ({
    protocol: PROTOCOLS[each.protocol],
    interface: 1,
    ports: { first: each.ports[0], last: each.ports[1] },
    to: word(each.to),
    toPort: each.toPort,
  }));
  return plan;
}

const macOf = (host: string): string => (!isInside(host) ? SERVER_MAC : host === INSIDE[1] ? C2_MAC : C1_MAC);
const portOf = (host: string): number => (!isInside(host) ? Port.WAN : host === INSIDE[1] ? Port.C2 : Port.C1);

function bytesOf({ protocol, source, sourcePort, destination, destinationPort, flags }: Packet): Uint8Array {
  const ends = { source, destination };
  if (protocol === "udp") return udp(ends, sourcePort, destinationPort);
  if (protocol === "icmp") return (destinationPort === 8 ? echoRequest : echoReply)(ends, sourcePort);
  const numbers = {
    S: { sequence: 1000 },
    SA: { sequence: 2000, acknowledgement: 1001 },
    A: { sequence: 1001, acknowledgement: 2001 },
  };
  return tcp(ends, sourcePort, destinationPort, { flags, ...numbers[flags] });
}

function tupleOf(out: Out): Tuple {
  const { source = "", destination = "" } = out;
  if (out.protocol !== 1) {
    const name = out.protocol === 6 ? "tcp" : "udp";
    const { sourcePort = -1, destinationPort = -1 } = out;
    return { protocol: name, source, sourcePort, destination, destinationPort };
  }
  const sourcePort = (out.icmpRest as number) >>> 16;
  return { protocol: "icmp", source, sourcePort, destination, destinationPort: out.icmpType as number };
}

const dotted = (address: number): string => [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join(".");

class Pair {
  private plan: ModelPlan;
  private router: TestRouter;
  private readonly model: NatModel;
  private readonly seen: Map<string, number>;

  constructor(profile: ModelPlan["profile"], seen: Map<string, number>) {
    this.plan = { profile, wan: "203.0.113.1", source: sourceOf(0, "203.0.113.1"), publish: publishOf(1) };
    this.router = new TestRouter(routerPlan(this.plan), { flows: 128 }, 1, 64);
    this.model = new NatModel(this.plan);
    this.seen = seen;
    this.introduce();
    this.model.setTime(this.router.now);
  }

  take(each: Step): void {
    if (each.do === "wait") this.wait(each.seconds);
    else if (each.do === "reload") this.reload(each);
    else if (each.do === "crash") this.crash();
    else if (each.do === "flush") this.flush(INSIDE[each.host]);
    else this.send(this.packetOf(each));
    this.compare();
  }

  private packetOf(each: Exclude<Step, { do: "wait" | "reload" | "flush" | "crash" }>): Packet | undefined {
    const { wan } = this.plan;
    if (each.do === "follow") return this.following(each.flow, each.reply);
    if (each.do === "stray") {
      const [source, destination] = each.outward
        ? [INSIDE[each.from], OUTSIDE[each.to]]
        : [OUTSIDE[each.from], [wan, INSIDE[1]][each.to % 2]];
      const ends = { protocol: each.protocol, source, destination, sourcePort: 80, flags: "SA" } as const;
      return { ...ends, destinationPort: each.protocol === "icmp" ? 0 : 5000 };
    }
    const source = each.do === "in" ? OUTSIDE[each.from] : INSIDE[each.from];
    const inward = each.do === "in" ? ([...INSIDE][each.to] ?? wan) : wan;
    const destination = each.do === "out" ? OUTSIDE[each.to] : inward;
    const ends = { protocol: each.protocol, source, sourcePort: each.port, destination, flags: "S" } as const;
    return { ...ends, destinationPort: each.protocol === "icmp" ? 8 : each.toPort };
  }

  /** The next packet of a flow, either way. */
  private following(number: number, isReply: boolean): Packet | undefined {
    const { flows } = this.model;
    if (flows.length === 0) return undefined;
    const { original, reply, state } = flows[number % flows.length];
    if (isReply) return { ...reply, flags: "SA" };
    return { ...original, flags: state === "SYN_RECV" ? "A" : "S" };
  }

  /** TCP's states are another model's business: here handshakes alone, in order. */
  private isInOrder(packet: Packet): boolean {
    const found = this.model.find(packet);
    if (packet.protocol !== "tcp" || found === undefined) return true;
    if (!found.isOriginal) return packet.flags === "SA" && found.flow.state === "SYN_SENT";
    return packet.flags !== "SA";
  }

  private send(packet: Packet | undefined): void {
    if (packet === undefined || !this.isInOrder(packet)) return;
    // Where neighbours have changed, too, the router judges flows anew.
    const expected = this.model.take(packet, this.router.router.generation);
    const gateway = isInside(packet.source) ? GATEWAY_MAC : UPLINK_MAC;
    const frame = ethernet(gateway, macOf(packet.source), 0x0800, bytesOf(packet));
    const out = this.router.send(portOf(packet.source), frame).filter(({ etherType }) => etherType === 0x0800);
    const shown = `${textOf(packet)} came out as ${out.map((each) => textOf(tupleOf(each))).join(", ") || "nothing"}`;
    this.count(expected.out);
    if (expected.out === "nothing") {
      if (out.length > 0) expect.fail(`${shown}, but must not`);
      return;
    }
    if (out.length === 0 && expected.mayBeLost === true) return;
    if (out.length !== 1) expect.fail(`${shown}, but should as ${expected.wanted}`);
    const tuple = tupleOf(out[0]);
    if (!expected.accepts(tuple)) expect.fail(`${shown}, but should as ${expected.wanted}`);
    if (out[0].port !== portOf(tuple.destination)) expect.fail(`${shown}, at port ${out[0].port}`);
    if (out[0].bad.length > 0) expect.fail(`${shown}, with wrong checksums: ${out[0].bad.join()}`);
    if (tuple.source !== packet.source) this.count("source translated");
    if (tuple.destination !== packet.destination) this.count("destination translated");
    if (tuple.source !== packet.source && tuple.destination !== packet.destination) this.count("hairpin");
    if (tuple.sourcePort !== packet.sourcePort) this.count("port changed");
  }

  private wait(seconds: number): void {
    this.router.now += seconds * 1000;
    this.router.turn();
    this.introduce();
    this.model.setTime(this.router.now);
  }

  private reload({ source, publish, renumber, other }: Extract<Step, { do: "reload" }>): void {
    const { profile } = this.plan;
    const wan = renumber ? "203.0.113.9" : "203.0.113.1";
    const changed = profile === "bcp" ? "linux" : "bcp";
    this.plan = {
      profile: other ? changed : profile,
      wan,
      source: sourceOf(source, wan),
      publish: publishOf(publish),
    };
    this.router.apply(routerPlan(this.plan));
    this.introduce();
    this.model.reload(this.plan);
  }

  /** The router ends and another one goes on with its flows. */
  private crash(): void {
    const { flows } = this.router.router;
    this.router = this.router.heir(routerPlan(this.plan), { limits: { flows: 128 }, slots: 64 });
    expect(this.router.adoption).toEqual({ kept: flows.count, torn: 0 });
    this.introduce();
    this.model.judgeAnew();
    if (flows.count > 0) this.count("adopted");
  }

  /** Ends the flows that a host began; without one, all. */
  private flush(host: string | undefined): void {
    const { flows } = this.router.router;
    endFlows(flows, (base) => host === undefined || flows.words[base + FlowWord.SOURCE] === word(host));
    this.model.end(({ source }) => host === undefined || source === host);
  }

  private introduce(): void {
    for (const host of [...INSIDE, OUTSIDE[0]]) {
      const target = isInside(host) ? "10.55.66.1" : this.plan.wan;
      this.router.arp(portOf(host), { operation: 1, senderMac: macOf(host), sender: host, target });
    }
  }

  /** `expect` is slow: it is asked where something differs. */
  private compare(): void {
    const [live, { tuples }] = [this.liveFlows(), this.model];
    if (live.join() !== tuples.join()) expect(live, "live flows").toEqual(tuples);
    const { violations } = checkInvariants(this.router.router);
    if (violations.length > 0) expect(violations).toEqual([]);
    if (this.router.arena.heldSlots() !== 0) expect(this.router.arena.heldSlots(), "slots held").toBe(0);
  }

  private liveFlows(): string[] {
    const { words, header } = this.router.router.flows;
    const live: string[] = [];
    for (let flow = 0; flow < header[HeaderWord.HIGH_WATER]; flow++) {
      const base = flow << FLOW_SHIFT;
      const status = words[base + FlowWord.STATUS];
      if ((status & FlowFlag.CONFIRMED) === 0) continue;
      const tuples = [FlowWord.SOURCE, FlowWord.REPLY_SOURCE].map((at) => {
        const ports = words[base + at + 2];
        const isIcmp = (status & 0xff) === 1;
        return textOf({
          protocol: isIcmp ? "icmp" : (status & 0xff) === 6 ? "tcp" : "udp",
          source: dotted(words[base + at]),
          destination: dotted(words[base + at + 1]),
          sourcePort: ports >>> 16,
          destinationPort: isIcmp ? (ports >>> 8) & 0xff : ports & 0xffff,
        });
      });
      live.push(tuples.join(" | "));
    }
    return live.sort();
  }

  private count(what: string): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
  }
}

describe.each(["linux", "bcp"] as const)("random NAT, beginning in profile %s", (profile) => {
  const seen = new Map<string, number>();

  it.each(SEEDS)("does as the model says (seed %i)", (seed) => {
    fc.assert(
      fc.property(sequence, (steps) => {
        const pair = new Pair(profile, seen);
        for (const each of steps) if (each !== null) pair.take(each);
      }),
      { numRuns: RUNS, seed },
    );
  });

  it("reached what it is about", () => {
    for (const what of [
      "nothing",
      "source translated",
      "destination translated",
      "hairpin",
      "port changed",
      "adopted",
    ]) {
      expect(seen.get(what) ?? 0, what).toBeGreaterThan(200);
    }
  });
});

describe("the model", () => {
  it("knows the way back", () => {
    const tuple: Tuple = { protocol: "icmp", source: "a", sourcePort: 7, destination: "b", destinationPort: 8 };
    expect(inverse(inverse(tuple))).toEqual(tuple);
  });
});
