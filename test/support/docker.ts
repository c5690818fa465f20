/**
 * A dockerd of the test's own: in a network namespace and a mount namespace of its own (with a /run of its own, where
 * the driver's socket is), with all that it writes in a folder that goes with the test.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { text as readText } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { boxArchive, type HostRouter, removeCgroups, startHost } from "./container_host.ts";
import {
  type ExecOptions,
  exec,
  execAsync,
  must,
  onCleanup,
  type Result,
  type Running,
  spawnIn,
  uniqueName,
} from "./netns.ts";

export const IMAGE = "box";
/** The client that belongs to the daemon: another in front of it in the path may be too new for it. */
const CLIENT = existsSync("/usr/bin/docker") ? "/usr/bin/docker" : "docker";

/** What has to be there, for `requireSystem`. */
export const DOCKER_NEEDS = ["dockerd", "docker", "containerd", "runc", "busybox", "nsenter", "unshare", "curl"];

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
  startRouter(configuration: string): Promise<HostRouter>;
  /** Kills dockerd and its containerd, and starts it again. */
  restartDaemon(): Promise<void>;
}

/** Starts it in a network namespace; ready, with an image of busybox. */
export async function startDocker(netns: string): Promise<Docker> {
  const { folder, words, inside, startRouter } = await startHost(netns);
  const environment = { DOCKER_HOST: `unix://${folder}/docker.sock`, DOCKER_CONFIG: folder };
  const docker: Docker = {
    folder,
    inside,
    docker: (...args) => exec(undefined, CLIENT, args, { environment }),
    api: (method, path, body) => ask(join(folder, "docker.sock"), method, path, body),
    dockerAsync: (...args) => execAsync(undefined, CLIENT, args, { environment }),
    must: (...args) => must(undefined, CLIENT, args, { environment }).trim(),
    startRouter: (configuration) => startRouter(configuration, { outlives: true }),
    restartDaemon: async () => {
      await daemon.stop("SIGKILL");
      await endContainerd(join(folder, "exec/containerd/containerd.pid"));
      rmSync(join(folder, "pid"), { force: true });
      daemon = await startDaemon(docker, words("dockerd", options));
    },
  };
  const parent = uniqueName("dk");
  const options = daemonOptions(folder, parent);
  onCleanup(() => {
    endShims(folder);
    removeCgroups(parent);
  });
  let daemon = await startDaemon(docker, words("dockerd", options));
  docker.must("import", boxArchive(folder), IMAGE);
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

function daemonOptions(folder: string, cgroup: string): string[] {
  return [
    ...["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none", "--storage-driver=vfs"],
    ...["--data-root", join(folder, "data"), "--exec-root", join(folder, "exec"), "--pidfile", join(folder, "pid")],
    ...["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", `/${cgroup}`],
    ...["--shutdown-timeout", "3", "-H", `unix://${folder}/docker.sock`],
  ];
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

/** What watches over containers outlives a containerd that was killed, and its containers, too. */
function endShims(folder: string): void {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      if (words.includes("containerd-shim") && words.includes(`${folder}/`)) process.kill(Number(pid), "SIGKILL");
    } catch {
      // It has ended.
    }
  }
}
