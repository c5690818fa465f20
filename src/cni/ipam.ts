/**
 * Delegation to an IPAM plugin (section 4): the same environment, the same configuration on stdin, an executable found in
 * CNI_PATH. What it says is wrong is passed on as it is.
 */
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import type { Variables } from "./environment.ts";
import { CniError, Code } from "./errors.ts";
import type { Network } from "./network.ts";
import { type Result, readResult } from "./result.ts";

/** The addresses that it gives. */
export async function allocate(network: Network, variables: Variables): Promise<Result> {
  const text = await delegate("ADD", network, variables);
  try {
    return readResult(JSON.parse(text), `the result of ${network.ipam}`);
  } catch (error) {
    if (error instanceof CniError) throw error;
    throw new CniError(Code.DECODING_FAILURE, `the result of ${network.ipam} is not JSON`, (error as Error).message);
  }
}

/** Runs the network's IPAM plugin for a command, where it has one; what it prints. */
export async function delegate(command: string, { ipam, text }: Network, variables: Variables): Promise<string> {
  if (ipam === undefined) return "";
  const executable = find(ipam, variables);
  const env = { ...variables, CNI_COMMAND: command } as NodeJS.ProcessEnv;
  const { status, stdout, stderr } = await run(executable, env, text);
  if (status === 0) return stdout;
  throw failureOf(ipam, status, stdout, stderr);
}

function find(name: string, { CNI_PATH = "" }: Variables): string {
  if (CNI_PATH === "") {
    const need = `expected the directories to look for ${name} in`;
    throw new CniError(Code.INVALID_ENVIRONMENT, `CNI_PATH is not set: ${need}`);
  }
  for (const folder of CNI_PATH.split(":").filter((each) => each !== "")) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // It may be in another one.
    }
  }
  throw new CniError(Code.DELEGATE_FAILED, `no IPAM plugin ${name} in ${CNI_PATH}`);
}

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

function run(executable: string, env: NodeJS.ProcessEnv, input: string): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(executable, { env, stdio: "pipe" });
    const said = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream].setEncoding("utf8").on("data", (text: string) => {
        said[stream] += text;
      });
    }
    child.on("error", (error) => reject(new CniError(Code.DELEGATE_FAILED, `${executable}: ${error.message}`)));
    child.on("close", (status) => resolve({ status, ...said }));
    // One that ends without reading says why otherwise.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

function failureOf(name: string, status: number | null, stdout: string, stderr: string): CniError {
  try {
    const { code, msg, details } = JSON.parse(stdout) as { code?: unknown; msg?: unknown; details?: unknown };
    if (typeof code === "number" && typeof msg === "string") {
      return new CniError(
        code,
        msg.startsWith(name) ? msg : `${name}: ${msg}`,
        typeof details === "string" ? details : undefined,
      );
    }
  } catch {
    // It has not said it in the specification's words.
  }
  const said = `${stdout}${stderr}`.trim();
  return new CniError(
    Code.DELEGATE_FAILED,
    `${name} ended with ${status ?? "a signal"}`,
    said === "" ? undefined : said,
  );
}
