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
  /** Flows that the engine must be able to hold at once. */
  readonly flows: number;
  /** About how long it takes in a full run, for the plan of the time; absent: 2. */
  readonly seconds?: number;
  /** The same of a quick run; absent: half. */
  readonly quickSeconds?: number;
  /** Left out of a quick run. */
  readonly isLong?: boolean;
  readonly metrics: readonly Metric[];
  run(context: Context): Promise<Finding>;
}

/** Load that is not measured, so that nobody measures a router whose code is still being compiled. */
export interface WarmUp {
  /** One warm-up of a kind is enough for a started engine. */
  readonly kind: string;
  run(context: Context, milliseconds: number): Promise<unknown>;
}

export interface Measure {
  readonly name: string;
  readonly title: string;
  /** How it is measured, for the report. */
  readonly method: string;
  /** By name, in the order of the report. */
  readonly engines: readonly string[];
  /** Those of a quick run; absent: the forwarder, the kernel and Tapir, as far as they are in `engines`. */
  readonly quickEngines?: readonly string[];
  /** Most rounds, where few say enough; a quick run makes one of them. */
  readonly mostRounds?: number;
  /** Trials of each case with each start in a full run, the engines in turn; absent: 1. */
  readonly trials?: number;
  /** Before the first trial on a started engine; absent: no load goes through one. */
  readonly warmUp?: WarmUp;
  /** Bars for each case, or its metrics as percentiles; absent: bars. */
  readonly plot?: "bars" | "percentiles";
  /** It needs an engine that nothing was sent through yet, and no other one beside it. */
  readonly needsOwnEngine?: boolean;
  /** Generator and receiver on the first processor, the engine on the second; or everything where it likes. */
  readonly placement: "pinned" | "unpinned";
  /** Left out of a quick run. */
  readonly isLong: boolean;
  /** They follow each other on one instance of the engine. */
  readonly cases: readonly Case[];
}

export const RATE: Metric = { name: "rate", unit: "Mpps", better: "higher" };

/** Thousands apart: 10 000. */
export function plainNumber(value: number): string {
  return value.toLocaleString("en-US").replaceAll(",", " ");
}

const QUICK_ENGINES = ["forwarder", "kernel", "tapir", "memory"];

export function enginesOf(measure: Measure, quick: boolean): string[] {
  const kept = measure.quickEngines ?? QUICK_ENGINES;
  return measure.engines.filter((name) => !quick || kept.includes(name));
}

export function roundsOf(measure: Measure, quick: boolean): number {
  if (measure.mostRounds === undefined) return Number.POSITIVE_INFINITY;
  return quick ? 1 : measure.mostRounds;
}

export function trialsOf(measure: Measure, quick: boolean): number {
  return quick ? 1 : (measure.trials ?? 1);
}

export function casesOf(measure: Measure, quick: boolean): Case[] {
  return measure.cases.filter(({ isLong }) => !(quick && isLong));
}
