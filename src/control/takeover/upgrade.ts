/**
 * Becoming another version of the program, in the same process (execve(2)), so that whoever has started it notices
 * nothing: the dataplane forwards on by itself, and the new program takes it over as it would after a crash, with the
 * configuration that is in force.
 *
 * First the new program is tried: it has to run, and to accept that configuration. From then on there are two ends: execve
 * fails, and this program goes on as if nothing had been asked; or it does not, and the new program is on its own.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { native } from "../../io/native.ts";
import { ownVersion } from "../../io/package_root.ts";
import type { Configuration } from "../configuration/configuration.ts";
import { TapirError } from "../errors.ts";
import type { RunningRouter } from "../router.ts";

/** Tells the new program that it goes on where this one was, whatever the file says. */
const GOES_ON = "TAPIR_GOES_ON";
/** The new program has so long to check a configuration. */
const TRIAL_MS = 30_000;

/** What runs, as `GET /v1/upgrade` shows it. */
export interface Running {
  version: string;
  pid: number;
  dataplanePid: number | null;
  /** ISO 8601; of this program, not of the process. */
  startedAt: string;
  /** Why the last upgrade has not come about. */
  failure: string | null;
}

interface Command {
  file: string;
  /** With the program's name as the first. */
  words: string[];
}

/** Whether this program has been put in the place of another one, which is asked once. */
export function isUpgraded(): boolean {
  const goesOn = process.env[GOES_ON] === "1";
  delete process.env[GOES_ON];
  return goesOn;
}

export class Upgrade {
  private readonly router: RunningRouter;
  private readonly startedAt = new Date().toISOString();
  private failure: string | null = null;

  constructor(router: RunningRouter) {
    this.router = router;
  }

  get running(): Running {
    const { failure, router, startedAt } = this;
    return { version: ownVersion(), pid: process.pid, dataplanePid: router.dataplanePid ?? null, startedAt, failure };
  }

  /** Tries the program (default: the present one, as it is on disk now). @throws TapirError that says what is wrong with it. */
  async tryProgram(program: string | undefined): Promise<void> {
    this.failure = null;
    await tryProgram(program, this.router.configuration);
  }

  /** Becomes the program. Returns only where that fails. */
  async become(program: string | undefined): Promise<void> {
    const { file, words } = commandOf(program, process.argv.slice(2));
    const environment = Object.entries({ ...process.env, [GOES_ON]: "1" }).map(([name, value]) => `${name}=${value}`);
    try {
      await this.router.leave(() => native().replaceProgram(file, words, environment));
    } catch (error) {
      this.failure = (error as Error).message;
      this.router.log("error", `the upgrade has failed: ${this.failure}; this program goes on`);
    }
  }
}

/** A script is run by this Node; anything else is a program of its own. */
function commandOf(program: string | undefined, words: readonly string[]): Command {
  if (program !== undefined && !/\.[cm]?[jt]s$/.test(program)) return { file: program, words: [program, ...words] };
  const script = program ?? process.argv[1];
  return { file: process.execPath, words: [process.execPath, ...process.execArgv, script, ...words] };
}

async function tryProgram(program: string | undefined, configuration: Configuration): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "tapir-upgrade-"));
  try {
    const file = join(folder, "in-force.yaml");
    // JSON is YAML.
    writeFileSync(file, JSON.stringify(configuration), { mode: 0o600 });
    await run(commandOf(program, ["check", "-f", file]));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function run({ file, words }: Command): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(file, words.slice(1), { timeout: TRIAL_MS }, (error, _, stderr) => {
      if (error === null) resolve();
      else
        reject(
          new TapirError(`the new program is of no use, and nothing has been changed: ${reasonOf(error, stderr)}`),
        );
    });
  });
}

function reasonOf(error: Error & { code?: unknown; killed?: boolean }, stderr: string): string {
  if (error.killed === true) return "it does not end";
  const said = stderr.trim().split("\n")[0];
  return said === "" ? error.message : said;
}
