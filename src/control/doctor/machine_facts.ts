/** Gathers the facts of this machine. Nothing of it is changed: what is tried is tried in a namespace of its own. */
import { execFileSync, spawnSync } from "node:child_process";
import { accessSync, closeSync, constants, openSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { availableParallelism, release } from "node:os";
import { join } from "node:path";
import { native } from "../../io/native.ts";
import { packageRoot } from "../../io/package_root.ts";
import type { SystemError } from "../errors.ts";
import { isNamespace } from "../network_namespace.ts";
import { effectiveCapabilities } from "./capabilities.ts";
import { type MachineFacts, type NamedNamespace, TOOLS } from "./machine.ts";
import { probeDevices } from "./probe.ts";

const NETNS_FOLDER = "/run/netns";

export async function gatherMachine(): Promise<MachineFacts> {
  const addonError = loadAddon();
  const limits = readFileSync("/proc/self/limits", "latin1");
  const tunError = openTun();
  const namespaces = readNamespaces();
  const iproute2 = versionOfIproute2();
  return {
    node: process.version,
    kernel: release(),
    cpus: availableParallelism(),
    hasRing: addonError === undefined && native().hasRing(),
    capabilities: effectiveCapabilities(readFileSync("/proc/self/status", "latin1")),
    probe: addonError === undefined ? await probeDevices() : { error: "the addon does not load" },
    openFiles: limitOf(limits, "Max open files"),
    lockedBytes: limitOf(limits, "Max locked memory").soft,
    commands: TOOLS.filter(({ name }) => onPath(name).length > 0).map(({ name }) => name),
    namesakes: namesakes(onPath("tapir"), ownPrograms()),
    ...(addonError === undefined ? {} : { addonError }),
    ...(tunError === undefined ? {} : { tunError }),
    ...(namespaces === undefined ? {} : { namespaces }),
    ...(iproute2 === undefined ? {} : { iproute2 }),
  };
}

function loadAddon(): string | undefined {
  try {
    native();
    return undefined;
  } catch (error) {
    return (error as Error).message.split("\n")[0];
  }
}

function openTun(): string | undefined {
  try {
    closeSync(openSync("/dev/net/tun", "r+"));
    return undefined;
  } catch (error) {
    return (error as SystemError).code ?? (error as Error).message;
  }
}

function readNamespaces(): NamedNamespace[] | undefined {
  try {
    return readdirSync(NETNS_FOLDER).map((name) => ({ name, isNamespace: isNamespace(join(NETNS_FOLDER, name)) }));
  } catch {
    return undefined;
  }
}

/** Soft and hard limit of one line of /proc/PID/limits. */
export function limitOf(text: string, name: string): { soft: number; hard: number } {
  const [, ...words] = new RegExp(`^${name} +(\\S+) +(\\S+)`, "m").exec(text) ?? [];
  const [soft = Infinity, hard = Infinity] = words.map((word) => (word === "unlimited" ? Infinity : Number(word)));
  return { soft, hard };
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Every program of a name on PATH, in its order. */
function onPath(name: string): string[] {
  const folders = (process.env.PATH ?? "").split(":").filter((folder) => folder !== "");
  return [...new Set(folders)].map((folder) => join(folder, name)).filter(isProgram);
}

/** This program, by the paths that it may be reached under. */
function ownPrograms(): string[] {
  return [process.argv[1] ?? "", join(packageRoot(), "dist/src/cli/main.js")];
}

/** Those of `programs` that are not, or do not lead to, one of `own`. */
export function namesakes(programs: readonly string[], own: readonly string[]): string[] {
  const real = (path: string): string => {
    try {
      return realpathSync(path);
    } catch {
      return path;
    }
  };
  const ours = new Set(own.map(real));
  return programs.filter((path) => !ours.has(real(path)));
}

function versionOfIproute2(): string | undefined {
  if (onPath("ip").length === 0) return undefined;
  try {
    const said = execFileSync("ip", ["-V"], { encoding: "utf8", stdio: "pipe" });
    return /iproute2-([^\s,]+)/.exec(said)?.[0];
  } catch {
    return undefined;
  }
}

/** Runs a command; its output, or nothing where it is absent or fails. */
export function outputOf(command: string, words: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(command, words, { encoding: "utf8" });
  return status === 0 ? stdout : undefined;
}
