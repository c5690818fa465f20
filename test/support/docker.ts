/**
 * A dockerd of the test's own: in a network namespace and a mount namespace of its own (with a /run of its own, where
 * the driver's socket is), with all that it writes in a folder that goes with the test.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { text as readText } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type ExecOptions,
  exec,
  execAsync,
  must,
  onCleanup,
  type Result,
  type Running,
  spawnIn,
  TAPIR,
  tapir,
  temporaryFolder,
  uniqueName,
} from "./netns.ts";

export const IMAGE = "box";
const BUSYBOX = "/bin/busybox";
const APPLETS = ["sh", "cat", "echo", "httpd", "ip", "mkdir", "nc", "ping", "sleep", "wget"];
/** The client that belongs to the daemon: another in front of it in the path may be too new for it. */
const CLIENT = existsSync("/usr/bin/docker") ? "/usr/bin/docker" : "docker";
const CGROUPS = "/sys/fs/cgroup";

/** What has to be there, for `requireSystem`. */
export const DOCKER_NEEDS = ["dockerd", "docker", "containerd", "runc", "busybox", "nsenter", "unshare", "curl"];

export interface DockerRouter extends Running {
  tapir(...args: string[]): string;
  /** Kills the control process; returns as soon as the dataplane goes on without it. */
  kill(): Promise<void>;
}

export interface Docker {
  folder: string;
  /** A command in dockerd's namespaces. */
  inside(command: string, args: readonly string[], options?: ExecOptions): Result;
  /** `docker` with these words. */
  docker(...words: string[]): Result;
  dockerAsync(...words: string[]): Promise<Result>;
  /** dockerd's own API, for many requests at once: as many clients would be most of the work. */
  api(method: string, path: string, body?: object): Promise<{ status: number; text: string }>;
  /** `docker`, which must succeed; what it prints, without blanks around. */
  must(...words: string[]): string;
  /** `tapir run` beside dockerd, as soon as it is ready. */
  startRouter(configuration: string): Promise<DockerRouter>;
  /** Kills dockerd and its containerd, and starts it again. */
  restartDaemon(): Promise<void>;
}

/** Starts it in a network namespace; ready, with an image of busybox. */
export async function startDocker(netns: string): Promise<Docker> {
  const folder = temporaryFolder();
  const pid = await holdNamespaces(netns);
  const words = (command: string, args: readonly string[]): string[] =>
    [["-t", String(pid), "-n", "-m", command], args].flat();
  const environment = { DOCKER_HOST: `unix://${folder}/docker.sock`, DOCKER_CONFIG: folder };
  const docker: Docker = {
    folder,
    inside: (command, args, options) => exec(undefined, "nsenter", words(command, args), options),
    docker: (...args) => exec(undefined, CLIENT, args, { environment }),
    api: (method, path, body) => ask(join(folder, "docker.sock"), method, path, body),
    dockerAsync: (...args) => execAsync(undefined, CLIENT, args, { environment }),
    must: (...args) => must(undefined, CLIENT, args, { environment }).trim(),
    startRouter: (configuration) => startRouter(folder, words, configuration),
    restartDaemon: async () => {
      await daemon.stop("SIGKILL");
      await endContainerd(join(folder, "exec/containerd/containerd.pid"));
      rmSync(join(folder, "pid"), { force: true });
      daemon = await startDaemon(docker, words("dockerd", options));
    },
  };
  const parent = uniqueName("dk");
  const options = daemonOptions(folder, parent);
  onCleanup(() => removeCgroups(parent));
  let daemon = await startDaemon(docker, words("dockerd", options));
  importImage(docker);
  return docker;
}

/** Kills it; returns once it has ended, and the next dockerd does not take it for alive. */
async function endContainerd(file: string): Promise<void> {
  const pid = Number(readFileSync(file, "utf8"));
  process.kill(pid, "SIGKILL");
  // Whoever has adopted it may take its time to bury it.
  while (existsSync(`/proc/${pid}/exe`)) await sleep(10);
  rmSync(file, { force: true });
}

/** dockerd, as soon as it answers; with its end, all containers go. */
async function startDaemon(docker: Docker, words: readonly string[]): Promise<Running> {
  const daemon = spawnIn(undefined, "nsenter", words);
  onCleanup(() => {
    const ids = docker.docker("ps", "-aq").stdout.split("\n").filter(Boolean);
    if (ids.length > 0) docker.docker("rm", "-f", ...ids);
  });
  await daemon.until(/API listen on/, 40_000);
  return daemon;
}

/** A process that only holds the namespaces; its mounts are seen nowhere else. */
async function holdNamespaces(netns: string): Promise<number> {
  const script = "mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/lock && echo holding && exec cat";
  const args = [`--net=/run/netns/${netns}`, "unshare", "-m", "sh", "-c", script];
  const holder = spawnIn(undefined, "nsenter", args);
  await holder.until(/holding/);
  return holder.child.pid as number;
}

function daemonOptions(folder: string, cgroup: string): string[] {
  return [
    ...["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none", "--storage-driver=vfs"],
    ...["--data-root", join(folder, "data"), "--exec-root", join(folder, "exec"), "--pidfile", join(folder, "pid")],
    ...["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", `/${cgroup}`],
    ...["--shutdown-timeout", "3", "-H", `unix://${folder}/docker.sock`],
  ];
}

async function startRouter(
  folder: string,
  words: (command: string, args: readonly string[]) => string[],
  configuration: string,
): Promise<DockerRouter> {
  const file = join(folder, "tapir.yaml");
  const socket = join(folder, "tapir.sock");
  writeFileSync(file, configuration);
  const args = words(process.execPath, [TAPIR, "run", "-f", file, "--socket", socket]);
  const running = spawnIn(undefined, "nsenter", args, { env: { ...process.env, TAPIR_OUTLIVE: "1" } });
  const { pid } = running.child;
  // Before the router is killed with the tests: its dataplane would outlive it.
  onCleanup(
    () => {},
    () => void childrenOf(pid as number).forEach(endDataplane),
  );
  await running.until(/\bready\b/, 50_000);
  return {
    ...running,
    tapir: (...args) => {
      const { status, stdout, stderr } = tapir([...args, "--socket", socket]);
      if (status !== 0) throw new Error(`tapir ${args.join(" ")}: ${stderr}`);
      return stdout;
    },
    kill: async () => {
      running.child.kill("SIGKILL");
      const [, pid] = await running.until(/goes on without it in process (\d+)/);
      onCleanup(() => endDataplane(Number(pid)));
    },
  };
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

function ask(
  socketPath: string,
  method: string,
  path: string,
  body?: object,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json" };
    const sent = request({ socketPath, method, path, headers, agent: false }, async (response) => {
      resolve({ status: response.statusCode ?? 0, text: await readText(response) });
    });
    sent.on("error", reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function importImage(docker: Docker): void {
  const root = join(docker.folder, "image");
  for (const name of ["bin", "etc", "tmp", "www"]) mkdirSync(join(root, name), { recursive: true });
  copyFileSync(BUSYBOX, join(root, "bin/busybox"));
  chmodSync(join(root, "bin/busybox"), 0o755);
  for (const applet of APPLETS) symlinkSync("busybox", join(root, "bin", applet));
  const archive = join(docker.folder, "image.tar");
  must(undefined, "tar", ["-C", root, "-cf", archive, "."]);
  docker.must("import", archive, IMAGE);
}

/** dockerd leaves the folder that its containers' groups were in. */
function removeCgroups(name: string): void {
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
