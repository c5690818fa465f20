/** `tapir snapshot`: writes the running router's flows and configuration to its directory. */
import type { Command } from "commander";
import type { SnapshotAnswer, SnapshotsAnswer } from "../control/snapshot/snapshot_api.ts";
import { ask, socketPath } from "./client.ts";
import { addHelp } from "./help.ts";
import { type CommonOptions, talking } from "./talking.ts";

interface SnapshotOptions extends CommonOptions {
  show?: boolean;
}

export function addSnapshot(program: Command): void {
  const snapshot = talking(program, "snapshot", "write flows and configuration to the directory of control.snapshot")
    .option("--show", "only say where snapshots go, and which was the last")
    .action(async ({ socket, json, show }: SnapshotOptions) => {
      const path = socketPath(socket);
      if (show === true) {
        const answer = await ask<SnapshotsAnswer>(path, "GET", "/v1/snapshot");
        print(json === true ? JSON.stringify(answer, null, 2) : describeAll(answer));
        return;
      }
      const answer = await ask<SnapshotAnswer>(path, "POST", "/v1/snapshot", {});
      print(json === true ? JSON.stringify(answer, null, 2) : describe(answer));
    });
  addHelp(
    snapshot,
    [
      ["tapir snapshot", "before the machine is restarted"],
      ["tapir snapshot --show", "when the last one was written, and what was wrong"],
    ],
    { notes: "tapir run restores what it finds in the directory; without control.snapshot there are no snapshots." },
  );
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function describe({ directory, flows, torn, bytes, milliseconds }: SnapshotAnswer): string {
  const left = torn === 0 ? "" : ` (${torn} changed too fast and are left out)`;
  return `${directory}: ${flows} flows${left}, ${bytes} bytes, ${milliseconds} ms`;
}

function describeAll({ plan, last, problem }: SnapshotsAnswer): string {
  if (plan === null) return "no snapshots: the configuration has no control.snapshot";
  const lines = [`every ${plan.everySeconds} s to ${plan.directory}`];
  if (last !== null) lines.push(`last ${last.time}: ${describe(last)}`);
  if (problem !== null) lines.push(problem);
  return lines.join("\n");
}
