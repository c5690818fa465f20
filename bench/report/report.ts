/** All that a report is made of. */
import type { Engine } from "../engines/engine.ts";
import type { Machine } from "../machine.ts";
import type { Measure } from "../measures/measure.ts";
import type { Results } from "../results.ts";

export interface Report {
  readonly date: string;
  readonly minutes: number;
  readonly rounds: number;
  readonly quick: boolean;
  readonly machine: Machine;
  readonly engines: readonly Engine[];
  readonly absent: readonly { name: string; reason: string }[];
  readonly measures: readonly Measure[];
  readonly results: Results;
}
