/** What the rounds found: for each question and engine one value a trial, null where there was none. */
import type { Measure, Metric } from "./measures/measure.ts";
import { pairedRatios, type Summary, summarise } from "./statistics.ts";

export interface Row {
  readonly measure: string;
  readonly case: string;
  readonly metric: Metric;
  /** By engine; index is the trial, counted over all rounds. */
  readonly values: Map<string, (number | null)[]>;
}

export class Results {
  readonly rows: Row[] = [];
  /** What was wrong, each thing once with how often: "measure, case, engine: what". */
  readonly problems = new Map<string, number>();

  /** What the time was too short for. */
  readonly skipped: string[] = [];

  skip(what: string): void {
    this.skipped.push(what);
  }

  row(measure: Measure, caseName: string, metric: Metric): Row {
    const found = this.rows.find(
      (row) => row.measure === measure.name && row.case === caseName && row.metric.name === metric.name,
    );
    if (found !== undefined) return found;
    const row: Row = { measure: measure.name, case: caseName, metric, values: new Map() };
    this.rows.push(row);
    return row;
  }

  record(row: Row, engine: string, trial: number, value: number | null): void {
    const values = row.values.get(engine) ?? [];
    while (values.length < trial) values.push(null);
    values[trial] = value;
    row.values.set(engine, values);
  }

  /** Something that the reader should know, once. */
  remark(where: string, what: string): void {
    this.problems.set(`${where}: ${what}`, 1);
  }

  problem(where: string, what: string): void {
    // Figures differ from round to round: the same trouble is named once.
    const key = `${where}: ${what.replace(/\b\d{2,}\b/g, "many")}`;
    this.problems.set(key, (this.problems.get(key) ?? 0) + 1);
  }

  of(measure: string, caseName: string, metric: string): Row | undefined {
    return this.rows.find((row) => row.measure === measure && row.case === caseName && row.metric.name === metric);
  }
}

export function summaryOf(row: Row, engine: string): Summary | null {
  return summarise((row.values.get(engine) ?? []).filter((value) => value !== null));
}

/** Median and spread of the ratio of two engines, trial by trial. */
export function ratioOf(row: Row, engine: string, other: string): Summary | null {
  return summarise(pairedRatios(row.values.get(engine) ?? [], row.values.get(other) ?? []));
}
