/**
 * The attacks: what a well-behaved container keeps of what it does, with one attacker beside it on the same router, in
 * memory. Each attack runs with and without the attacker; counts are exact and the same on every machine, times and
 * memory are not.
 *
 *     npm run attacks [-- --json]
 */
import { parseArgs } from "node:util";
import { SCENARIOS, type Scenario } from "./scenarios.ts";
import { World } from "./world.ts";

const EXCHANGES = 300;
/** Frames of the attacker before the first exchange: more than any table of the router holds. */
const LEAD = 5000;
/** Frames of the attacker before each half of an exchange, unless a scenario says otherwise. */
const ATTACKS = 64;

/** Stop reasons of frames that were not dropped. */
const HARMLESS = ["routed", "switched", "flooded", "local", "parked", "fragment-held"];

interface Run {
  succeeded: number;
  attackFrames: number;
  /** Of the process before and after. */
  mebibytes: [before: number, after: number];
  /** ICMP errors that the attacker's frames brought to others than himself. */
  errors: number;
  /** What bounded the attack most often: a stop reason or a counter. */
  bound: string;
}

function mebibytes(): number {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return (heapUsed + arrayBuffers) / 2 ** 20;
}

function run(scenario: Scenario, isAttacked: boolean): Run {
  const world = new World();
  let frames = 0;
  let errors = 0;
  const attack = (count: number): void => {
    for (let left = isAttacked ? count : 0; left > 0; left--) {
      const out = world.router.send(...scenario.attack(world, frames++));
      errors += out.filter(({ port, bytes }) => port !== "c1" && isIcmpError(bytes)).length;
    }
  };
  const before = mebibytes();
  let succeeded = 0;
  attack(LEAD);
  for (let index = 0; index < EXCHANGES; index++) {
    attack(ATTACKS);
    const begun = scenario.begin(world, index);
    attack(scenario.between ?? ATTACKS);
    if (scenario.end(world, index, begun)) succeeded++;
  }
  return {
    succeeded,
    attackFrames: frames,
    mebibytes: [before, mebibytes()],
    errors,
    bound: boundOf(world),
  };
}

function isIcmpError(bytes: Uint8Array): boolean {
  return bytes[12] === 8 && bytes[13] === 0 && bytes[23] === 1 && [3, 5, 11, 12].includes(bytes[34]);
}

function boundOf({ router }: World): string {
  const { flowsReplaced, flowsEvicted, reassembliesDisplaced, stationsOverflowed, icmpErrorsLimited } =
    router.counters();
  const counters = { flowsReplaced, flowsEvicted, reassembliesDisplaced, stationsOverflowed, icmpErrorsLimited };
  const counted = [...Object.entries(counters), ...Object.entries(router.stops())].filter(
    ([name, count]) => count !== undefined && !HARMLESS.includes(name),
  );
  const [most] = counted.sort(([, a], [, b]) => b - a);
  return most === undefined || most[1] === 0 ? "" : `${most[0]} ${most[1]}`;
}

const { values } = parseArgs({ options: { json: { type: "boolean", default: false } } });
const results = SCENARIOS.map((scenario) => ({
  name: scenario.name,
  alone: run(scenario, false),
  attacked: run(scenario, true),
}));
if (values.json) console.log(JSON.stringify(results, undefined, 2));
else {
  console.log(
    "| attack | frames of it | exchanges alone | under attack | share kept | ICMP errors to others | memory, MiB | bounded by |",
  );
  console.log("|---|---|---|---|---|---|---|---|");
  for (const { name, alone, attacked } of results) {
    const share = ((100 * attacked.succeeded) / alone.succeeded).toFixed(1);
    const memory = attacked.mebibytes.map((value) => value.toFixed(1)).join(" → ");
    console.log(
      `| ${name} | ${attacked.attackFrames} | ${alone.succeeded} | ${attacked.succeeded} | ${share} % | ${attacked.errors} | ${memory} | ${attacked.bound} |`,
    );
  }
}
