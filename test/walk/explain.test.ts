/**
 * A rehearsal agrees with reality and changes nothing: random packets in random configurations are rehearsed first and
 * then sent, and the verdict, the frames that leave, and the flow are the same to the byte.
 */
import assert from "node:assert";
import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";
import { FLOW_SHIFT, FlowFlag, FlowWord } from "../../src/conntrack/flow_layout.ts";
import { viewFlow } from "../../src/conntrack/format.ts";
import { rehearse } from "../../src/dataplane/explain/rehearse.ts";
import type { Router } from "../../src/dataplane/router.ts";
import { differences, digest } from "../support/digest.ts";
import { ethernet } from "../support/frames.ts";
import { type RandomFrame, randomFrame, randomPlan } from "../support/random_world.ts";
import { C1_MAC, C2_MAC, decodeSent, type Out, Port, seededRandom, TestRouter } from "../support/router.ts";

const SEED = Number(process.env.TAPIR_SEED ?? 4_711);
const WORLDS = 100;
const PACKETS = Number(process.env.TAPIR_FUZZ_FRAMES ?? 10_000) / WORLDS;

/** Names of the stop reasons that were counted since `before`. */
function counted(router: Router, before: Float64Array): string[] {
  return router.stopCounts().flatMap(({ name, count }, index) => new Array(count - before[index]).fill(name));
}

/** Every so many packets, the digest of all that the router remembers is compared. */
const DIGESTED = 8;

describe("a rehearsal", () => {
  it(`agrees with reality on ${WORLDS * PACKETS} random packets (seed ${SEED}), and changes nothing`, () => {
    const verdicts = new Map<string, number>();
    let opened = 0;
    for (let world = 0; world < WORLDS; world++) {
      const random = seededRandom(SEED + world);
      const below = (limit: number): number => (random() >>> 0) % limit;
      const r = worldOf(below, SEED + world);
      let last: Out | undefined;
      for (let i = 0; i < PACKETS; i++) {
        r.now += below(8) === 0 ? below(3_000) : below(20);
        r.turn();
        const came = randomFrame(below, last);
        const where = `seed ${SEED} world ${world} packet ${i}`;
        const flows = r.router.flows.count;
        const { walk, sent } = rehearseAndSend(r, came, where, i % DIGESTED === 0);
        if (r.router.flows.count > flows) opened++;
        verdicts.set(walk.verdict, (verdicts.get(walk.verdict) ?? 0) + 1);
        const out = sent.at(-1);
        if (out !== undefined && below(3) > 0) last = decodeSent(out);
      }
    }
    // The probes were not vacuous.
    expect(verdicts.size).toBeGreaterThan(25);
    for (const verdict of ["routed", "switched", "flooded", "local", "parked", "fragment-held", "forward-drop"]) {
      expect(verdicts.get(verdict), verdict).toBeGreaterThan((WORLDS * PACKETS) / 500);
    }
    expect(opened).toBeGreaterThan(WORLDS * PACKETS * 0.05);
  }, 120_000);
});

it("a rehearsal is not captured, and not traced by others", () => {
  const r = new TestRouter();
  r.introduce();
  const forbidden = new Proxy({}, { get: (_, name) => assert.fail(String(name)) }) as never;
  r.router.captures = forbidden;
  r.router.recorder = forbidden;
  const { walk, performed } = rehearse(r.router, Port.C1, ethernet(C2_MAC, C1_MAC, 0x86dd, new Uint8Array(46)));
  expect([walk.verdict, performed.length]).toEqual(["switched", 1]);
  expect(r.router.captures).toBe(forbidden);
  expect(r.router.recorder).toBe(forbidden);
});

function rehearseAndSend(r: TestRouter, { port, frame, vnet }: RandomFrame, where: string, isDigested: boolean) {
  const { router } = r;
  const before = isDigested ? digest(router) : undefined;
  const { walk, performed, reference } = rehearse(router, port, frame, vnet);
  const same = (found: unknown, wanted: unknown): void => {
    if (isDeepStrictEqual(found, wanted)) return;
    expect(found, `${where}: port ${port} ${Buffer.from(frame).toString("hex")} ${JSON.stringify(walk)}`).toEqual(
      wanted,
    );
  };
  if (before !== undefined) same(differences(before, digest(router)), []);

  const stops = router.counters.stops.slice();
  const waiting = router.neighbours.parkedTotal;
  r.io.inject(port, frame, vnet);
  r.loop.turn(0);
  const sent = r.io.takeSent();
  const rows = performed.map(({ own: _, ...row }) => row);
  if (router.neighbours.parkedTotal >= waiting) {
    same(sent, rows);
    same(counted(router, stops).includes(walk.verdict), true);
  } else {
    // Frames that waited went on as well.
    for (const row of rows)
      same(
        sent.some((each) => isDeepStrictEqual(each, row)),
        true,
      );
  }
  if (reference >= 0) same(viewOf(router, reference), walk.flow);
  return { walk, sent };
}

function worldOf(below: (limit: number) => number, seed: number): TestRouter {
  const plan = randomPlan(below);
  const limits = {
    flows: below(3) === 0 ? 16 : 256,
    macs: below(4) === 0 ? 3 : 64,
    neighbours: below(4) === 0 ? 4 : 32,
  };
  const r = new TestRouter(plan, { ...limits, routes: 64 }, seed, 64);
  if (below(3) > 0) r.introduce();
  return r;
}

function viewOf(router: Router, reference: number): unknown {
  const base = (reference >> 1) << FLOW_SHIFT;
  const { words } = router.flows;
  return (words[base + FlowWord.STATUS] & FlowFlag.CONFIRMED) === 0 ? undefined : viewFlow(words, base, router.now);
}
