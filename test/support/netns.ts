/**
 * Real namespaces, devices and routers for tests. Everything made here is named after this process, lives in
 * namespaces of its own (nothing of the host is touched), and is removed last-made first: when the test ends, for what
 * a test made; when the file ends, for what was made outside a test; and when the process exits or is told to end by a signal.
 */
import { type ChildProcess, execFile, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, onTestFinished } from "vitest";
import { packageRoot } from "../../src/io/package_root.ts";

/** The built command line: `npm test` builds before it runs. */
export const TAPIR = join(packageRoot(), "dist/src/cli/main.js");

// A router that is killed with the tests takes its dataplane along; tests of what outlives it say so.
process.env.TAPIR_OUTLIVE ??= "0";

// Cleaning up

interface Cleanup {
  /** Removes the thing; may wait. */
  body: () => void | Promise<void>;
  /** The same without waiting, for when the process exits. */
  atExit: () => void;
}

const pending: Cleanup[] = [];

async function finish(cleanup: Cleanup): Promise<void> {
  const index = pending.indexOf(cleanup);
  if (index < 0) return;
  pending.splice(index, 1);
  await cleanup.body();
}

afterAll(async () => {
  for (const cleanup of [...pending].reverse()) await finish(cleanup);
});

function removeAll(): void {
  for (const cleanup of pending.splice(0).reverse()) {
    try {
      cleanup.atExit();
    } catch {
      // The next one still has to go.
    }
  }
}

process.on("exit", removeAll);
// A signal ends a process without its exit: whoever interrupts the tests is left with nothing of them either.
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  process.once(signal, () => {
    removeAll();
    process.kill(process.pid, signal);
  });
}

/** Registers what removes a thing: at the end of the running test, or of the file where no test runs. */
export function onCleanup(body: () => void | Promise<void>, atExit: () => void = () => void body()): void {
  const cleanup = { body, atExit };
  pending.push(cleanup);
  try {
    onTestFinished(() => finish(cleanup));
  } catch {
    // Outside a test: `afterAll` does it.
  }
}

// What the machine offers

const PACKAGES: Record<string, string> = {
  ip: "iproute2",
  nstat: "iproute2",
  ss: "iproute2",
  tc: "iproute2",
  bridge: "iproute2",
  ping: "iputils-ping",
  iptables: "iptables",
  "iptables-legacy": "iptables",
  nft: "nftables",
  conntrack: "conntrack",
  tcpdump: "tcpdump",
  ethtool: "ethtool",
  iperf3: "iperf3",
  traceroute: "traceroute",
  python3: "python3",
  sysctl: "procps",
  script: "bsdutils",
  nsenter: "util-linux",
  setpriv: "util-linux",
  prlimit: "util-linux",
  unshare: "util-linux",
  zsh: "zsh",
  groff: "groff-base",
  curl: "curl",
  nfcapd: "nfdump",
  nfdump: "nfdump",
  tshark: "tshark",
  bird: "bird2",
  birdc: "bird2",
  dnsmasq: "dnsmasq-base",
  "systemd-analyze": "systemd",
  docker: "docker.io",
  dockerd: "docker.io",
  containerd: "containerd",
  runc: "runc",
  podman: "podman",
  busybox: "busybox-static",
  conmon: "conmon",
  "host-local": "containernetworking-plugins",
};

export function hasCommand(name: string): boolean {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/sbin", "/usr/lib/cni"];
  return folders.some((folder) => folder !== "" && existsSync(join(folder, name)));
}

