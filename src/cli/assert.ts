/** `tapir assert`: whether a configuration does what it has to, for tests and for CI. */
import { type Command, Option } from "commander";
import type { Configuration } from "../control/configuration/configuration.ts";
import { ExitCode, TapirError } from "../control/errors.ts";
import type { Result } from "../control/experiments/assert.ts";
import type { ExplainAnswer } from "../control/experiments/running.ts";
import { formatJunit, formatTap } from "./assert_formats.ts";
import { ask, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";

const FORMATS = ["text", "json", "tap", "junit"] as const;
type Format = (typeof FORMATS)[number];

interface AssertOptions {
  file?: string;
  format: Format;
  json?: boolean;
  socket?: string;
}

export function addAssert(program: Command): void {
  const command = program
    .command("assert")
    .description("check what a configuration lets pass, and play scenarios, in memory: no devices, no privilege")
    .argument("<file>", "assertions and scenarios")
    .option("-f, --file <path>", "the configuration, in place of the one that the file names")
    .option("--socket <path>", "ask the router that runs there, about the way there alone")
    .addOption(new Option("--format <kind>", "how to print").choices(FORMATS).default("text"))
    .option("-j, --json", "print JSON: the same as --format json")
    .action(async (file: string, options: AssertOptions) => {
      const results = options.socket === undefined ? await runInMemory(file, options) : await askRouter(file, options);
      process.stdout.write(`${format(options.json === true ? "json" : options.format, file, results)}\n`);
      if (results.some(({ passed }) => !passed)) process.exitCode = ExitCode.ASSERTION;
    });
  addHelp(
    command,
    [
      ["tapir assert policy.yaml", "all assertions and scenarios of a file"],
      ["tapir assert policy.yaml -f next.yaml", "the same for another configuration"],
      ["tapir assert policy.yaml --socket /run/tapir/tapir.sock", "the router that runs, as it is now"],
      ["tapir assert policy.yaml --format junit > report.xml", "for a CI system; also tap, json"],
    ],
    {
      exitCodes: [
        ExitCode.DONE,
        ExitCode.FAILED,
        ExitCode.USAGE,
        ExitCode.CONFIGURATION,
        ExitCode.NO_ROUTER,
        ExitCode.ASSERTION,
      ],
      meanings: { [ExitCode.DONE]: "all hold", [ExitCode.CONFIGURATION]: "invalid configuration or assertion file" },
      notes:
        "An assertion is a line like\n  - c1 -> 198.51.100.7 udp/53: allow\nof a file that docs/experiments.md describes.",
    },
  );
}

async function runInMemory(file: string, options: AssertOptions): Promise<Result[]> {
  const { loadExperiments } = await import("../control/experiments/assertion_file.ts");
  const { runExperiments } = await import("../control/experiments/assert.ts");
  return [...runExperiments(loadExperiments(file, options.file))];
}

/** Each assertion is a question to the router that runs. */
async function askRouter(file: string, options: AssertOptions): Promise<Result[]> {
  if (options.file !== undefined) throw new TapirError("assert: -f and --socket exclude each other", ExitCode.USAGE);
  const { loadExperiments } = await import("../control/experiments/assertion_file.ts");
  const { judge } = await import("../control/experiments/assert.ts");
  const { explainQuestion, reachedBy } = await import("../control/experiments/running.ts");
  const { resolvePlan } = await import("../control/configuration/configuration.ts");
  const socket = socketPath(options.socket);
  const resolved = resolvePlan(await ask<Configuration>(socket, "GET", "/v1/configuration"));
  const { assertions, scenarios } = loadExperiments(file, resolved);
  if (scenarios.length > 0) {
    throw new TapirError(`${file}: scenarios need a router of their own: leave --socket away`, ExitCode.USAGE);
  }
  const results: Result[] = [];
  for (const assertion of assertions) {
    const { question } = assertion;
    const answer = await ask<ExplainAnswer>(socket, "POST", "/v1/explain", explainQuestion(question));
    results.push(judge(assertion, reachedBy(answer, question, resolved)));
  }
  return results;
}

function format(kind: Format, file: string, results: readonly Result[]): string {
  switch (kind) {
    case "json":
      return JSON.stringify(results, null, 2);
    case "tap":
      return formatTap(results);
    case "junit":
      return formatJunit(file, results);
    case "text":
      return formatText(file, results);
  }
}

export function formatText(file: string, results: readonly Result[]): string {
  const lines = results.map(({ name, line, column, passed, found, expected }) =>
    passed ? `ok    ${name}: ${found}` : `FAIL  ${file}:${line}:${column}: ${name}: expected ${expected}; ${found}`,
  );
  const failed = results.filter(({ passed }) => !passed).length;
  return [...lines, failed === 0 ? `all ${results.length} hold` : `${failed} of ${results.length} failed`].join("\n");
}
