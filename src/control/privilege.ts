/**
 * What the two processes may do (capabilities(7)): what the control process keeps, how the dataplane is started without
 * any, and what the kernel says that they have. docs/security.md tells why.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { native } from "../io/native.ts";

/** What the control process goes on needing, by the numbers of linux/capability.h, and what for. */
export const KEPT_CAPABILITIES = {
  /** Files and folders of other users: the configuration, the socket's place. */
  CAP_DAC_OVERRIDE: 1,
  /** To start a dataplane that can never have a capability. */
  CAP_SETPCAP: 8,
  /** The DHCP client's port, and metrics on a low one. */
  CAP_NET_BIND_SERVICE: 10,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  /** The namespaces of containers that are named by a process of another user. */
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
} as const;

const KEPT_BITS = Object.values(KEPT_CAPABILITIES).reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);

/** `TAPIR_CONFINE=0`: all processes keep what they were started with. */
const isOff = (): boolean => process.env.TAPIR_CONFINE === "0";

/**
 * The control process gives up what it does not need, and with it what it starts later (`ip`, `nft`). It is the calling
 * thread that does: the threads that V8 has started before keep theirs, unless the service manager has limited them all.
 */
export function keepWhatControlNeeds(): void {
  if (!isOff()) native().keepCapabilities(KEPT_BITS);
}

/**
 * The words of a command that runs `words` without capabilities and without a way to get any: all its threads from the
 * first on. `setpriv` (util-linux) does it where it is there and CAP_SETPCAP is held; elsewhere the command stays as it is.
 */
export function withoutCapabilities(words: readonly string[]): string[] {
  const setpriv = isOff() || !canLimit() ? undefined : findCommand("setpriv");
  if (setpriv === undefined) return [...words];
  const none = ["--no-new-privs", "--ambient-caps=-all", "--inh-caps=-all", "--bounding-set=-all"];
  return [setpriv, ...none, "--", ...words];
}

function canLimit(): boolean {
  const { effective } = readThread(readFileSync("/proc/self/status", "latin1"));
  return ((effective >> BigInt(KEPT_CAPABILITIES.CAP_SETPCAP)) & 1n) === 1n;
}

function findCommand(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/bin", "/bin"];
  return folders.map((folder) => join(folder, name)).find((path) => path.startsWith("/") && existsSync(path));
}

interface Thread {
  effective: bigint;
  noNewPrivileges: boolean;
  filtered: boolean;
}

/** What proc(5) says of a thread. */
function readThread(status: string): Thread {
  const field = (name: string): string => new RegExp(`^${name}:\\s*([0-9a-f]+)$`, "m").exec(status)?.[1] ?? "0";
  return {
    // What it may have at any time, too: it is one call away from being effective.
    effective: BigInt(`0x${field("CapEff")}`) | BigInt(`0x${field("CapPrm")}`),
    noNewPrivileges: field("NoNewPrivs") === "1",
    filtered: field("Seccomp") === "2",
  };
}

export interface Confinement {
  /** Bits of all capabilities that any of its threads holds, as /proc/PID/status has them: 16 hexadecimal digits. */
  capabilities: string;
  /** True of all of its threads. */
  noNewPrivileges: boolean;
  /** Whether a system call filter is in force (seccomp(2)), in all of its threads. */
  filtered: boolean;
}

/** What the kernel says of a process; undefined where there is none. */
export function confinementOf(pid: number): Confinement | undefined {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`);
    const threads = tasks.map((task) => readThread(readFileSync(`/proc/${pid}/task/${task}/status`, "latin1")));
    const held = threads.reduce((bits, { effective }) => bits | effective, 0n);
    return {
      capabilities: held.toString(16).padStart(16, "0"),
      noNewPrivileges: threads.every((each) => each.noNewPrivileges),
      filtered: threads.every((each) => each.filtered),
    };
  } catch {
    return undefined;
  }
}

/** What is so where nothing is lacking. */
export const CONFINED = "no capabilities, no_new_privs, a system call filter";

/** What a process has that a dataplane should not, in words. */
export function lacksOf({ capabilities, noNewPrivileges, filtered }: Confinement): string[] {
  return [
    ...(/^0+$/.test(capabilities) ? [] : [`it holds capabilities (${capabilities})`]),
    ...(noNewPrivileges ? [] : ["no_new_privs is not set"]),
    ...(filtered ? [] : ["no system call filter"]),
  ];
}
