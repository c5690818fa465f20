/**
 * The fuzzer: hostile input for every place where input comes in.
 *
 *     npm run fuzz                              one minute for all targets together
 *     npm run fuzz -- --minutes 30              longer
 *     npm run fuzz -- --target pipeline         one target (again for more); --list names them
 *     npm run fuzz -- --seed 7                  other cases
 *     npm run fuzz -- --replay FILE             one case, as test/vectors/fuzz has them
 *
 * Ends with 0 when everything held, with 1 when something did not: the case that showed it is then made as small as can
 * be and written to test/vectors/fuzz, where the tests find it. The same seed makes the same cases; how many there are
 * depends on the machine.
 */
import { parseArgs } from "node:util";
import { attempt, campaign, type Failure } from "./campaign.ts";
import type { Target } from "./target.ts";
import { TARGETS } from "./targets/index.ts";
import { readVector, VECTORS, writeVector } from "./vectors.ts";
import { Watchdog } from "./watchdog.ts";

interface Options {
  minutes: number;
  seed: number;
  targets: readonly Target[];
  replay: string | undefined;
  out: string;
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "1" },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      target: { type: "string", multiple: true, default: [] },
      replay: { type: "string" },
      out: { type: "string", default: VECTORS },
      list: { type: "boolean", default: false },
    },
  });
  if (values.list) {
    for (const { name, about } of TARGETS) console.log(`${name.padEnd(14)} ${about}`);
    process.exit(0);
  }
  const minutes = Number(values.minutes);
  const seed = Number(values.seed);
  if (!(minutes > 0) || !Number.isSafeInteger(seed)) fail("--minutes and --seed take numbers");
  const targets = values.target.length === 0 ? TARGETS : values.target.map(targetOf);
  return { minutes, seed, targets, replay: values.replay, out: values.out };
}

function targetOf(name: string): Target {
  const target = TARGETS.find((each) => each.name === name);
  return target ?? fail(`no target is called ${name}; --list names them`);
}

async function replay(file: string): Promise<boolean> {
  const { target: name, input } = readVector(file);
  const target = targetOf(name);
  const { message } = { message: undefined, ...(await attempt(target, input)) };
  await target.close?.();
  console.log(message === undefined ? `${file}: everything holds` : `${file}: ${message}`);
  return message === undefined;
}

function tell(target: Target, { message, input, number }: Failure, options: Options): void {
  const kept = target.pinned?.(input) ?? input;
  const file = writeVector({ target: target.name, message: message.split("\n")[0], input: kept }, options.out);
  console.log(`  FAILED in case ${number} of seed ${options.seed}: ${message}`);
  console.log(`  npm run fuzz -- --replay ${file}`);
}

async function run(options: Options): Promise<boolean> {
  const watchdog = new Watchdog(options.out);
  const share = (options.minutes * 60_000) / options.targets.length;
  let cases = 0;
  let failures = 0;
  console.log(`seed ${options.seed}, ${options.targets.length} targets, ${options.minutes} minutes`);
  for (const target of options.targets) {
    const outcome = await campaign(target, {
      seed: options.seed,
      mostCases: Infinity,
      mostMilliseconds: share,
      begins: (_, input) => watchdog.note(target.name, input),
    });
    await target.close?.();
    cases += outcome.cases;
    console.log(
      `${target.name.padEnd(14)} ${String(outcome.cases).padStart(8)} cases, ${outcome.reached.size} places reached, ${outcome.kept} cases kept`,
    );
    if (outcome.failure === undefined) continue;
    failures++;
    tell(target, outcome.failure, options);
  }
  await watchdog.close();
  console.log(failures === 0 ? `everything held in ${cases} cases` : `${failures} targets failed`);
  return failures === 0;
}

const options = readOptions();
const isGood = options.replay === undefined ? await run(options) : await replay(options.replay);
process.exit(isGood ? 0 : 1);
