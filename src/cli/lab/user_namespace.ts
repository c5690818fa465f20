/**
 * The lab for ordinary users: the same command again in a user namespace of its own, where the user is root over new
 * mount and network namespaces and over nothing else. A fresh /run lets `ip netns add` work; all of it is gone with
 * the last process.
 */
import { spawn, spawnSync } from "node:child_process";
import { constants } from "node:os";
import { ExitCode, TapirError } from "../../control/errors.ts";
import { hasCommand } from "./needs.ts";

const UNSHARE = ["--user", "--map-root-user", "--mount", "--net"];

/** Says so to the second run, which must not try again. */
const MARK = "TAPIR_LAB_USER_NAMESPACE";

export function isInUserNamespace(): boolean {
  return process.env[MARK] === "1";
}

function checkUserNamespaces(): void {
  if (!hasCommand("unshare")) throw new TapirError("unshare is not installed: apt-get install -y util-linux");
  const probe = spawnSync("unshare", [...UNSHARE, "true"], { encoding: "utf8" });
  if (probe.status === 0 && !isInUserNamespace()) return;
  throw new TapirError(
    "not root, and user namespaces are not allowed here: run the lab as root, or allow them " +
      "(sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)",
    ExitCode.PRIVILEGE,
  );
}

/** Runs this very command line in the namespaces; returns its exit code. Signals are handed on. */
export async function runInUserNamespace(): Promise<number> {
  checkUserNamespaces();
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const script = 'mount -t tmpfs tapir-lab /run && exec "$@"';
  const child = spawn("unshare", [...UNSHARE, "sh", "-c", script, "sh", ...again], {
    stdio: "inherit",
    env: { ...process.env, [MARK]: "1" },
  });
  const handOn = (signal: NodeJS.Signals) => void child.kill(signal);
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, handOn);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    });
  } finally {
    for (const signal of signals) process.off(signal, handOn);
  }
}
