/** What `tapir doctor` says of a machine: each check is a function of facts, so that any machine can be presented. */
import { CAPABILITY_NAMES, type CapabilityName } from "./capabilities.ts";
import { counted, type Finding, missing, ok, problem, warning } from "./finding.ts";

/** What a try in a namespace of its own has shown; `error` where it could not be made. */
export type Probe =
  | {
      /** TUN_F_* bits that a TAP took. */
      offloads: number;
      /** Why a packet socket did not take PACKET_VNET_HDR, or could not be opened; absent when it did. */
      packetError?: string;
    }
  | { error: string };

export interface NamedNamespace {
  name: string;
  /** A file that no namespace is mounted on is a leftover. */
  isNamespace: boolean;
}

export interface MachineFacts {
  /** `process.version`. */
  node: string;
  /** Why the addon does not load; absent when it does. */
  addonError?: string;
  /** Release of the kernel, as `uname -r` prints it. */
  kernel: string;
  cpus: number;
  /** Whether io_uring can be used. */
  hasRing: boolean;
  /** Effective capabilities of this process, as bits (capabilities(7)). */
  capabilities: bigint;
  /** errno's name from opening /dev/net/tun for reading and writing; absent when it opened. */
  tunError?: string;
  /** Absent where /run/netns is not there. */
  namespaces?: NamedNamespace[];
  probe: Probe;
  /** Soft and hard limits of open files and of locked memory in bytes; `Infinity`: unlimited. */
  openFiles: { soft: number; hard: number };
  lockedBytes: number;
  /** Commands that were looked for and are there. */
  commands: readonly string[];
  /** `ip -V`, where it runs. */
  iproute2?: string;
  /** Other programs called `tapir` on PATH. */
  namesakes: readonly string[];
}

const RUN_AS_ROOT = "run as root, or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN";

export function checkMachine(facts: MachineFacts): Finding[] {
  return [
    checkNode(facts),
    checkAddon(facts),
    checkKernel(facts),
    checkProcessors(facts),
    checkRing(facts),
    ...checkCapabilities(facts),
    checkTun(facts),
    ...checkNamespaces(facts),
    ...checkOffloads(facts),
    checkOpenFiles(facts),
    checkLockedMemory(facts),
    ...checkCommands(facts),
    checkNamesakes(facts),
  ];
}

/** Whether a version `major.minor…` is at least the other. */
function isAtLeast(version: string, major: number, minor: number): boolean {
  const [, ownMajor, ownMinor] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(ownMajor) > major || (Number(ownMajor) === major && Number(ownMinor) >= minor);
}

export function checkNode({ node }: Pick<MachineFacts, "node">): Finding {
  if (isAtLeast(node, 20, 19)) return ok("Node.js", node);
  return missing("Node.js", `${node} is too old`, "install Node.js 20.19 or newer");
}

export function checkAddon({ addonError, node }: Pick<MachineFacts, "addonError" | "node">): Finding {
  if (addonError === undefined) return ok("addon", `loads in Node.js ${node}`);
  return missing("addon", `does not load (${addonError})`, "build it for this Node.js with `npm run build:native`");
}

export function checkKernel({ kernel }: Pick<MachineFacts, "kernel">): Finding {
  if (isAtLeast(kernel, 6, 2)) return ok("kernel", kernel);
  if (isAtLeast(kernel, 5, 4)) {
    return warning("kernel", `${kernel} has no UDP segmentation for TAPs`, "a kernel from 6.2 on carries UDP faster");
  }
  return problem("kernel", `${kernel} is older than what Tapir is tried on`, "use a kernel from 5.4 on");
}

export function checkProcessors({ cpus }: Pick<MachineFacts, "cpus">): Finding {
  if (cpus > 1) return ok("processors", `${cpus}`);
  return warning("processors", "1: containers wait while the router works", "give the machine a second processor");
}

export function checkRing({ hasRing }: Pick<MachineFacts, "hasRing">): Finding {
  if (hasRing) return ok("io_uring", "reads and writes of TAPs share system calls");
  const cure = "Linux 6.1 with kernel.io_uring_disabled=0 has it (`sysctl kernel.io_uring_disabled`)";
  return warning("io_uring", "not there: each frame of a TAP costs a system call of its own", cure);
}

const PURPOSES: Record<CapabilityName, string> = {
  CAP_NET_ADMIN: "to make TAP devices and give them addresses",
  CAP_NET_RAW: "for packet sockets on uplinks",
  CAP_SYS_ADMIN: "to enter the containers' namespaces",
};

export function checkCapabilities({ capabilities }: Pick<MachineFacts, "capabilities">): Finding[] {
  return Object.entries(CAPABILITY_NAMES).map(([name, bit]) => {
    if (((capabilities >> BigInt(bit)) & 1n) === 1n) return ok(name, "held");
    return missing(name, `not held, but needed ${PURPOSES[name as CapabilityName]}`, RUN_AS_ROOT);
  });
}

export function checkTun({ tunError }: Pick<MachineFacts, "tunError">): Finding {
  const check = "/dev/net/tun";
  switch (tunError) {
    case undefined:
      return ok(check, "opens");
    case "ENOENT":
      return missing(check, "is not there", "load the kernel's TUN/TAP driver with `modprobe tun`");
    case "ENODEV":
    case "ENXIO":
      return missing(check, "has no driver behind it", "load the kernel's TUN/TAP driver with `modprobe tun`");
    default:
      return missing(check, `cannot be opened (${tunError})`, `run as root, or let users open it: chmod 0666 ${check}`);
  }
}

