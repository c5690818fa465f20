/** `tapir upgrade`: the running router becomes another version of the program, and forwards meanwhile. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { ExitCode, TapirError } from "../control/errors.ts";
import type { RunningAnswer } from "../control/upgrade_api.ts";
import { ask, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";
import { type CommonOptions, talking } from "./talking.ts";

interface UpgradeOptions extends CommonOptions {
  program?: string;
}

/** The new program takes a second or two; on a machine with other work, longer. */
const PATIENCE_MS = 30_000;
const LOOK_MS = 50;

export function addUpgrade(program: Command): void {
  const upgrade = talking(program, "upgrade", "have the running router become another version of the program")
    .option("--program <path>", "the new program (default: the present one, as it is on disk now)")
    .action(async ({ socket, json, program }: UpgradeOptions) => {
      const { before, after } = await upgradeRouter(socketPath(socket), program);
      process.stdout.write(
        json === true
          ? `${JSON.stringify(after)}\n`
          : `tapir ${after.version} has taken over from ${before.version}: process ${after.pid}, dataplane ${after.dataplanePid}\n`,
      );
    });
  addHelp(
    upgrade,
    [
      ["tapir upgrade", "after a new version has been installed in the place of the old one"],
      ["tapir upgrade --program /opt/tapir-2/bin/tapir", "one that is elsewhere, or the way back"],
    ],
    {
      notes:
        "Devices, flows and the configuration in force stay; the process stays the same for whoever has started it. " +
        "The new program is tried first: where it does not run, or refuses the configuration, nothing has been changed. " +
        "Should it end later, the old dataplane forwards on, and the next tapir run takes it over.",
    },
  );
}

async function upgradeRouter(
  socket: string,
  program: string | undefined,
): Promise<{ before: RunningAnswer; after: RunningAnswer }> {
  const query = program === undefined ? "" : `?program=${encodeURIComponent(resolve(program))}`;
  // The trial of the new program may take its time.
  const before = await ask<RunningAnswer>(socket, "POST", `/v1/upgrade${query}`, undefined, 2 * PATIENCE_MS);
  const end = performance.now() + PATIENCE_MS;
  while (performance.now() < end) {
    const now = await look(socket);
    if (now !== undefined && now.startedAt !== before.startedAt) return { before, after: now };
    if (typeof now?.failure === "string") throw new TapirError(`the router goes on as it was: ${now.failure}`);
    if (now === undefined && !isAlive(before.pid)) break;
    await sleep(LOOK_MS);
  }
  throw new TapirError(
    `the new program has not come up (its log says why). The dataplane forwards on as process ${before.dataplanePid}; ` +
      "tapir run with a program that works takes it over",
  );
}

/** What runs now; undefined while nobody answers. */
async function look(socket: string): Promise<RunningAnswer | undefined> {
  try {
    return await ask<RunningAnswer>(socket, "GET", "/v1/upgrade");
  } catch (error) {
    if (error instanceof TapirError && error.exitCode === ExitCode.NO_ROUTER) return undefined;
    throw error;
  }
}

/** One that has ended, and that nobody has buried yet, is not (proc_pid_stat(5)). */
function isAlive(pid: number): boolean {
  try {
    return !/^.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}
