/** Flows of one router, taken into another: they translate as they did, and nothing is taken that may not be. */
import { describe, expect, it } from "vitest";
import { FLOW_SHIFT, FLOW_WORDS, FlowFlag, FlowWord, HeaderWord } from "../../src/conntrack/flow_layout.ts";
import { checkInvariants } from "../../src/dataplane/invariants.ts";
import { DEFAULT_CONNTRACK } from "../../src/dataplane/plan.ts";
import { restoreFlows } from "../../src/dataplane/restore.ts";
import { echoReply, echoRequest, tcp, udp } from "../support/frames.ts";
import { between, Lan, planOfThree } from "../support/lan.ts";
import { defaultPlan, Port, TestRouter } from "../support/router.ts";
import { Action, type ShortPlan } from "../support/rules.ts";

const C1 = "10.55.66.2";
const C2 = "10.55.66.3";
const WAN = "203.0.113.1";
const SERVER = "203.0.113.2";
const OUT = { source: C1, destination: SERVER };
const BACK = { source: SERVER, destination: WAN };
const WEB = { protocol: 6, interface: 1, ports: { first: 8080, last: 8080 }, to: 0x0a374203, toPort: 80 };

/** All live entries, as a snapshot has them. */
function wordsOf({ router: { flows } }: TestRouter): Int32Array {
  const entries = Array.from({ length: flows.header[HeaderWord.HIGH_WATER] }, (_, flow) => flow << FLOW_SHIFT);
  const live = entries.filter((base) => (flows.words[base + FlowWord.STATUS] & FlowFlag.CONFIRMED) !== 0);
  const words = new Int32Array(live.length * FLOW_WORDS);
  live.forEach((base, index) => {
    words.set(flows.words.subarray(base, base + FLOW_WORDS), index * FLOW_WORDS);
  });
  return words;
}

function begun(plan: ShortPlan = defaultPlan(), limits = {}, seed = 1): TestRouter {
  const router = new TestRouter(plan, limits, seed);
  router.introduce();
  return router;
}

function isSound(router: TestRouter): void {
  expect(checkInvariants(router.router).violations).toEqual([]);
}

/** A connection, an echo and datagrams of two sources with the same port, all answered. */
function talk(r: TestRouter): { ident: number; port: number } {
  r.fromC1(tcp(OUT, 40000, 80, { flags: "S", sequence: 100 }));
  r.fromServer(tcp(BACK, 80, 40000, { flags: "SA", sequence: 900, acknowledgement: 101 }));
  r.fromC1(tcp(OUT, 40000, 80, { flags: "A", sequence: 101, acknowledgement: 901 }));
  const [echo] = r.fromC1(echoRequest(OUT, 77, 1));
  r.fromServer(echoReply(BACK, (echo.icmpRest as number) >>> 16, 1));
  r.fromC1(udp(OUT, 5000, 53));
  const [second] = r.fromC2(udp({ source: C2, destination: SERVER }, 5000, 53));
  r.fromServer(udp(BACK, 53, second.sourcePort as number));
  return { ident: (echo.icmpRest as number) >>> 16, port: second.sourcePort as number };
}

