/** Builds the bench's C programs, where they are older than their sources. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { packageRoot } from "../src/io/package_root.ts";

const FOLDER = join(packageRoot(), "bench");

export type ProgramName = "forwarder" | "generator" | "sink" | "pingpong" | "tcpload";

export function programPath(name: ProgramName): string {
  return join(FOLDER, "build", name);
}

/** Throws with the compiler's words when there is no compiler or it does not like something. */
export function buildPrograms(): void {
  try {
    execFileSync("make", ["-s", "-C", join(FOLDER, "native")], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw new Error(`the bench's C programs cannot be built (needs make and a C compiler): ${stderr || message}`);
  }
}
