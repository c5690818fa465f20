/**
 * Hostile input for every place where input comes in: a bounded run of the fuzzer, and all cases that once failed. Longer
 * runs: `npm run fuzz`.
 */
import { afterAll, describe, expect, it } from "vitest";
import { attempt, campaign } from "../../fuzz/campaign.ts";
import type { Target } from "../../fuzz/target.ts";
import { TARGETS } from "../../fuzz/targets/index.ts";
import { allVectors } from "../../fuzz/vectors.ts";

const SEED = Number(process.env.TAPIR_SEED ?? 4_711);

/** Cases of targets that take longer than others. */
const CASES: Readonly<Record<string, number>> = {
  pipeline: 60,
  configuration: 60,
  iptables: 60,
  restore: 60,
  "capture-file": 20,
  api: 20,
  channel: 60,
};
const OTHERS = 400;

afterAll(async () => {
  for (const target of TARGETS) await target.close?.();
});

describe("hostile input", () => {
  it.each(TARGETS.map((target) => [target.about, target] as const))(`%s (seed ${SEED})`, async (_, target: Target) => {
    const mostCases = CASES[target.name] ?? OTHERS;
    const outcome = await campaign(target, { seed: SEED, mostCases, mostMilliseconds: Infinity });
    expect(outcome.failure).toBeUndefined();
    expect(outcome.cases).toBe(mostCases);
    // The cases were not all refused for the same reason.
    expect(outcome.reached.size).toBeGreaterThan(4);
  });

  it.each(allVectors().map(({ file, vector }) => [file, vector] as const))(
    "that once did harm: %s",
    async (_, vector) => {
      const target = TARGETS.find(({ name }) => name === vector.target) as Target;
      expect((await attempt(target, vector.input)) as object).not.toHaveProperty("message");
    },
  );
});
