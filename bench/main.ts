/**
 * The bench: engines side by side, interleaved trial by trial, each between namespaces of its own.
 *
 *     npm run bench                        everything, at most half an hour
 *     npm run bench -- --quick             the short measures, at most three minutes
 *     npm run bench -- --out DIR           the report there, not in docs/performance
 *     npm run bench -- --only NAME         one measure (again for more); --list names them
 *     npm run bench -- --priority          before other work on the machine
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../src/io/package_root.ts";
import { buildPrograms } from "./build.ts";
import { ENGINES, MEASURES } from "./catalogue.ts";
import { describeMachine } from "./machine.ts";
import { enginesOf, type Measure } from "./measures/measure.ts";
import { fail, parseOptions } from "./options.ts";
import { raiseAll } from "./priority.ts";
import { isGoal } from "./report/goals.ts";
import { jsonReport } from "./report/json.ts";
import { markdownReport } from "./report/markdown.ts";
import { plot } from "./report/plot.ts";
import type { Report } from "./report/report.ts";
import { Results } from "./results.ts";
import { runRounds } from "./rounds.ts";

const USAGE = `npm run bench -- [--quick] [--out DIR] [--only MEASURE ...] [--engines NAME,...] [--rounds N] [--minutes N]
                 [--priority] [--list]

  --quick      the short measures, at most three minutes (a whole run: thirty)
  --out        where the report goes (a whole run: docs/performance)
  --only       one measure, again for more; --list names them and the engines
  --priority   before other work on the machine`;
const FULL = { minutes: 30, rounds: 10 };
const QUICK = { minutes: 3, rounds: 3 };

interface Options {
  quick: boolean;
  only: string[];
  engines: string[] | undefined;
  rounds: number;
  minutes: number;
  out: string;
}

/** A number above 0, as it was given. */
function positive(name: string, text: string | undefined, usual: number): number {
  const value = Number(text ?? usual);
  if (!(value > 0)) fail(`--${name} ${text}: not a number above 0`);
  return value;
}

function readOptions(): Options {
  const values = parseOptions(
    {
      quick: { type: "boolean", default: false },
      only: { type: "string", multiple: true, default: [] as string[] },
      engines: { type: "string" },
      rounds: { type: "string" },
      minutes: { type: "string" },
      out: { type: "string" },
      priority: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
    USAGE,
  );
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  if (values.list) {
    for (const { name, title } of MEASURES) console.log(`${name.padEnd(24)} ${title}`);
    for (const { name, title } of ENGINES) console.log(`engine ${name.padEnd(17)} ${title}`);
    process.exit(0);
  }
  if (values.priority) raiseAll();
  const bounds = values.quick ? QUICK : FULL;
  // The published report is that of a whole run.
  const isWhole = !values.quick && values.only.length === 0 && values.engines === undefined;
  return {
    quick: values.quick,
    only: values.only,
    engines: values.engines?.split(","),
    rounds: positive("rounds", values.rounds, bounds.rounds),
    minutes: positive("minutes", values.minutes, bounds.minutes),
    out: values.out ?? join(packageRoot(), isWhole ? "docs/performance" : "bench/build/report"),
  };
}

function chooseMeasures(options: Options): Measure[] {
  const unknown = options.only.filter((name) => !MEASURES.some((measure) => measure.name === name));
  if (unknown.length > 0) fail(`no measure ${unknown.join(", ")}; --list names them`);
  if (options.only.length > 0) return MEASURES.filter(({ name }) => options.only.includes(name));
  return MEASURES.filter(({ isLong }) => !(options.quick && isLong));
}

async function main(): Promise<void> {
  const options = readOptions();
  if (process.getuid?.() !== 0) fail("the bench makes network namespaces and needs root");
  buildPrograms();
  const measures = chooseMeasures(options);
  const wanted = ENGINES.filter(
    ({ name }) =>
      measures.some((measure) => enginesOf(measure, options.quick).includes(name)) &&
      (options.engines?.includes(name) ?? true),
  );
  const absent = wanted.flatMap((engine) => {
    const reason = engine.unavailable();
    return reason === null ? [] : [{ name: engine.name, reason }];
  });
  const engines = new Map(
    wanted.filter(({ name }) => !absent.some((entry) => entry.name === name)).map((engine) => [engine.name, engine]),
  );
  const begin = Date.now();
  const results = new Results();
  const progress = (line: string) => {
    const seconds = Math.round((Date.now() - begin) / 1000);
    const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    process.stderr.write(`${clock.padStart(5)}  ${line}\n`);
  };
  const machine = describeMachine();
  const rounds = await runRounds(
    {
      measures,
      engines,
      rounds: options.rounds,
      quick: options.quick,
      deadline: begin + options.minutes * 60_000,
      isGoal,
      progress,
    },
    results,
  );
  if (options.quick && options.only.length === 0) {
    for (const { title, isLong } of MEASURES) if (isLong) results.skip(`${title}: not part of a quick run`);
  }
  const report: Report = {
    date: new Date(begin).toISOString(),
    minutes: (Date.now() - begin) / 60_000,
    rounds,
    quick: options.quick,
    machine,
    engines: [...engines.values()],
    absent,
    measures,
    results,
  };
  mkdirSync(options.out, { recursive: true });
  writeFileSync(join(options.out, "results.json"), jsonReport(report));
  writeFileSync(join(options.out, "README.md"), markdownReport(report));
  for (const measure of measures) {
    const drawing = plot(measure, results);
    if (drawing !== undefined) writeFileSync(join(options.out, `${measure.name}.svg`), drawing);
  }
  console.log(markdownReport(report));
  process.stderr.write(`written to ${options.out}\n`);
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1));
main().then(
  () => process.exit(0),
  (error) => {
    process.stderr.write(`${(error as Error).stack}\n`);
    process.exit(1);
  },
);
