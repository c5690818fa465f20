/**
 * Where does the dataplane's time go? Starts Tapir in the bench's topology with its dataplane under V8's sampling
 * profiler, puts load on it, and prints the functions with the most samples of their own.
 *
 *     npm run profile                              ten seconds of small frames, the profile in bench/build/profile
 *     npm run profile -- --load tcp --seconds 20 --out DIR
 */
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { packageRoot } from "../src/io/package_root.ts";
import { buildPrograms } from "./build.ts";
import { startTapir } from "./engines/tapir.ts";
import { sendDatagrams } from "./measures/datagrams.ts";
import type { Context } from "./measures/measure.ts";
import { carry } from "./measures/tcp_bulk.ts";
import { askAndClose } from "./measures/tcp_requests.ts";
import { fail, parseOptions } from "./options.ts";
import { type CpuProfile, selfTimes } from "./self_times.ts";
import { World } from "./topology.ts";

const DEFAULT_FLOWS = 10_000;
/** New flows need room: as many as come at full rate within the longest profile. */
const NEW_FLOWS = 4_000_000;
const TOP = 15;
const NAME_WIDTH = 32;

type Load = (context: Context, milliseconds: number, flows: number) => Promise<unknown>;

const LOADS: Readonly<Record<string, Load>> = {
  frames: (context, milliseconds, flows) => sendDatagrams(context, { flows, milliseconds }),
  "new-flows": (context, milliseconds) => sendDatagrams(context, { flows: NEW_FLOWS, milliseconds }),
  tcp: async (context, milliseconds) => {
    await carry(context, { streams: 4, down: false, ms: milliseconds / 2 });
    await carry(context, { streams: 4, down: true, ms: milliseconds / 2 });
  },
  requests: askAndClose,
};

interface Options {
  readonly load: Load;
  /** Flows that the table holds: one that is much larger than needed costs time of its own. */
  readonly table: number;
  readonly seconds: number;
  readonly flows: number;
  readonly out: string;
}

function readOptions(): Options {
  const values = parseOptions(
    {
      load: { type: "string", default: "frames" },
      seconds: { type: "string", default: "10" },
      flows: { type: "string", default: String(DEFAULT_FLOWS) },
      out: { type: "string", default: join(packageRoot(), "bench/build/profile") },
    },
    "npm run profile -- [--load NAME] [--seconds N] [--flows N] [--out DIR]",
  );
  const seconds = Number(values.seconds);
  const flows = Number(values.flows);
  if (!Object.hasOwn(LOADS, values.load)) fail(`no load ${values.load}: ${Object.keys(LOADS).join(", ")}`);
  if (!(seconds >= 1) || !(flows >= 1)) fail("--seconds and --flows are at least 1");
  const out = resolve(values.out);
  // The flags go through an environment variable that is split at spaces.
  if (out.includes(" ")) fail("--out: a folder without spaces in its path");
  return { load: LOADS[values.load], table: values.load === "new-flows" ? NEW_FLOWS : flows, seconds, flows, out };
}

function profilesIn(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.endsWith(".cpuprofile"));
}

async function run({ load, table, seconds, flows, out }: Options): Promise<void> {
  const world = new World();
  try {
    const flags = `--cpu-prof --cpu-prof-dir=${out}`;
    const running = await startTapir(world, { cpu: 1, flows: table }, { flags });
    try {
      await load({ world, running, quick: false, loadCpu: 0, sinkCpu: running.sinkCpu }, seconds * 1000, flows);
    } finally {
      // The profile is written when the dataplane ends.
      await running.stop();
    }
  } finally {
    world.remove();
  }
}

function print(file: string): void {
  const profile = JSON.parse(readFileSync(file, "utf8")) as CpuProfile;
  console.log(`${"self".padStart(8)}  ${"function".padEnd(NAME_WIDTH)}  place`);
  for (const { name, place, share } of selfTimes(profile).slice(0, TOP)) {
    console.log(`${(share * 100).toFixed(1).padStart(6)} %  ${name.padEnd(NAME_WIDTH)}  ${place}`);
  }
  console.log(`\n${file}`);
}

async function main(): Promise<void> {
  const options = readOptions();
  if (process.getuid?.() !== 0) fail("the profile makes network namespaces and needs root");
  buildPrograms();
  mkdirSync(options.out, { recursive: true });
  const before = new Set(profilesIn(options.out));
  await run(options);
  const [written] = profilesIn(options.out).filter((name) => !before.has(name));
  if (written === undefined) throw new Error("the dataplane wrote no profile");
  print(join(options.out, written));
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1));
main().then(
  () => process.exit(0),
  (error) => {
    process.stderr.write(`${(error as Error).stack}\n`);
    process.exit(1);
  },
);