function canOpen(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function canLoad(name: string): boolean {
  try {
    createRequire(import.meta.url)(name);
    return true;
  } catch {
    return false;
  }
}

/** What a need is missing, in words; undefined when it is there. `root`, `tun` and `raw-socket` are needs beside commands. */
function missing(need: string): string | undefined {
  switch (need) {
    case "root":
      return process.getuid?.() === 0 ? undefined : "root";
    case "tun":
      return canOpen("/dev/net/tun") ? undefined : "access to /dev/net/tun";
    case "raw-socket":
      return canLoad(need) ? undefined : "the npm package raw-socket, built (npm rebuild raw-socket)";
    default:
      return hasCommand(need) ? undefined : (PACKAGES[need] ?? need);
  }
}

/**
 * Whether everything in `needs` (commands by name) is there; for `describe.skipIf(!…)`. Root, /dev/net/tun and
 * iproute2 are always asked for. Says loudly what is missing, and fails instead of skipping where TAPIR_REQUIRE_ALL=1.
 */
export function requireSystem(needs: readonly string[], test: string): boolean {
  const lacking = [...new Set(["root", "ip", "tun", ...needs])].flatMap((need) => missing(need) ?? []);
  if (lacking.length === 0) return true;
  const message = `SKIPPED ${test}: needs ${lacking.join(", ")}`;
  if (process.env.TAPIR_REQUIRE_ALL === "1") throw new Error(message);
  process.stderr.write(`${message}\n`);
  return false;
}

// Commands

export interface Result {
  /** Exit code; 128 + signal number is not made up: a killed process has null. */
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface ExecOptions {
  input?: string;
  /** Milliseconds after which the command is killed; 30 s unless said. */
  timeoutMs?: number;
  environment?: Record<string, string>;
}

function words(netns: string | undefined, command: string, args: readonly string[]): [string, string[]] {
  return netns === undefined ? [command, [...args]] : ["ip", ["netns", "exec", netns, command, ...args]];
}

/** Runs a command to its end, in a namespace (undefined: where the test runs). Never throws for its exit code. */
export function exec(
  netns: string | undefined,
  command: string,
  args: readonly string[],
  options: ExecOptions = {},
): Result {
  const [file, argv] = words(netns, command, args);
  const { status, stdout, stderr, error } = spawnSync(file, argv, {
    encoding: "utf8",
    timeout: options.timeoutMs ?? 30_000,
    maxBuffer: 64 << 20,
    env: { ...process.env, ...options.environment },
    ...(options.input === undefined ? {} : { input: options.input }),
  });
  if (error !== undefined && status === null && (error as NodeJS.ErrnoException).code === "ENOENT") throw error;
  return { status, stdout, stderr };
}

/** Like `exec` without blocking the event loop, for commands at the same time as others. */
export function execAsync(
  netns: string | undefined,
  command: string,
  args: readonly string[],
  options: ExecOptions = {},
): Promise<Result> {
  const [file, argv] = words(netns, command, args);
  return new Promise((resolve, reject) => {
    const child = execFile(
      file,
      argv,
      {
        encoding: "utf8",
        timeout: options.timeoutMs ?? 30_000,
        maxBuffer: 64 << 20,
        env: { ...process.env, ...options.environment },
      },
      (error, stdout, stderr) => {
        if (error !== null && (error as NodeJS.ErrnoException).code === "ENOENT") reject(error);
        else resolve({ status: child.exitCode, stdout, stderr });
      },
    );
    child.stdin?.end(options.input ?? "");
  });
}

/** Runs a command that must succeed; returns its output. */
export function must(
  netns: string | undefined,
  command: string,
  args: readonly string[],
  options: ExecOptions = {},
): string {
  const { status, stdout, stderr } = exec(netns, command, args, options);
  if (status !== 0)
    throw new Error(`${[command, ...args].join(" ")} in ${netns ?? "the host"}: ${stderr || stdout || status}`);
  return stdout;
}

/** `ip` with words separated by blanks: `ip(ns, "route add default via 10.55.66.1")`. */
export function ip(netns: string | undefined, command: string): string {
  const args = command.split(" ").filter((word) => word !== "");
  return must(undefined, "ip", netns === undefined ? args : ["-n", netns, ...args]);
}

/** Whether one ping (`-c1 -W1`) is answered. */
export function ping(netns: string, address: string, ...args: string[]): boolean {
  return exec(netns, "ping", ["-n", "-c1", "-W1", ...args, address]).status === 0;
}

// Processes

/** A running command with everything it has printed so far. */
export interface Running {
  child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Resolves with the first match in what it prints on either stream; rejects when it ends or `timeoutMs` pass first. */
  until(pattern: RegExp, timeoutMs?: number): Promise<RegExpMatchArray>;
  /** Resolves with the exit code, or the signal's name, once it has ended. */
  readonly ended: Promise<number | string>;
  /** Sends `signal` (SIGTERM) and waits for the end; SIGKILL after 10 s. */
  stop(signal?: NodeJS.Signals): Promise<number | string>;
}

/** Starts a command in a namespace; it is stopped at the end of the test. */
export function spawnIn(
  netns: string | undefined,
  command: string,
  args: readonly string[],
  options: SpawnOptions = {},
): Running {
  const [file, argv] = words(netns, command, args);
  const child = spawn(file, argv, { ...options, stdio: ["pipe", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  const listeners = new Set<() => void>();
  const heard = () => {
    for (const listener of listeners) listener();
  };
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    heard();
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    heard();
  });
  let isEnded = false;
  const ended = new Promise<number | string>((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) => resolve(code ?? signal ?? "killed"));
  }).finally(() => {
    isEnded = true;
    heard();
  });
  const running: Running = {
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    ended,
    until: (pattern, timeoutMs = 20_000) =>
      new Promise((resolve, reject) => {
        const settle = (action: () => void) => {
          clearTimeout(timer);
          listeners.delete(look);
          action();
        };
        const fail = (why: string) =>
          settle(() => reject(new Error(`${command} ${why} before ${pattern}:\n${stdout}${stderr}`)));
        const look = () => {
          const match = stdout.match(pattern) ?? stderr.match(pattern);
          if (match !== null) settle(() => resolve(match));
          else if (isEnded) fail("ended");
        };
        const timer = setTimeout(() => fail(`was silent for ${timeoutMs} ms`), timeoutMs);
        listeners.add(look);
        look();
      }),
    stop: async (signal = "SIGTERM") => {
      if (isEnded) return ended;
      child.kill(signal);
      const kill = setTimeout(() => child.kill("SIGKILL"), 10_000);
      return ended.finally(() => clearTimeout(kill));
    },
  };
  onCleanup(
    async () => void (await running.stop()),
    () => void child.kill("SIGKILL"),
  );
  return running;
}

// Namespaces and devices

let count = 0;

/** A name that no other test process uses: at most 15 characters, so that it may name a device as well. */
export function uniqueName(hint = ""): string {
  count++;
  return `x${process.pid}-${count}${hint}`.slice(0, 15);
}

/** Where the kernel keeps a namespace made with `ip netns add`. */
export function netnsPath(name: string): string {
  return `/run/netns/${name}`;
}

/** Makes a namespace with `lo` up and without IPv6 chatter; returns its name. */
export function namespace(hint = ""): string {
  const name = uniqueName(hint);
  must(undefined, "ip", ["netns", "add", name]);
  onCleanup(() => void spawnSync("ip", ["netns", "del", name]));
  exec(name, "sh", [
    "-c",
    "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6",
  ]);
  ip(name, "link set lo up");
  return name;
}

export interface VethEnd {
  netns: string;
  ifname: string;
  /** With its prefix length: `203.0.113.2/24`. */
  address?: string;
  mac?: string;
}

/** Longest wait for a device's carrier. The kernel hands them on once a second at worst, later on a busy machine. */
const CARRIER_MS = 20_000;

/** A pair of devices between two namespaces, both up and carrying. They go with their namespaces. */
export function veth(left: VethEnd, right: VethEnd): void {
  // Ends with one index between them get their carrier up to a second later (linkwatch takes them for one device).
  const index = 1000 + 2 * ++count;
  ip(
    undefined,
    `link add ${left.ifname} index ${index} netns ${left.netns} type veth ` +
      `peer name ${right.ifname} index ${index + 1} netns ${right.netns}`,
  );
  for (const end of [left, right]) {
    if (end.mac !== undefined) ip(end.netns, `link set ${end.ifname} address ${end.mac}`);
    if (end.address !== undefined) ip(end.netns, `address add ${end.address} dev ${end.ifname}`);
    ip(end.netns, `link set ${end.ifname} up`);
  }
  for (const end of [left, right]) untilCarrying(end);
}

/** A device that is up drops what it is given to send until it has a queueing discipline. */
function untilCarrying({ netns, ifname }: VethEnd): void {
  const deadline = Date.now() + CARRIER_MS;
  while (!/qdisc (?!noop).* state UP/.test(ip(netns, `-o link show dev ${ifname}`))) {
    if (Date.now() > deadline) throw new Error(`${ifname} in ${netns} gets no carrier`);
  }
}

/** A folder that goes with the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "tapir-test-"));
  onCleanup(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

// Routers

export interface RunningRouter extends Running {
  socket: string;
  configFile: string;
  /** Runs a `tapir` command against this router: `router.tapir("show", "ports", "-j")`. */
  tapir(...args: string[]): Result;
  /** Like `tapir`, for a command that must succeed; returns its output. */
  mustTapir(...args: string[]): string;
  /** Writes another configuration into the file that the router was started with. */
  writeConfig(configText: string): void;
}

