/** One plot for each measure. */
import type { Measure } from "../measures/measure.ts";
import type { Results } from "../results.ts";
import { barPlot } from "./bar_plot.ts";
import { percentilePlot } from "./percentile_plot.ts";

/** Undefined where nothing was measured. */
export function plot(measure: Measure, results: Results): string | undefined {
  return measure.plot === "percentiles" ? percentilePlot(measure, results) : barPlot(measure, results);
}
