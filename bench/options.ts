/** Options of the programs of the bench: a wrong one is said in words, with exit code 2. */
import { type ParseArgsConfig, parseArgs } from "node:util";

export function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

/** The values of this program's options; where it has others, says so, and `usage`, and ends. */
export function parseOptions<const T extends NonNullable<ParseArgsConfig["options"]>>(
  options: T,
  usage: string,
): ReturnType<typeof parseArgs<{ options: T }>>["values"] {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    return fail(`${(error as Error).message}\n${usage}`);
  }
}
