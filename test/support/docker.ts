/**
 * A dockerd of the test's own: in a network namespace and a mount namespace of its own (with a /run of its own, where
 * the driver's socket is), with all that it writes in a folder that goes with the test.
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync, rmdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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
}

export interface Docker {
  folder: string;
  /** A command in dockerd's namespaces. */
  inside(command: string, args: readonly string[], options?: ExecOptions): Result;
  /** `docker` with these words. */
  docker(...words: string[]): Result;
  dockerAsync(...words: string[]): Promise<Result>;
  /** The same, which must succeed; what it prints, without blanks around. */
  must(...words: string[]): string;
  /** `tapir run` beside dockerd, as soon as it is ready. */
  startRouter(configuration: string): Promise<DockerRouter>;
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
    dockerAsync: (...args) => execAsync(undefined, CLIENT, args, { environment }),
    must: (...args) => must(undefined, CLIENT, args, { environment }).trim(),
    startRouter: (configuration) => startRouter(folder, words, configuration),
  };
  const parent = uniqueName("dk");
  onCleanup(() => removeCgroups(parent));
  const daemon = spawnIn(undefined, "nsenter", words("dockerd", daemonOptions(folder, parent)));
  onCleanup(() => {
    const ids = docker.docker("ps", "-aq").stdout.split("\n").filter(Boolean);
    if (ids.length > 0) docker.docker("rm", "-f", ...ids);
  });
  await daemon.until(/API listen on/, 40_000);
  importImage(docker);
  return docker;
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
  const running = spawnIn(undefined, "nsenter", args);
  await running.until(/\bready\b/, 50_000);
  return {
    ...running,
    tapir: (...args) => {
      const { status, stdout, stderr } = tapir([...args, "--socket", socket]);
      if (status !== 0) throw new Error(`tapir ${args.join(" ")}: ${stderr}`);
      return stdout;
    },
  };
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
