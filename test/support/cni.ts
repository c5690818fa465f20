/** The CNI plugin as a runtime calls it: a process with variables and a configuration; and Podman with its CNI backend. */
import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/io/package_root.ts";
import { boxArchive, type ContainerHost, removeCgroups, startHost } from "./container_host.ts";
import { exec, execAsync, must, onCleanup, type Result, uniqueName } from "./netns.ts";

export const IMAGE = "localhost/box:latest";
/** Where Debian's containernetworking-plugins has them. */
const PLUGINS = "/usr/lib/cni";

/** What has to be there, for `requireSystem`. */
export const CNI_NEEDS = ["host-local", "nsenter"];
export const PODMAN_NEEDS = ["podman", "conmon", "runc", "busybox", "host-local", "nsenter", "unshare", "curl"];

/** A directory for CNI_PATH, as the documentation has it made: the plugin as `tapir`, and IPAM's. */
export function pluginFolder(folder: string): string {
  const path = join(folder, "cni-bin");
  mkdirSync(path);
  const plugin = join(path, "tapir");
  writeFileSync(plugin, `#!/bin/sh\nexec ${process.execPath} ${packageRoot()}/dist/src/cni/main.js\n`);
  chmodSync(plugin, 0o755);
  for (const name of ["host-local", "tuning"]) {
    if (existsSync(join(PLUGINS, name))) symlinkSync(join(PLUGINS, name), join(path, name));
  }
  return path;
}

export interface Call {
  command: string;
  container?: string;
  netns?: string;
  ifname?: string;
  args?: string;
  configuration: object;
}

interface Said {
  code?: number;
  msg?: string;
  interfaces: { name: string; mac: string; sandbox?: string }[];
  ips: { address: string; gateway?: string; interface?: number; version?: string }[];
  routes: { dst: string; gw?: string }[];
}

export interface CniAnswer {
  status: number | null;
  /** What it has printed; empty where it has printed nothing. */
  said: Said;
}

/** Runs the plugin in `path`. */
export function callPlugin(path: string, { command, container, netns, ifname, args, configuration }: Call): CniAnswer {
  const variables = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: container,
    CNI_NETNS: netns,
    CNI_IFNAME: ifname,
    CNI_ARGS: args,
    CNI_PATH: path,
  };
  const environment = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== undefined));
  const { status, stdout } = exec(undefined, join(path, "tapir"), [], {
    environment: environment as Record<string, string>,
    input: JSON.stringify(configuration),
  });
  return { status, said: (stdout === "" ? {} : JSON.parse(stdout)) as Said };
}

export interface Podman extends ContainerHost {
  podman(...words: string[]): Result;
  podmanAsync(...words: string[]): Promise<Result>;
  /** The same, which must succeed; what it prints, without blanks around. */
  must(...words: string[]): string;
}

/** In a network namespace, with these CNI networks (the first is its default) and an image of busybox. */
export async function startPodman(
  netns: string,
  networks: (socket: string) => { name: string; plugins: object[] }[],
): Promise<Podman> {
  const host = await startHost(netns);
  const { folder } = host;
  const parent = uniqueName("pd");
  // What runtimes remember of attachments has no other place.
  host.inside("sh", ["-c", "mkdir -p /var/lib/cni && mount -t tmpfs tmpfs /var/lib/cni"]);
  const listed = networks(host.socket);
  mkdirSync(join(folder, "net.d"));
  for (const list of listed) {
    writeFileSync(join(folder, "net.d", `${list.name}.conflist`), JSON.stringify({ cniVersion: "1.0.0", ...list }));
  }
  writeFileSync(join(folder, "containers.conf"), configurationOf(folder, pluginFolder(folder), listed[0].name));
  const words = (args: readonly string[]): string[] =>
    host.words("env", [`CONTAINERS_CONF=${folder}/containers.conf`, "podman", ...options(folder), ...args]);
  const withParent = ([first, ...rest]: string[]): string[] =>
    first === "run" ? [first, "--cgroup-parent", `/${parent}`, ...rest] : [first, ...rest];
  const podman: Podman = {
    ...host,
    podman: (...args) => exec(undefined, "nsenter", words(withParent(args))),
    podmanAsync: (...args) => execAsync(undefined, "nsenter", words(withParent(args))),
    must: (...args) => must(undefined, "nsenter", words(withParent(args))).trim(),
  };
  onCleanup(() => removeCgroups(parent));
  onCleanup(() => void podman.podman("rm", "-fa", "-t0"));
  podman.must("import", boxArchive(folder), IMAGE);
  return podman;
}

function options(folder: string): string[] {
  return [
    ...["--root", join(folder, "storage"), "--runroot", join(folder, "run"), "--tmpdir", join(folder, "tmp")],
    ...["--storage-driver", "vfs", "--network-config-dir", join(folder, "net.d")],
  ];
}

/** Limits that every machine grants: Podman's own are higher than some. */
function configurationOf(folder: string, plugins: string, network: string): string {
  return `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[network]
network_backend = "cni"
cni_plugin_dirs = ["${plugins}"]
network_config_dir = "${folder}/net.d"
default_network = "${network}"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "runc"
`;
}
