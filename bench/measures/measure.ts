/** A measure is one question, asked of several engines, in one or more cases. One file each. */
import type { Running } from "../engines/engine.ts";
import type { World } from "../topology.ts";

export interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly better: "higher" | "lower";
}

export interface Context {
  readonly world: World;
  readonly running: Running;
  readonly quick: boolean;
  /** Processor of generators and clients; undefined: any. */
  readonly loadCpu: number | undefined;
  /** Processor of the receiver. */
  readonly sinkCpu: number | undefined;
}

/** What a case found: a value for each metric, or null where it cannot be told; and what was wrong with the traffic. */
export interface Finding {
  readonly values: Readonly<Record<string, number | null>>;
  readonly problems: readonly string[];
}

export interface Case {
  readonly name: string;
  readonly metrics: readonly Metric[];
  run(context: Context): Promise<Finding>;
}

export interface Measure {
  readonly name: string;
  readonly title: string;
  /** How it is measured, for the report. */
  readonly method: string;
  /** By name, in the order of the report. */
  readonly engines: readonly string[];
  /** Generator and receiver on the first processor, the engine on the second; or everything where it likes. */
  readonly placement: "pinned" | "unpinned";
  /** Flows that the engines must be able to hold. */
  readonly flows: number;
  /** Each case on a fresh engine. Otherwise the cases follow each other on one. */
  readonly freshEngine: boolean;
  /** Left out of a quick run. */
  readonly isLong: boolean;
  readonly cases: readonly Case[];
}

export const RATE: Metric = { name: "rate", unit: "Mpps", better: "higher" };
export const ENGINES_THAT_ROUTE = ["forwarder", "kernel", "kernel-tuned", "tapir"] as const;
