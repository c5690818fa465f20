/** The soak for some seconds: all it does works, every byte arrives, and nothing grows or is left behind. */
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { DISTURBANCES } from "../../bench/soak/actions.ts";
import { soak } from "../../bench/soak/soak.ts";
import { folder, namespacesLeft } from "../../bench/soak/world.ts";
import { requireSystem } from "../support/netns.ts";

const canRun = requireSystem(["ping"], "the soak");
const SECONDS = 5;
/** Fixed, so that every run does the same. */
const SEED = Number(process.env.TAPIR_SEED ?? 1);

describe.skipIf(!canRun)("a router that is used and disturbed", () => {
  it(`is as it was, after ${SECONDS} s of seed ${SEED}`, async () => {
    const { problems, done } = await soak({
      seconds: SECONDS,
      seed: SEED,
      disturbances: Object.keys(DISTURBANCES),
      tell: () => {},
    });
    expect(problems).toEqual([]);
    expect(done.tcp).toBeGreaterThan(0);
    expect(namespacesLeft()).toEqual([]);
    expect(existsSync(folder)).toBe(false);
  }, 120_000);
});
