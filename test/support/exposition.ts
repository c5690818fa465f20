/**
 * A strict reader of Prometheus' text format 0.0.4: what promtool would refuse or warn of is an error here. Families have
 * HELP, then TYPE, then all their samples; names and labels are well-formed; nothing occurs twice; counters end in
 * `_total`; histograms are cumulative and complete.
 */
export interface ReadSample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

export interface ReadFamily {
  help: string;
  type: string;
  samples: ReadSample[];
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (NaN|[+-]?Inf|-?[0-9.]+(?:e[+-]?[0-9]+)?)$`);
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/;

export function readExposition(text: string): Map<string, ReadFamily> {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const families = new Map<string, ReadFamily>();
  let name = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const head = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`).exec(line);
    if (head?.[1] === "HELP") {
      name = head[2];
      if (families.has(name)) throw new Error(`${name} occurs twice`);
      families.set(name, { help: head[3], type: "", samples: [] });
    } else if (head?.[1] === "TYPE") {
      const family = families.get(name);
      if (head[2] !== name || family === undefined || family.type !== "") throw new Error(`misplaced: ${line}`);
      family.type = head[3];
    } else {
      const sample = readSample(line, name);
      families.get(name)?.samples.push(sample);
    }
  }
  for (const [each, family] of families) checkFamily(each, family);
  return families;
}

function readSample(line: string, family: string): ReadSample {
  const match = SAMPLE.exec(line);
  if (match === null) throw new Error(`no sample: ${line}`);
  const [, name, labels, value] = match;
  if (name.replace(/_(bucket|sum|count)$/, "") !== family && name !== family) throw new Error(`misplaced: ${line}`);
  return { name, labels: readLabels(labels ?? ""), value: Number(value.replace("Inf", "Infinity")) };
}

function readLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (let rest = text; rest !== ""; ) {
    const match = LABEL.exec(rest);
    if (match === null || match[1] in labels) throw new Error(`no labels: ${text}`);
    labels[match[1]] = match[2].replace(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
    rest = rest.slice(match[0].length);
  }
  return labels;
}

function checkFamily(name: string, { type, samples, help }: ReadFamily): void {
  const fail = (why: string): never => {
    throw new Error(`${name}: ${why}`);
  };
  if (!["counter", "gauge", "histogram"].includes(type)) fail(`type ${type}`);
  if ((type === "counter") !== name.endsWith("_total")) fail("counters alone end in _total");
  if (/_(milli|micro|nano)seconds|_(kilo|mega)bytes|_ms\b|[A-Z]/.test(name)) fail("no base unit, or no snake case");
  if (help.endsWith(".")) fail("a full stop behind its help");
  const series = samples.map((sample) => JSON.stringify([sample.name, Object.entries(sample.labels).sort()]));
  if (new Set(series).size !== series.length) fail("a series occurs twice");
  for (const { value, labels } of samples) {
    if (type !== "gauge" && !(value >= 0)) fail(`counts ${value}`);
    for (const text of Object.values(labels)) {
      if (/\b\d+\.\d+\.\d+\.\d+\b/.test(text)) fail(`labelled by an address: ${text}`);
    }
  }
  if (type === "histogram") checkHistogram(name, samples, fail);
}

function checkHistogram(name: string, samples: readonly ReadSample[], fail: (why: string) => never): void {
  const buckets = samples.filter((sample) => sample.name === `${name}_bucket`);
  const bounds = buckets.map(({ labels }) => Number(labels.le.replace("Inf", "Infinity")));
  if (bounds.at(-1) !== Number.POSITIVE_INFINITY) fail("no +Inf");
  for (let i = 1; i < buckets.length; i++) {
    if (bounds[i] <= bounds[i - 1] || buckets[i].value < buckets[i - 1].value) fail("not cumulative");
  }
  const count = samples.find((sample) => sample.name === `${name}_count`)?.value;
  if (count !== buckets.at(-1)?.value) fail("_count is not +Inf's");
  if (!samples.some((sample) => sample.name === `${name}_sum`)) fail("no _sum");
}