describe("restored flows", () => {
  it("go on with their ports, identifiers and TCP state, from either side", () => {
    const former = begun();
    const { ident, port } = talk(former);
    expect(port).not.toBe(5000);
    const r = begun(defaultPlan(), {}, 99);
    expect(restoreFlows(r.router, wordsOf(former))).toMatchObject({ restored: 4, forbidden: 0, taken: 0 });
    isSound(r);
    const data = tcp(BACK, 80, 40000, { flags: "A", sequence: 901, acknowledgement: 101 });
    expect(r.fromServer(data)[0]).toMatchObject({ port: Port.C1, destination: C1, destinationPort: 40000, bad: [] });
    expect(r.fromC1(tcp(OUT, 40000, 80, { flags: "A", sequence: 101, acknowledgement: 901 }))[0]).toMatchObject({
      source: WAN,
      sourcePort: 40000,
      bad: [],
    });
    expect(r.fromServer(echoReply(BACK, ident, 2))[0]).toMatchObject({ port: Port.C1, destination: C1 });
    expect(r.fromServer(udp(BACK, 53, port))[0]).toMatchObject({ port: Port.C2, destination: C2 });
    const again = r.fromC2(udp({ source: C2, destination: SERVER }, 5000, 53));
    expect(again[0]).toMatchObject({ source: WAN, sourcePort: port });
    // A new destination of the same source keeps its port: the index of sources is there again.
    const other = r.fromC2(udp({ source: C2, destination: SERVER }, 5000, 54));
    expect(other[0]).toMatchObject({ sourcePort: port });
    expect(r.router.flows.count).toBe(5);
    expect(r.router.counters.named()).toMatchObject({ flowsRestored: 4, flowsCreated: 1, flowsNotRestored: 0 });
    isSound(r);
  });

  it("keep their endpoint-independent mappings (profile bcp)", () => {
    const plan = { ...defaultPlan(), conntrack: { ...DEFAULT_CONNTRACK, profile: "bcp" as const } };
    const former = begun(plan);
    const { port } = talk(former);
    const r = begun(plan, {}, 99);
    const words = wordsOf(former);
    expect(restoreFlows(r.router, words).restored).toBe(words.length / FLOW_WORDS);
    isSound(r);
    const far = { source: "198.51.100.7", destination: WAN };
    expect(r.fromServer(udp(far, 9, port))[0]).toMatchObject({ port: Port.C2, destination: C2, destinationPort: 5000 });
  });

  it("are not taken where the rules forbid them", () => {
    const former = begun();
    talk(former);
    const noUdp = { policy: Action.ACCEPT, rules: [{ protocol: 17, action: Action.DROP }] };
    const r = begun({ ...defaultPlan(), forward: noUdp });
    expect(restoreFlows(r.router, wordsOf(former))).toMatchObject({ restored: 2, forbidden: 2 });
    expect(r.router.counters.named()).toMatchObject({ flowsNotRestored: 2 });
    isSound(r);
  });

  it("are not taken where their port is not published any more, or elsewhere", () => {
    const former = begun({ ...defaultPlan(), publish: [WEB] });
    const [syn] = former.fromServer(tcp(BACK, 700, 8080, { flags: "S", sequence: 1 }));
    expect(syn).toMatchObject({ port: Port.C2, destinationPort: 80 });
    const words = wordsOf(former);
    expect(restoreFlows(begun({ ...defaultPlan(), publish: [WEB] }).router, words).restored).toBe(1);
    expect(restoreFlows(begun().router, words)).toMatchObject({ restored: 0, forbidden: 1 });
    const moved = { ...defaultPlan(), publish: [{ ...WEB, to: 0x0a374202 }] };
    expect(restoreFlows(begun(moved).router, words)).toMatchObject({ restored: 0, forbidden: 1 });
  });

  it("are as many as the table holds, and none is there twice", () => {
    const former = begun();
    talk(former);
    const words = wordsOf(former);
    const small = begun(defaultPlan(), { flows: 2 });
    expect(restoreFlows(small.router, words)).toMatchObject({ restored: 2, noRoom: 2 });
    isSound(small);
    const r = begun();
    restoreFlows(r.router, words);
    expect(restoreFlows(r.router, words)).toMatchObject({ restored: 0, taken: 4 });
    isSound(r);
  });

  it("are not taken when their time is over, or when they are no whole flows", () => {
    const former = begun();
    talk(former);
    const words = wordsOf(former);
    words[FlowWord.DEADLINE] = former.now - 1;
    words[FLOW_WORDS + FlowWord.REPLY_SOURCE] ^= 1;
    words[2 * FLOW_WORDS + FlowWord.STATUS] |= 0xff00;
    const r = begun();
    expect(restoreFlows(r.router, words)).toMatchObject({ restored: 1, expired: 1, unsound: 2 });
    isSound(r);
  });

  it("count against the limit of their host", () => {
    const former = begun();
    talk(former);
    const limited = { ...defaultPlan(), conntrack: { ...DEFAULT_CONNTRACK, flowsPerHost: 2 } };
    const r = begun(limited);
    expect(restoreFlows(r.router, wordsOf(former))).toMatchObject({ restored: 3, noRoom: 1 });
    isSound(r);
  });

  it("are judged again inside a network too", () => {
    const stateful = { policy: Action.DROP, rules: [{ protocol: 17, action: Action.ACCEPT }] };
    const former = new Lan(planOfThree({ bridge: stateful })).meet();
    former.pass("c1", "c2", udp(between("c1", "c2"), 4000, 53));
    const words = wordsOf(former);
    const r = new Lan(planOfThree({ bridge: stateful })).meet();
    expect(restoreFlows(r.router, words)).toMatchObject({ restored: 1 });
    expect(r.pass("c2", "c1", udp(between("c2", "c1"), 53, 4000))).toHaveLength(1);
    isSound(r);
    const closed = new Lan(planOfThree({ bridge: { policy: Action.DROP, rules: [] } })).meet();
    expect(restoreFlows(closed.router, words)).toMatchObject({ restored: 0, forbidden: 1 });
    expect(restoreFlows(new Lan(planOfThree({})).meet().router, words)).toMatchObject({ restored: 0, forbidden: 1 });
  });
});
