/** Runs the measures: round by round, and in each round engine after engine, so that a slow minute hits all alike. */
import type { Engine, Running } from "./engines/engine.ts";
import { sendDatagrams } from "./measures/datagrams.ts";
import {
  type Case,
  type Context,
  enginesOf,
  type Finding,
  type Measure,
  plainNumber,
  roundsOf,
} from "./measures/measure.ts";
import type { Results } from "./results.ts";
import { World } from "./topology.ts";

export interface Plan {
  readonly measures: readonly Measure[];
  /** Those that can run here, by name. */
  readonly engines: ReadonlyMap<string, Engine>;
  readonly rounds: number;
  readonly quick: boolean;
  /** No round begins that would not be over by then (milliseconds since the epoch). */
  readonly deadline: number;
  readonly progress: (line: string) => void;
}

/** Tables are not made smaller than a user's would be. */
const MIN_FLOWS = 262_144;
/** A case takes a few seconds; far above that, something hangs. */
const CASE_TIMEOUT_MS = 120_000;

/** The warm-up: new flows, and milliseconds at full load. */
const WARM_FLOWS = 20_000;
const WARM_FIRST_FLOW = 4_100_000;
const WARM_MS = 1200;

/** Where things run: the load on the first processor, the engine on the second. */
function placementOf(measure: Measure, running: Running): Pick<Context, "loadCpu" | "sinkCpu"> {
  if (measure.placement === "unpinned") return { loadCpu: undefined, sinkCpu: undefined };
  return { loadCpu: 0, sinkCpu: running.sinkCpu };
}

function limited<T>(work: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not end`)), CASE_TIMEOUT_MS);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function show(entry: Case, finding: Finding): string {
  return entry.metrics
    .map(({ name, unit }) => {
      const value = finding.values[name] ?? null;
      const label = entry.metrics.length > 1 ? `${name} ` : "";
      return value === null ? `${label}none` : `${label}${value.toPrecision(4)} ${unit}`;
    })
    .join(", ");
}

/**
 * Load that does not count: new flows first, then packets of known ones. Flows from here on are of no measure; the
 * engine has forgotten them when they would matter, or has room for them.
 */
async function warmUp(context: Context): Promise<void> {
  const flows = { flows: WARM_FLOWS, firstFlow: WARM_FIRST_FLOW };
  await sendDatagrams(context, { ...flows, count: WARM_FLOWS, pps: 50_000, milliseconds: 1000 });
  await sendDatagrams(context, { ...flows, milliseconds: WARM_MS });
}

class Session {
  readonly plan: Plan;
  readonly results: Results;

  constructor(plan: Plan, results: Results) {
    this.plan = plan;
    this.results = results;
  }

  async runCases(measure: Measure, engine: Engine, cases: readonly Case[], round: number): Promise<void> {
    const world = new World();
    let running: Running | undefined;
    try {
      const cpu = measure.placement === "pinned" ? 1 : undefined;
      const flows = Math.max(MIN_FLOWS, ...cases.map((entry) => entry.flows));
      running = await engine.start(world, { cpu, flows });
      if (engine.warmsUp === true)
        await warmUp({ world, running, quick: this.plan.quick, ...placementOf(measure, running) });
      for (const entry of cases) await this.runCase(measure, engine, entry, round, { world, running });
    } catch (error) {
      this.fail(measure, engine, cases, round, error as Error);
    } finally {
      await running?.stop();
      world.remove();
    }
  }

  async runCase(
    measure: Measure,
    engine: Engine,
    entry: Case,
    round: number,
    place: Pick<Context, "world" | "running">,
  ): Promise<void> {
    const where = `${measure.name}, ${entry.name}, ${engine.name}`;
    try {
      const context = { ...place, quick: this.plan.quick, ...placementOf(measure, place.running) };
      const finding = await limited(entry.run(context), where);
      for (const metric of entry.metrics) {
        const row = this.results.row(measure, entry.name, metric);
        this.results.record(row, engine.name, round, finding.values[metric.name] ?? null);
      }
      for (const problem of finding.problems) this.results.problem(where, problem);
      const remarks = finding.problems.length === 0 ? "" : `  (${finding.problems.join("; ")})`;
      this.plan.progress(`${where}: ${show(entry, finding)}${remarks}`);
    } catch (error) {
      this.fail(measure, engine, [entry], round, error as Error);
    }
  }

  fail(measure: Measure, engine: Engine, cases: readonly Case[], round: number, error: Error): void {
    for (const entry of cases) {
      for (const metric of entry.metrics) {
        const row = this.results.row(measure, entry.name, metric);
        if (row.values.get(engine.name)?.[round] === undefined) this.results.record(row, engine.name, round, null);
      }
    }
    this.results.problem(`${measure.name}, ${engine.name}`, error.message);
    this.plan.progress(`${measure.name}, ${engine.name}: ${error.message}`);
  }

  /** The cases whose flows the engine can hold; the others are named. */
  possible(measure: Measure, engine: Engine): Case[] {
    const most = engine.maxFlows?.() ?? Number.POSITIVE_INFINITY;
    return measure.cases.filter((entry) => {
      if (entry.flows > most) {
        const remark = `not measured: it holds ${plainNumber(most)} flows here`;
        this.results.remark(`${measure.name}, ${entry.name}, ${engine.name}`, remark);
      }
      return entry.flows <= most;
    });
  }

  async runMeasure(measure: Measure, round: number): Promise<void> {
    if (round >= roundsOf(measure, this.plan.quick)) return;
    const engines = enginesOf(measure, this.plan.quick).flatMap((name) => this.plan.engines.get(name) ?? []);
    // Each round begins with another engine: none is always the first after a pause.
    for (let i = 0; i < engines.length; i++) {
      const engine = engines[(i + round) % engines.length];
      await this.runCases(measure, engine, this.possible(measure, engine), round);
    }
  }
}

/** Returns how many rounds were run: fewer than planned where the time was over. */
export async function runRounds(plan: Plan, results: Results): Promise<number> {
  const session = new Session(plan, results);
  let lastMs = 0;
  for (let round = 0; round < plan.rounds; round++) {
    if (round > 0 && Date.now() + lastMs > plan.deadline) return round;
    const begin = Date.now();
    for (const measure of plan.measures) {
      plan.progress(`round ${round + 1} of ${plan.rounds}: ${measure.title}`);
      await session.runMeasure(measure, round);
    }
    lastMs = Date.now() - begin;
  }
  return plan.rounds;
}
