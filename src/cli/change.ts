/** `tapir apply`, `diff`, `confirm`, `rollback`, `history`: the configuration of a running router. */
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import type { AppliedAnswer, DifferenceAnswer, HistoryAnswer, HistoryRow } from "../control/change_api.ts";
import { ExitCode } from "../control/errors.ts";
import { ask, socketPath } from "./client.ts";
import { addHelp, TALKING } from "./help.ts";
import { formatTable } from "./table.ts";
import { type CommonOptions, talking } from "./talking.ts";

interface FileOptions extends CommonOptions {
  file: string;
}

const UNITS: Record<string, number> = { "": 1, s: 1, m: 60, h: 3600 };
const DAY_SECONDS = 86_400;
const APPLYING = [...TALKING, ExitCode.CONFIGURATION].sort();

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** `60s`, `5m`, `1h`, or seconds. */
export function readDuration(text: string): number {
  const [, digits, unit] = /^([0-9]{1,6})([smh]?)$/.exec(text) ?? [];
  const seconds = Number(digits) * UNITS[unit];
  if (seconds > 0 && seconds <= DAY_SECONDS) return seconds;
  throw new InvalidArgumentError("a time is a number with s, m or h, up to a day: 60s.");
}

function readNumber(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new InvalidArgumentError("it is a number that tapir history shows.");
  return Number(text);
}

/** The configuration of a file, checked here: what is wrong with it is told with line and column, router or not. */
async function readFile(file: string): Promise<{ configuration: object; file: string }> {
  const { readConfiguration } = await import("../control/read_configuration.ts");
  return { configuration: readConfiguration(file), file: resolve(file) };
}

async function formatDifference(difference: DifferenceAnswer): Promise<string> {
  const { formatAction } = await import("../control/difference.ts");
  const { actions, opens, closes, problems } = difference;
  if (actions.length === 0) return "nothing changes";
  return [
    ...actions.map((action) => formatAction(action)),
    ...closes.map((device) => `closes ${device}`),
    ...opens.map((device) => `opens ${device}`),
    ...problems.map((problem) => `! ${problem}`),
  ].join("\n");
}

async function showDifference({ file, socket, json }: FileOptions): Promise<void> {
  const wish = await readFile(file);
  const difference = await ask<DifferenceAnswer>(socketPath(socket), "POST", "/v1/configuration/difference", wish);
  print(json === true ? JSON.stringify(difference, null, 2) : await formatDifference(difference));
  if (difference.problems.length > 0) process.exitCode = ExitCode.FAILED;
}

async function printApplied(applied: AppliedAnswer, json: boolean | undefined): Promise<void> {
  if (json === true) {
    print(JSON.stringify(applied, null, 2));
    return;
  }
  print(await formatDifference(applied));
  if (applied.actions.length === 0) return;
  const { number, cause } = applied.entry;
  print(`#${number}: ${cause.source === "rollback" ? "rolled back" : "applied"}`);
  const { pending } = applied;
  if (pending !== null) {
    print(`rolled back to #${pending.rollbackTo} in ${pending.secondsLeft} s, unless confirmed: tapir confirm`);
  }
}

function addApply(program: Command): void {
  const apply = talking(program, "apply", "change the running router to a configuration, all or nothing")
    .requiredOption("-f, --file <path>", "the configuration")
    .option("--confirm <time>", "roll back after this time (60s, 5m) unless confirmed", readDuration)
    .option("--dry-run", "say what would change, and change nothing")
    .action(async (options: FileOptions & { confirm?: number; dryRun?: boolean }) => {
      const { file, socket, json, confirm, dryRun } = options;
      if (dryRun === true) return showDifference(options);
      const wish = { ...(await readFile(file)), ...(confirm === undefined ? {} : { confirmSeconds: confirm }) };
      await printApplied(await ask<AppliedAnswer>(socketPath(socket), "PUT", "/v1/configuration", wish), json);
    });
  addHelp(
    apply,
    [
      ["tapir apply -f router.yaml", "flows that the change does not concern lose nothing"],
      [
        "tapir apply -f router.yaml --confirm 60s",
        "the router itself takes it back, unless tapir confirm comes in time",
      ],
      ["tapir apply -f router.yaml --dry-run", "the same as tapir diff"],
    ],
    {
      exitCodes: APPLYING,
      notes:
        "While a change waits for its confirmation, containers may be attached and detached; other changes are refused.",
    },
  );
  const diff = talking(program, "diff", "say what applying a configuration would change")
    .requiredOption("-f, --file <path>", "the configuration")
    .action(showDifference);
  addHelp(diff, [["tapir diff -f router.yaml", "one line for each thing added (+), removed (-) or altered (~)"]], {
    exitCodes: APPLYING,
    meanings: { [ExitCode.FAILED]: "it cannot be applied (lines with !)" },
  });
}

function addWaysBack(program: Command): void {
  const confirm = talking(program, "confirm", "keep the change that waits for its confirmation").action(
    async ({ socket, json }: CommonOptions) => {
      const entry = await ask<HistoryRow>(socketPath(socket), "POST", "/v1/configuration/confirm");
      print(json === true ? JSON.stringify(entry, null, 2) : `#${entry.number}: confirmed`);
    },
  );
  addHelp(confirm, [["tapir confirm", "after tapir apply --confirm 60s"]]);
  const rollback = talking(program, "rollback", "go back to an earlier configuration")
    .argument("[number]", "one that tapir history shows (default: the one before the last change)", readNumber)
    .action(async (number: number | undefined, { socket, json }: CommonOptions) => {
      const wish = number === undefined ? {} : { number };
      const path = "/v1/configuration/rollback";
      await printApplied(await ask<AppliedAnswer>(socketPath(socket), "POST", path, wish), json);
    });
  addHelp(
    rollback,
    [
      ["tapir rollback", "takes the last change back, also one that waits for its confirmation"],
      ["tapir rollback 3", "to configuration #3"],
    ],
    {
      notes:
        "Containers that were attached or detached at run time since then stay as they are. A rollback is a change as well:\na second one takes it back.",
    },
  );
  const history = talking(program, "history", "the configurations that were in force, and where they came from").action(
    async ({ socket, json }: CommonOptions) => {
      const answer = await ask<HistoryAnswer>(socketPath(socket), "GET", "/v1/configuration/history");
      print(json === true ? JSON.stringify(answer, null, 2) : formatHistory(answer));
    },
  );
  addHelp(history, [["tapir history", "the newest last; -j has what each of them changed"]]);
}

function formatHistory({ entries, pending }: HistoryAnswer): string {
  const rows = entries.map(({ number, time, cause, summary }) => ({
    number,
    time: time.replace("T", " ").replace(/\.\d+Z$/, "Z"),
    source: cause.source,
    from: cause.detail,
    changes: summary,
  }));
  const table = formatTable(rows, ["number", "time", "source", "from", "changes"]);
  if (pending === null) return table;
  return `${table}\n#${pending.number} waits for its confirmation: rolled back to #${pending.rollbackTo} in ${pending.secondsLeft} s`;
}

export function addChange(program: Command): void {
  addApply(program);
  addWaysBack(program);
}