/** Runs a `tapir` command where the test runs, or in a namespace. */
export function tapir(args: readonly string[], options: ExecOptions & { netns?: string } = {}): Result {
  return exec(options.netns, process.execPath, [TAPIR, ...args], options);
}

/**
 * Starts `tapir run` with a configuration and waits until it says `ready`. It runs in `netns` (the namespace that
 * holds the uplink's device) and stops at the end of the test.
 */
export async function startRouter(
  configText: string,
  options: {
    netns?: string;
    environment?: Record<string, string>;
    nodeOptions?: readonly string[];
    /** A command that becomes the router: words before it. */
    under?: readonly string[];
  } = {},
): Promise<RunningRouter> {
  if (!existsSync(TAPIR)) throw new Error(`${TAPIR} is not there: npm run build`);
  const folder = temporaryFolder();
  const socket = join(folder, "tapir.sock");
  const configFile = join(folder, "tapir.yaml");
  writeFileSync(configFile, configText);
  const [command, ...words] = [...(options.under ?? []), process.execPath];
  const args = [...words, ...(options.nodeOptions ?? []), TAPIR, "run", "-f", configFile, "--socket", socket];
  const running = spawnIn(options.netns, command, args, { env: { ...process.env, ...options.environment } });
  await running.until(/\bready\b/);
  return {
    ...running,
    socket,
    configFile,
    tapir: (...words) => tapir([...words, "--socket", socket]),
    mustTapir: (...words) => must(undefined, process.execPath, [TAPIR, ...words, "--socket", socket]),
    writeConfig: (text) => writeFileSync(configFile, text),
  };
}
