/**
 * Metrics as Prometheus reads them (text format 0.0.4): families of samples to text. A family is written even where it
 * has no samples, so that its name and meaning are there from the start.
 */

export const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export type Labels = Readonly<Record<string, string | number>>;

export interface Sample {
  labels?: Labels;
  value: number;
}

/** Buckets by their upper bounds, each with how many values it has of its own. */
export interface HistogramSample {
  bounds: readonly number[];
  counts: readonly number[];
  sum: number;
}

export interface Family {
  name: string;
  /** One sentence, without its full stop. */
  help: string;
  type: "counter" | "gauge" | "histogram";
  samples: readonly Sample[] | HistogramSample;
}

export function formatFamilies(families: readonly Family[]): string {
  return families.map(formatFamily).join("");
}

function formatFamily({ name, help, type, samples }: Family): string {
  const head = `# HELP ${name} ${escapeText(help)}\n# TYPE ${name} ${type}\n`;
  const lines = "bounds" in samples ? histogramLines(name, samples) : samples.map((sample) => sampleLine(name, sample));
  return head + lines.map((line) => `${line}\n`).join("");
}

function sampleLine(name: string, { labels = {}, value }: Sample): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(String(text))}"`);
  return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${formatValue(value)}`;
}

/** Cumulative, as the format wants it; the last bucket has everything. */
function histogramLines(name: string, { bounds, counts, sum }: HistogramSample): string[] {
  let below = 0;
  const lines = bounds.map((bound, index) => {
    below += counts[index];
    return sampleLine(`${name}_bucket`, { labels: { le: formatValue(bound) }, value: below });
  });
  const all = counts.reduce((total, count) => total + count, 0);
  lines.push(sampleLine(`${name}_bucket`, { labels: { le: "+Inf" }, value: all }));
  lines.push(sampleLine(`${name}_sum`, { value: sum }), sampleLine(`${name}_count`, { value: all }));
  return lines;
}

function formatValue(value: number): string {
  if (Number.isFinite(value)) return String(value);
  if (Number.isNaN(value)) return "NaN";
  return value > 0 ? "+Inf" : "-Inf";
}

const escapeText = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
const escapeLabel = (text: string): string => escapeText(text).replaceAll('"', '\\"');
