/**
 * `npm run soak -- --minutes N --seed S --no-kill --only NAME,NAME`: a verdict about a router that was used and disturbed for
 * so long.
 */
import { fail, parseOptions } from "../options.ts";
import { DISTURBANCES, KILL } from "./actions.ts";
import { soak } from "./soak.ts";

const all = Object.keys(DISTURBANCES);
const USAGE = `usage: npm run soak -- [--minutes N] [--seed S] [--no-kill] [--only NAME,NAME]
disturbances: ${all.join(", ")}`;
const values = parseOptions(
  {
    minutes: { type: "string", default: "10" },
    seed: { type: "string" },
    "no-kill": { type: "boolean", default: false },
    only: { type: "string" },
  },
  USAGE,
);
const minutes = Number(values.minutes);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const disturbances = values.only?.split(",") ?? all.filter((name) => !values["no-kill"] || name !== KILL);
const isWrong = !(minutes > 0) || !Number.isInteger(seed) || disturbances.some((name) => !all.includes(name));
if (isWrong) fail(USAGE);

const begin = Date.now();
const tell = (line: string): void => {
  process.stdout.write(`${String(Math.round((Date.now() - begin) / 1000)).padStart(5)} s  ${line}\n`);
};

tell(`seed ${seed}, ${minutes} minutes`);
try {
  const { problems, done, lost, again, before, after } = await soak({
    seconds: minutes * 60,
    seed,
    disturbances,
    tell,
  });
  tell(
    `done: ${Object.entries(done)
      .map(([name, count]) => `${count} ${name}`)
      .join(", ")}; ${lost} lost, ${again} connections that the server did not have`,
  );
  for (const name of Object.keys(after.counts)) tell(`${name}: ${before.counts[name]} -> ${after.counts[name]}`);
  for (const name of Object.keys(after.memory)) tell(`${name}: ${before.memory[name]} -> ${after.memory[name]} KiB`);
  for (const problem of problems) tell(`PROBLEM ${problem}`);
  tell(problems.length === 0 ? "sound" : `not sound: ${problems.length} problems`);
  process.exitCode = problems.length === 0 ? 0 : 1;
} catch (error) {
  tell(`PROBLEM ${(error as Error).message}`);
  process.exitCode = 1;
}
