/** The command line of `tapir doctor`. */
import { type Command, InvalidArgumentError } from "commander";
import { ownVersion } from "../io/package_root.ts";
import { type CommonOptions, talking } from "./talking.ts";

function readSeconds(text: string): number {
  const seconds = Number(text);
  if (!(seconds > 0 && seconds <= 10)) throw new InvalidArgumentError("seconds are a number above 0, at most 10.");
  return seconds;
}

export function addDoctor(program: Command): void {
  talking(program, "doctor", "say what this machine offers and lacks, and whether a running router is healthy")
    .option("-f, --file <path>", "check a configuration against this machine as well")
    .option("--seconds <number>", "how long to watch a running router", readSeconds, 1)
    .addHelpText(
      "after",
      `
Each line is ok, a warning or a problem, and says what to do about it. Run it where the router runs or shall run: in its
namespace, with its privileges.

Examples:
  tapir doctor                       this machine, and the router on the default socket if there is one
  tapir doctor -f router.yaml        also whether the configuration and the machine fit
  tapir doctor --seconds 5 -j        watch a router for five seconds; print JSON

Exit codes: 0 healthy, 1 problems found, 3 invalid configuration, 5 missing privilege or kernel feature`,
    )
    .action(async (options: CommonOptions & { file?: string; seconds: number }) => {
      const { diagnose, formatDiagnosis } = await import("./doctor.ts");
      const { json, ...wish } = options;
      const diagnosis = await diagnose(wish, ownVersion());
      process.stdout.write(`${json === true ? JSON.stringify(diagnosis, null, 2) : formatDiagnosis(diagnosis)}\n`);
      process.exitCode = diagnosis.exitCode;
    });
}
