/**
 * Runs the measures: round by round, and in each round engine after engine, so that a slow minute hits all alike. What
 * does not fit into the time is named (see budget.ts); no trial goes through an engine that has just been started.
 */
import { allotRounds, type Request, shortfall } from "./budget.ts";
import type { Engine, Running } from "./engines/engine.ts";
import {
  type Case,
  type Context,
  casesOf,
  enginesOf,
  type Finding,
  type Measure,
  plainNumber,
  roundsOf,
} from "./measures/measure.ts";
import type { Results } from "./results.ts";
import { World } from "./topology.ts";
import { enginesOfUnit, expectedSeconds, type Unit, unitsOf } from "./units.ts";

export interface Plan {
  readonly measures: readonly Measure[];
  /** Those that can run here, by name. */
  readonly engines: ReadonlyMap<string, Engine>;
  /** Most rounds. */
  readonly rounds: number;
  readonly quick: boolean;
  /** Nothing begins that would not be over by then (milliseconds since the epoch). */
  readonly deadline: number;
  readonly isGoal: (measure: Measure) => boolean;
  readonly progress: (line: string) => void;
}

/** Tables are not made smaller than a user's would be. */
const MIN_FLOWS = 262_144;
/** A case takes a few seconds; far above that, something hangs. */
const CASE_TIMEOUT_MS = 150_000;
/** Rounds that a verdict needs. */
const WANTED_ROUNDS = 3;
/** Unmeasured load: until a just-in-time compiler is done, or just until neighbours are known and caches filled. */
const WARM_UP_MS = 2500;
const QUICK_WARM_UP_MS = 2000;
const SHORT_WARM_UP_MS = 300;

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

/** A started engine, and what it has been warmed up with. */
interface Started {
  readonly engine: Engine;
  readonly running: Running;
  readonly world: World;
  readonly warm: Set<string>;
}

class Session {
  readonly plan: Plan;
  readonly results: Results;

  constructor(plan: Plan, results: Results) {
    this.plan = plan;
    this.results = results;
  }

  async runEngine(unit: Unit, engine: Engine, round: number): Promise<void> {
    const measures = unit.measures.filter((measure) => enginesOf(measure, this.plan.quick).includes(engine.name));
    const cases = new Map(measures.map((measure) => [measure, this.possible(measure, engine)]));
    const world = new World();
    let running: Running | undefined;
    try {
      const cpu = unit.placement === "pinned" ? 1 : undefined;
      const flows = Math.max(MIN_FLOWS, ...[...cases.values()].flat().map((entry) => entry.flows));
      running = await engine.start(world, { cpu, flows });
      const started = { engine, running, world, warm: new Set<string>() };
      for (const [measure, possible] of cases) await this.runMeasure(measure, possible, started, round);
    } catch (error) {
      for (const [measure, possible] of cases) this.fail(measure, engine, possible, round, error as Error);
    } finally {
      await running?.stop();
      world.remove();
    }
  }

  async runMeasure(measure: Measure, cases: readonly Case[], started: Started, round: number): Promise<void> {
    const { engine, running, world } = started;
    const context = { world, running, quick: this.plan.quick, ...placementOf(measure, running) };
    try {
      await this.warmUp(measure, context, started);
    } catch (error) {
      this.fail(measure, engine, cases, round, error as Error);
      return;
    }
    for (const entry of cases) await this.runCase(measure, engine, entry, round, context);
  }

  async warmUp(measure: Measure, context: Context, { engine, warm }: Started): Promise<void> {
    if (measure.warmUp === undefined || warm.has(measure.warmUp.kind)) return;
    warm.add(measure.warmUp.kind);
    const work = measure.warmUp.run(context, this.warmUpMs(engine));
    await limited(work, `${measure.name}, ${engine.name}: the warm-up`);
  }

  warmUpMs(engine: Engine | undefined): number {
    if (engine?.warmsUp !== true) return SHORT_WARM_UP_MS;
    return this.plan.quick ? QUICK_WARM_UP_MS : WARM_UP_MS;
  }

  async runCase(measure: Measure, engine: Engine, entry: Case, round: number, context: Context): Promise<void> {
    const where = `${measure.name}, ${entry.name}, ${engine.name}`;
    try {
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
    return casesOf(measure, this.plan.quick).filter((entry) => {
      if (entry.flows > most) {
        const remark = `not measured: it holds ${plainNumber(most)} flows here`;
        this.results.remark(`${measure.name}, ${entry.name}, ${engine.name}`, remark);
      }
      return entry.flows <= most;
    });
  }

  enginesFor(unit: Unit): Engine[] {
    return enginesOfUnit(unit, this.plan.quick).flatMap((name) => this.plan.engines.get(name) ?? []);
  }

  /** Estimates may fail: each engine is looked at again before it starts. */
  async runUnit(unit: Unit, round: number, expectedMs: number): Promise<void> {
    const engines = this.enginesFor(unit);
    // Each round begins with another engine: none is always the first after a pause.
    for (let i = 0; i < engines.length; i++) {
      const engine = engines[(i + round) % engines.length];
      if (Date.now() + expectedMs / engines.length > this.plan.deadline) {
        this.results.skip(`${unit.name}, ${engine.name}, round ${round + 1}: skipped, the time was over`);
      } else {
        await this.runEngine(unit, engine, round);
      }
    }
  }
}

type Work = Request & { readonly unit: Unit };

function workOf(plan: Plan, session: Session): Work[] {
  const warmUpSeconds = (name: string) => session.warmUpMs(plan.engines.get(name)) / 1000;
  return unitsOf(plan.measures, plan.quick).flatMap((unit) => {
    const engines = session.enginesFor(unit).map(({ name }) => name);
    if (engines.length === 0) return [];
    const most = Math.min(plan.rounds, ...unit.measures.map((measure) => roundsOf(measure, plan.quick)));
    return [
      {
        unit,
        name: unit.name,
        seconds: expectedSeconds(unit, engines, warmUpSeconds, plan.quick),
        done: 0,
        wanted: WANTED_ROUNDS,
        most,
        isGoal: unit.measures.some(plan.isGoal),
      },
    ];
  });
}

/** Returns how many rounds the longest-measured unit had. */
export async function runRounds(plan: Plan, results: Results): Promise<number> {
  const session = new Session(plan, results);
  const works = workOf(plan, session);
  for (let round = 0; round < plan.rounds; round++) {
    let isIdle = true;
    for (let index = 0; index < works.length; index++) {
      const work = works[index];
      const further = allotRounds(works, (plan.deadline - Date.now()) / 1000);
      if (further[index] === 0 || work.done > round) continue;
      isIdle = false;
      const begin = Date.now();
      plan.progress(`round ${round + 1} of ${Math.min(plan.rounds, work.done + further[index])}: ${work.name}`);
      await session.runUnit(work.unit, work.done, work.seconds * 1000);
      works[index] = { ...work, seconds: (Date.now() - begin) / 1000, done: work.done + 1 };
    }
    if (isIdle) break;
  }
  for (const work of works) {
    const words = shortfall(work);
    if (words !== undefined) results.skip(words);
  }
  return Math.max(0, ...works.map(({ done }) => done));
}
