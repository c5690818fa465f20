/**
 * A place for container engines of a test's own: a network namespace and a mount namespace (with a /run of its own), a
 * router in it, all that is written in a folder that goes with the test; and a root file system of busybox.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  type ExecOptions,
  exec,
  must,
  onCleanup,
  type Result,
  type Running,
  spawnIn,
  TAPIR,
  tapir,
  temporaryFolder,
} from "./netns.ts";

const BUSYBOX = "/bin/busybox";
const APPLETS = ["sh", "cat", "echo", "httpd", "ip", "mkdir", "nc", "ping", "sleep", "wget"];
const CGROUPS = "/sys/fs/cgroup";

export interface HostRouter extends Running {
  socket: string;
  tapir(...args: string[]): string;
  /** Kills the control process of one that outlives it; returns as soon as the dataplane goes on without it. */
  kill(): Promise<void>;
}

export interface RouterOptions {
  /** Whether its dataplane goes on should the control process be killed. */
  outlives?: boolean;
}

export interface ContainerHost {
  folder: string;
  /** Where a router of this place has its API. */
  socket: string;
  /** What stands before a command's words, for `nsenter` to run it there. */
  words(command: string, args: readonly string[]): string[];
  inside(command: string, args: readonly string[], options?: ExecOptions): Result;
  /** `tapir run`, as soon as it is ready. */
  startRouter(configuration: string, options?: RouterOptions): Promise<HostRouter>;
}

export async function startHost(netns: string): Promise<ContainerHost> {
  const folder = temporaryFolder();
  const socket = join(folder, "tapir.sock");
  const pid = await holdNamespaces(netns);
  const words = (command: string, args: readonly string[]): string[] =>
    [["-t", String(pid), "-n", "-m", command], args].flat();
  const inside: ContainerHost["inside"] = (command, args, options) =>
    exec(undefined, "nsenter", words(command, args), options);
  const startRouter: ContainerHost["startRouter"] = async (configuration, { outlives = false } = {}) => {
    const file = join(folder, "tapir.yaml");
    writeFileSync(file, configuration);
    const args = words(process.execPath, [TAPIR, "run", "-f", file, "--socket", socket]);
    const environment = outlives ? { env: { ...process.env, TAPIR_OUTLIVE: "1" } } : {};
    const running = spawnIn(undefined, "nsenter", args, environment);
    const { pid } = running.child;
    // Before the router is killed with the tests: its dataplane would outlive it.
    onCleanup(
      () => {},
      () => void childrenOf(pid as number).forEach(endDataplane),
    );
    await running.until(/\bready\b/, 50_000);
    return { ...running, socket, tapir: (...args) => said(socket, args), kill: () => killControl(running) };
  };
  return { folder, socket, words, inside, startRouter };
}

async function killControl(running: Running): Promise<void> {
  running.child.kill("SIGKILL");
  const [, pid] = await running.until(/goes on without it in process (\d+)/);
  onCleanup(() => endDataplane(Number(pid)));
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text.split(" ").filter(Boolean).map(Number);
}

/** One that nobody has taken over. */
function endDataplane(pid: number): void {
  try {
    if (readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("dataplane/main.js")) process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

function said(socket: string, args: readonly string[]): string {
  const { status, stdout, stderr } = tapir([...args, "--socket", socket]);
  if (status !== 0) throw new Error(`tapir ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** A process that only holds the namespaces; its mounts are seen nowhere else. */
async function holdNamespaces(netns: string): Promise<number> {
  const script = "mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/lock && echo holding && exec cat";
  const args = [`--net=/run/netns/${netns}`, "unshare", "-m", "sh", "-c", script];
  const holder = spawnIn(undefined, "nsenter", args);
  await holder.until(/holding/);
  return holder.child.pid as number;
}

/** A root file system as an archive, which engines import as an image; returns its path. */
export function boxArchive(folder: string): string {
  const root = join(folder, "image");
  for (const name of ["bin", "etc", "tmp", "www"]) mkdirSync(join(root, name), { recursive: true });
  copyFileSync(BUSYBOX, join(root, "bin/busybox"));
  chmodSync(join(root, "bin/busybox"), 0o755);
  for (const applet of APPLETS) symlinkSync("busybox", join(root, "bin", applet));
  const archive = join(folder, "image.tar");
  must(undefined, "tar", ["-C", root, "-cf", archive, "."]);
  return archive;
}

/** Engines leave the folder that their containers' groups were in. */
export function removeCgroups(name: string): void {
  const found = exec(undefined, "find", [CGROUPS, "-depth", "-type", "d", "-path", `*/${name}*`]);
  for (const folder of found.stdout.trim().split("\n")) {
    if (folder === "" || !existsSync(folder)) continue;
    try {
      rmdirSync(folder);
    } catch {
      // Something is in it still.
    }
  }
}
