/**
 * Units of work: measures that share a started engine. In a full run each measure has engines of its own; in a quick one
 * those that place things alike share them, since starting and warming up would take most of the time.
 */
import { type Case, casesOf, enginesOf, type Measure, trialsOf } from "./measures/measure.ts";

export interface Unit {
  readonly name: string;
  readonly placement: Measure["placement"];
  readonly measures: readonly Measure[];
}

function isShared(measure: Measure): boolean {
  return measure.needsOwnEngine !== true && measure.warmUp !== undefined;
}

export function unitsOf(measures: readonly Measure[], quick: boolean): Unit[] {
  const units: Unit[] = [];
  for (const measure of measures) {
    const { name, placement } = measure;
    const index = units.findIndex((unit) => unit.placement === placement && unit.measures.every(isShared));
    if (quick && isShared(measure) && index >= 0) {
      const found = units[index];
      units[index] = { name: `${found.name}, ${name}`, placement, measures: [...found.measures, measure] };
    } else {
      units.push({ name, placement, measures: [measure] });
    }
  }
  return units;
}

/** Of all its measures, each once. */
export function enginesOfUnit(unit: Unit, quick: boolean): string[] {
  return [...new Set(unit.measures.flatMap((measure) => enginesOf(measure, quick)))];
}

const START_SECONDS = 1;
const CASE_SECONDS = 2;
/** A quick run's trials are about half as long as a full one's. */
const QUICK_SHARE = 0.5;

function caseSeconds(entry: Case, quick: boolean): number {
  const seconds = entry.seconds ?? CASE_SECONDS;
  return quick ? (entry.quickSeconds ?? seconds * QUICK_SHARE) : seconds;
}

/** About what a round takes, before the first one has told. `warmUpSeconds`: what an engine needs of each kind of load. */
export function expectedSeconds(
  unit: Unit,
  engines: readonly string[],
  warmUpSeconds: (engine: string) => number,
  quick: boolean,
): number {
  let seconds = 0;
  for (const engine of engines) {
    const measures = unit.measures.filter((measure) => enginesOf(measure, quick).includes(engine));
    const kinds = new Set(measures.flatMap(({ warmUp }) => warmUp?.kind ?? []));
    if (engine !== "memory") seconds += START_SECONDS;
    seconds += kinds.size * warmUpSeconds(engine);
    for (const measure of measures) {
      const trials = trialsOf(measure, quick);
      for (const entry of casesOf(measure, quick)) seconds += trials * caseSeconds(entry, quick);
    }
  }
  return seconds;
}