export function checkNamespaces({ namespaces }: Pick<MachineFacts, "namespaces">): Finding[] {
  const check = "/run/netns";
  if (namespaces === undefined) return [ok(check, "not there yet: the first `ip netns add` makes it")];
  const stale = namespaces.filter((each) => !each.isNamespace).map(({ name }) => name);
  const live = namespaces.length - stale.length;
  const leftovers = stale.map((name) =>
    warning(check, `${name} is only a file, no namespace is mounted on it`, `remove it with \`ip netns del ${name}\``),
  );
  return [ok(check, counted(live, "named namespace")), ...leftovers];
}

/** TUN_F_CSUM, TUN_F_TSO4 and TUN_F_USO4 (linux/if_tun.h). */
const TunOffload = { CSUM: 0x01, TSO4: 0x02, USO4: 0x20 } as const;

export function checkOffloads({ probe }: Pick<MachineFacts, "probe">): Finding[] {
  if ("error" in probe) {
    return [warning("offloads", `could not be tried (${probe.error})`, "run the doctor as root to have them tried")];
  }
  const has = (bits: number): boolean => (probe.offloads & bits) === bits;
  const tap = has(TunOffload.CSUM | TunOffload.TSO4)
    ? ok("TAP offloads", `checksum and TCP segmentation${has(TunOffload.USO4) ? ", UDP segmentation" : ""}`)
    : warning("TAP offloads", "the kernel takes none: bulk TCP is slow", "use a kernel whose TUN driver has TSO");
  const udp = has(TunOffload.USO4)
    ? []
    : [warning("TAP offloads", "no UDP segmentation (TUN_F_USO4)", "a kernel from 6.2 on carries UDP faster")];
  const packet =
    probe.packetError === undefined
      ? ok("packet sockets", "take PACKET_VNET_HDR: large segments and open checksums cross an uplink as they are")
      : missing(
          "packet sockets",
          `a uplink's socket cannot be opened (${probe.packetError})`,
          "use a kernel with AF_PACKET, or an uplink of another kind",
        );
  return [tap, ...udp, packet];
}

/** Descriptors besides those of the ports: memory, channel, API, watchers, Node's own. */
export const OWN_DESCRIPTORS = 64;

export function checkOpenFiles({ openFiles }: Pick<MachineFacts, "openFiles">): Finding {
  const { hard } = openFiles;
  const check = "open files";
  if (hard === Infinity) return ok(check, "no limit");
  const ports = Math.max(0, hard - OWN_DESCRIPTORS);
  if (ports >= 512) return ok(check, `limit ${hard}`);
  const cure = "raise the hard limit with `ulimit -Hn 4096`";
  return warning(check, `limit ${hard}: enough for about ${counted(ports, "port")}`, cure);
}

export function checkLockedMemory({ lockedBytes }: Pick<MachineFacts, "lockedBytes">): Finding {
  const limit = lockedBytes === Infinity ? "no limit" : `limit ${Math.floor(lockedBytes / 1024)} KiB`;
  return ok("locked memory", `${limit}; Tapir locks none`);
}

interface Tool {
  name: string;
  package: string;
  purpose: string;
  /** Without it no router runs. */
  isNeeded?: true;
}

/** Commands that Tapir runs, or that its documentation uses. */
export const TOOLS: readonly Tool[] = [
  { name: "ip", package: "iproute2", purpose: "addresses and routes of the devices", isNeeded: true },
  { name: "flock", package: "util-linux", purpose: "the lock beside the router's socket", isNeeded: true },
  { name: "unshare", package: "util-linux", purpose: "`tapir lab` as an ordinary user" },
  { name: "ping", package: "iputils-ping", purpose: "`tapir lab`" },
  { name: "nft", package: "nftables", purpose: "uplinks that share the host's address" },
  { name: "ethtool", package: "ethtool", purpose: "looking at an uplink device's offloads" },
  { name: "tcpdump", package: "tcpdump", purpose: "the tutorial" },
];

export function checkCommands({ commands, iproute2 }: Pick<MachineFacts, "commands" | "iproute2">): Finding[] {
  const absent = TOOLS.filter(({ name }) => !commands.includes(name)).map((tool) => {
    const cure = `apt-get install -y ${tool.package}`;
    const said = `${tool.name} is not installed; it is for ${tool.purpose}`;
    return tool.isNeeded === true ? missing("commands", said, cure) : warning("commands", said, cure);
  });
  const there = TOOLS.filter(({ name }) => commands.includes(name)).map(({ name }) =>
    name === "ip" && iproute2 !== undefined ? `ip (${iproute2})` : name,
  );
  return there.length === 0 ? absent : [ok("commands", there.join(", ")), ...absent];
}

export function checkNamesakes({ namesakes }: Pick<MachineFacts, "namesakes">): Finding {
  if (namesakes.length === 0) return ok("name", "no other program is called tapir on PATH");
  const found = `another program is called tapir on PATH: ${namesakes.join(", ")}`;
  return warning("name", found, "call this one by its path, or put its folder first on PATH");
}
