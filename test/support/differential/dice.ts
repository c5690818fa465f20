/** Random scenarios: TAPIR_SEED and TAPIR_RUNS choose others than those that are always run. */
import { seededRandom } from "../router.ts";
import type { Hosts } from "./hosts.ts";
import type { Scenario } from "./suite.ts";
import type { Step } from "./talk.ts";

const FIRST_SEED = Number(process.env.TAPIR_SEED ?? 1);
/** At most 100: each has addresses of its own. */
const RUNS = Number(process.env.TAPIR_RUNS ?? 10);

export class Dice {
  private readonly random: () => number;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  /** A whole number from 0 on, below `limit`. */
  below(limit: number): number {
    return (this.random() >>> 0) % limit;
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }
}

/** Scenarios that differ by their seed; `alike` as in `Scenario`. */
export function randomScenarios(
  steps: (hosts: Hosts, dice: Dice) => Step[],
  alike: (line: string) => string = (line) => line,
): Scenario[] {
  return Array.from({ length: RUNS }, (_, run) => ({
    name: `seed ${FIRST_SEED + run}`,
    steps: (hosts) => steps(hosts, new Dice(FIRST_SEED + run)),
    alike,
  }));
}
