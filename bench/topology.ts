/**
 * Where engines are measured: three namespaces of their own, a container, a router and the world outside. The
 * addresses are the same for all engines; what joins the namespaces is the engine's business.
 *
 *     container 10.55.66.2/24 eth0  --[ engine ]--  out0 203.0.113.2/24 outside
 *                gateway 10.55.66.1                  203.0.113.1 is the engine's own address
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const CONTAINER = "10.55.66.2";
export const GATEWAY = "10.55.66.1";
export const CONTAINERS = "10.55.66.0/24";
export const UPLINK = "203.0.113.1";
export const OUTSIDE = "203.0.113.2";
/** Many destinations: the outside's second network. */
export const FAR = "198.51.100.1";
export const CONTAINER_DEVICE = "eth0";
export const OUTSIDE_DEVICE = "out0";
/** Where raw datagrams go: the outside's kernel drops them behind the receiver, so that it sends no ICMP errors. */
export const RAW_PORT = 9000;

export interface Namespace {
  readonly name: string;
  /** A file of the namespace, as setns(2) takes it. */
  readonly path: string;
}

const namespaces = new Set<string>();
const folders = new Set<string>();
let created = 0;

process.on("exit", () => {
  for (const name of namespaces) {
    try {
      run("ip", "netns", "del", name);
    } catch {
      // The next one still has to go.
    }
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Runs a command; throws with what it said. */
export function run(command: string, ...words: string[]): string {
  try {
    return execFileSync(command, words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw new Error(`${command} ${words.join(" ")}: ${stderr?.trim() || message}`);
  }
}

/** Runs a command in a namespace, which may be that of a process. */
export function runIn(namespace: Namespace, command: string, ...words: string[]): string {
  return run("nsenter", `--net=${namespace.path}`, command, ...words);
}

export function hasCommand(name: string): boolean {
  const places = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/sbin"];
  return places.some((folder) => folder !== "" && existsSync(join(folder, name)));
}

function createNamespace(name: string): Namespace {
  run("ip", "netns", "add", name);
  namespaces.add(name);
  const namespace = { name, path: join("/run/netns", name) };
  setSysctl(namespace, "net.ipv6.conf.all.disable_ipv6", 1);
  setSysctl(namespace, "net.ipv6.conf.default.disable_ipv6", 1);
  run("ip", "-n", name, "link", "set", "lo", "up");
  return namespace;
}

export function setSysctl(namespace: Namespace, key: string, value: string | number): void {
  runIn(namespace, "sysctl", "-qw", `${key}=${value}`);
}

export class World {
  readonly container: Namespace;
  readonly router: Namespace;
  readonly outside: Namespace;
  /** For sockets and configurations of the engine. */
  readonly folder: string;

  constructor() {
    const prefix = `tb${process.pid}-${created++}`;
    this.container = createNamespace(`${prefix}-c`);
    this.router = createNamespace(`${prefix}-r`);
    this.outside = createNamespace(`${prefix}-o`);
    this.folder = mkdtempSync(join(tmpdir(), "tapir-bench-"));
    folders.add(this.folder);
    // Connections that come fast need many ports.
    setSysctl(this.container, "net.ipv4.ip_local_port_range", "10000 65000");
  }

  remove(): void {
    for (const { name } of [this.container, this.router, this.outside]) {
      run("ip", "netns", "del", name);
      namespaces.delete(name);
    }
    rmSync(this.folder, { recursive: true, force: true });
    folders.delete(this.folder);
  }

  /** Gives the container's device its address and the default route. */
  configureContainer(): void {
    const { name } = this.container;
    run("ip", "-n", name, "addr", "replace", `${CONTAINER}/24`, "dev", CONTAINER_DEVICE);
    run("ip", "-n", name, "link", "set", CONTAINER_DEVICE, "up");
    run("ip", "-n", name, "route", "replace", "default", "via", GATEWAY);
  }

  configureOutside(): void {
    const { name } = this.outside;
    run("ip", "-n", name, "addr", "replace", `${OUTSIDE}/24`, "dev", OUTSIDE_DEVICE);
    run("ip", "-n", name, "link", "set", OUTSIDE_DEVICE, "up");
    const rules = [
      "add table netdev bench",
      `add chain netdev bench ingress { type filter hook ingress device ${OUTSIDE_DEVICE} priority 0; }`,
      `add rule netdev bench ingress udp dport ${RAW_PORT} drop`,
    ];
    runIn(this.outside, "nft", rules.join("; "));
  }

  /** A device of the router's namespace with the uplink's address, for engines that use its kernel as their host. */
  connectHost(device: string): void {
    this.joinWithVeth(this.outside, OUTSIDE_DEVICE, this.router, device);
    run("ip", "-n", this.router.name, "addr", "add", `${UPLINK}/24`, "dev", device);
    run("ip", "-n", this.router.name, "route", "add", "default", "via", OUTSIDE);
    this.configureOutside();
  }

  /** A pair of devices, each up in its namespace. */
  joinWithVeth(left: Namespace, leftDevice: string, right: Namespace, rightDevice: string): void {
    const peer = ["peer", "name", rightDevice, "netns", right.name];
    run("ip", "-n", left.name, "link", "add", leftDevice, "type", "veth", ...peer);
    run("ip", "-n", left.name, "link", "set", leftDevice, "up");
    run("ip", "-n", right.name, "link", "set", rightDevice, "up");
  }
}

export function macOf(namespace: Namespace, device: string): string {
  const [link] = JSON.parse(runIn(namespace, "ip", "-j", "link", "show", "dev", device)) as { address: string }[];
  return link.address;
}

/** The MAC of the container's next hop, asked for by ARP: the engine must answer. */
export function resolveNextHop(container: Namespace): string {
  const routes = JSON.parse(runIn(container, "ip", "-j", "route", "get", OUTSIDE)) as { gateway: string }[];
  const { gateway } = routes[0];
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      runIn(container, "ping", "-c1", "-W1", gateway);
    } catch {
      // Whether it answers pings is its own affair; the question asked for its MAC.
    }
    const entries = JSON.parse(runIn(container, "ip", "-j", "neigh", "show", gateway)) as { lladdr?: string }[];
    if (entries[0]?.lladdr !== undefined) return entries[0].lladdr;
  }
  throw new Error(`${gateway} does not answer ARP`);
}

/** A number from a file of the kernel; undefined where there is none. */
export function readNumber(path: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(path, "utf8"), 10);
  } catch {
    return undefined;
  }
}
