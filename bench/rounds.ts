/**
 * Runs the measures round by round. Engines that are close to each other are started together, and take trials in turn, so
 * that a slow minute hits all alike, and starts and warm-ups, which take longer than trials, are few; the others follow one by one.
 * What does not fit into the time is named (see budget.ts); no trial goes through an engine that has just been started.
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
  trialsOf,
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
/** Rounds that a verdict needs, and where each of them has several trials. */
const WANTED_ROUNDS = 4;
const WANTED_ROUNDS_OF_TRIALS = 2;
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

/** A started engine, what it has been warmed up with, and what it is asked. */
interface Started {
  readonly engine: Engine;
  readonly running: Running;
  readonly world: World;
  readonly warm: Set<string>;
  readonly cases: ReadonlyMap<Measure, readonly Case[]>;
}

/** Where the values of one start go: those of its first trial, and how many trials there are. */
interface Samples {
  readonly first: number;
  readonly trials: number;
}

class Session {
  readonly plan: Plan;
  readonly results: Results;

  constructor(plan: Plan, results: Results) {
    this.plan = plan;
    this.results = results;
  }

  /** Starts engines, asks them the unit's questions in turn, and stops them. */
  async runTogether(unit: Unit, engines: readonly Engine[], samples: Samples): Promise<void> {
    const started: Started[] = [];
    try {
      for (const engine of engines) {
        const one = await this.start(unit, engine, samples.first);
        if (one !== undefined) started.push(one);
      }
      for (const measure of unit.measures) await this.runMeasure(measure, started, samples);
    } finally {
      for (const { running } of started) await running.stop();
      for (const { world } of started) world.remove();
    }
  }

  async start(unit: Unit, engine: Engine, sample: number): Promise<Started | undefined> {
    const measures = unit.measures.filter((measure) => enginesOf(measure, this.plan.quick).includes(engine.name));
    const cases = new Map(measures.map((measure) => [measure, this.possible(measure, engine)]));
    const world = new World();
    try {
      const cpu = unit.placement === "pinned" ? 1 : undefined;
      const flows = Math.max(MIN_FLOWS, ...[...cases.values()].flat().map((entry) => entry.flows));
      const running = await engine.start(world, { cpu, flows });
      return { engine, running, world, warm: new Set<string>(), cases };
    } catch (error) {
      for (const [measure, possible] of cases) this.fail(measure, engine, possible, sample, error as Error);
      world.remove();
      return undefined;
    }
  }

  async runMeasure(measure: Measure, started: readonly Started[], { first, trials }: Samples): Promise<void> {
    const ready = [];
    for (const one of started) if (await this.warmUp(measure, one, first)) ready.push(one);
    for (let trial = 0; trial < trials; trial++) {
      for (const entry of casesOf(measure, this.plan.quick)) {
        for (let i = 0; i < ready.length; i++) {
          // Another one begins each time: none is always the first after a pause.
          const one = ready[(i + first + trial) % ready.length];
          if (one.cases.get(measure)?.includes(entry)) await this.runCase(measure, entry, one, first + trial);
        }
      }
    }
  }

  /** Returns whether the engine is to be asked. */
  async warmUp(measure: Measure, started: Started, sample: number): Promise<boolean> {
    const { engine, warm, cases } = started;
    const possible = cases.get(measure) ?? [];
    if (possible.length === 0) return false;
    if (measure.warmUp === undefined || warm.has(measure.warmUp.kind)) return true;
    warm.add(measure.warmUp.kind);
    try {
      const work = measure.warmUp.run(this.contextOf(measure, started), this.warmUpMs(engine));
      await limited(work, `${measure.name}, ${engine.name}: the warm-up`);
      return true;
    } catch (error) {
      this.fail(measure, engine, possible, sample, error as Error);
      return false;
    }
  }

  contextOf(measure: Measure, { running, world }: Started): Context {
    return { world, running, quick: this.plan.quick, ...placementOf(measure, running) };
  }

  warmUpMs(engine: Engine | undefined): number {
    if (engine?.warmsUp !== true) return SHORT_WARM_UP_MS;
    return this.plan.quick ? QUICK_WARM_UP_MS : WARM_UP_MS;
  }

  async runCase(measure: Measure, entry: Case, started: Started, sample: number): Promise<void> {
    const { engine } = started;
    const where = `${measure.name}, ${entry.name}, ${engine.name}`;
    try {
      const finding = await limited(entry.run(this.contextOf(measure, started)), where);
      for (const metric of entry.metrics) {
        const row = this.results.row(measure, entry.name, metric);
        this.results.record(row, engine.name, sample, finding.values[metric.name] ?? null);
      }
      for (const problem of finding.problems) this.results.problem(where, problem);
      const remarks = finding.problems.length === 0 ? "" : `  (${finding.problems.join("; ")})`;
      this.plan.progress(`${where}: ${show(entry, finding)}${remarks}`);
    } catch (error) {
      this.fail(measure, engine, [entry], sample, error as Error);
    }
  }

  fail(measure: Measure, engine: Engine, cases: readonly Case[], sample: number, error: Error): void {
    for (const entry of cases) {
      for (const metric of entry.metrics) {
        const row = this.results.row(measure, entry.name, metric);
        if (row.values.get(engine.name)?.[sample] === undefined) this.results.record(row, engine.name, sample, null);
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

  /** Estimates may fail: the time is looked at again before each start. */
  async runUnit(unit: Unit, round: number, expectedMs: number): Promise<void> {
    const engines = this.enginesFor(unit);
    const trials = trialsOfUnit(unit, this.plan.quick);
    const first = round * trials;
    const groups = groupsOf(engines, unit.measures);
    // Each round begins with another one.
    for (let i = 0; i < groups.length; i++) {
      const group = groups[(i + round) % groups.length];
      if (Date.now() + (expectedMs * group.length) / engines.length > this.plan.deadline) {
        const names = group.map(({ name }) => name).join(", ");
        this.results.skip(`${unit.name}, ${names}, round ${round + 1}: skipped, the time was over`);
      } else {
        await this.runTogether(unit, group, { first, trials: group[0].isFarOff === true ? 1 : trials });
      }
    }
  }
}

/** Those that take trials in turn, and each that does not by itself. */
export function groupsOf(engines: readonly Engine[], measures: readonly Measure[]): Engine[][] {
  const isShared = measures.every(({ needsOwnEngine }) => needsOwnEngine !== true);
  const close = engines.filter(({ isFarOff }) => isShared && isFarOff !== true);
  const others = engines.filter((engine) => !close.includes(engine)).map((engine) => [engine]);
  return close.length === 0 ? others : [close, ...others];
}

function trialsOfUnit({ measures }: Unit, quick: boolean): number {
  return Math.max(...measures.map((measure) => trialsOf(measure, quick)));
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
        wanted: trialsOfUnit(unit, plan.quick) > 1 ? WANTED_ROUNDS_OF_TRIALS : WANTED_ROUNDS,
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
