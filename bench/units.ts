/**
 * Units of work: measures that share a started engine. In a full run each measure has engines of its own; in a quick one
 * those that place things alike share them, since starting and warming up would take most of the time.
 */
import { casesOf, enginesOf, type Measure } from "./measures/measure.ts";

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

const START_SECONDS = 1.5;
const CASE_SECONDS = 2;
/** A quick run's trials are about half as long as a full one's. */
const QUICK_SHARE = 0.6;

/** About what a round takes, before the first one has told. */
export function expectedSeconds(unit: Unit, engines: readonly string[], warmUpSeconds: number, quick: boolean): number {
  let seconds = 0;
  for (const engine of engines) {
    if (engine !== "memory") seconds += START_SECONDS;
    for (const measure of unit.measures.filter((candidate) => enginesOf(candidate, quick).includes(engine))) {
      if (measure.warmUp !== undefined) seconds += warmUpSeconds;
      for (const entry of casesOf(measure, quick)) {
        seconds += (entry.seconds ?? CASE_SECONDS) * (quick ? QUICK_SHARE : 1);
      }
    }
  }
  return seconds;
}
