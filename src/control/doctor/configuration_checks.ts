/** Whether a configuration and a machine fit: what `tapir doctor -f` looks at beside the machine itself. */
import type { Prefix } from "../../packet/ipv4_address.ts";
import { contains, formatAddress } from "../../packet/ipv4_address.ts";
import { counted, type Finding, missing, ok, problem, warning } from "./finding.ts";
import { OWN_DESCRIPTORS } from "./machine.ts";
import { checkRaw, type RawMachine } from "./raw_checks.ts";

/** A container's TAP, or one that an uplink makes. */
export interface TapFacts {
  name: string;
  ifname: string;
  /** Where it is made; absent for the router's own namespace. */
  netns?: string;
  /** Whether the namespace is there, and whether it could be looked into. */
  namespace: "there" | "absent" | "closed";
  /** Whether there is a device of that name already. */
  isTaken: boolean;
}

/** The device that a packet uplink is on. */
export interface UplinkFacts {
  name: string;
  device: string;
  isThere: boolean;
  /** It has been set down; a router that starts sets it up. */
  isDown?: boolean;
  /** An address of the kernel's on it. */
  address?: string;
  /** It is a kernel bridge, or a port of one. */
  isBridged: boolean;
  /** Bytes; 0 where the device is not there. */
  mtu: number;
  /** MTU that the configuration asks for; 0: the device's. */
  wantedMtu: number;
  /** Whether it merges what it receives (GRO); absent for virtual devices, and where ethtool could not tell. */
  merges?: boolean;
}

export interface NetworkFacts {
  name: string;
  subnet: Prefix;
}

export interface KernelRoute {
  to: Prefix;
  device: string;
}

export interface ConfigurationFacts {
  taps: readonly TapFacts[];
  uplinks: readonly UplinkFacts[];
  networks: readonly NetworkFacts[];
  /** Routes of the router's namespace, the default route left out. */
  routes: readonly KernelRoute[];
  /** net.ipv4.ip_forward of the router's namespace. */
  kernelForwards: boolean;
  /** net.bridge.bridge-nf-call-iptables. */
  bridgeAsksIptables: boolean;
  /** Bytes that the tables take, and that the machine has to give. */
  neededBytes: number;
  availableBytes: number;
  /** Hard limit of open files. */
  openFiles: number;
  /** What uplinks that share the host's address meet. */
  raw: RawMachine;
  /** A router with this socket runs: devices of its names are its own. */
  isRunning: boolean;
}

export function checkConfigurationFacts(facts: ConfigurationFacts): Finding[] {
  return [
    ...facts.taps.flatMap((tap) => checkTap(tap, facts.isRunning)),
    ...summarize(facts),
    ...facts.uplinks.flatMap((uplink) => checkUplink(uplink, facts.isRunning)),
    ...checkRaw(facts.raw),
    ...checkOverlaps(facts),
    ...checkForwarding(facts),
    ...checkBridges(facts),
    checkMemory(facts),
    ...checkDescriptors(facts),
  ];
}

function placeOf({ netns }: TapFacts): string {
  return netns === undefined ? "the router's namespace" : netns.replace(/^\/run\/netns\//, "");
}

export function checkTap(tap: TapFacts, isRunning: boolean): Finding[] {
  const check = `port ${tap.name}`;
  if (tap.namespace === "absent") {
    const name = /^\/run\/netns\/(.*)$/.exec(tap.netns ?? "")?.[1];
    if (name === undefined) return [problem(check, `no process has ${tap.netns}`, "name a process that runs")];
    return [problem(check, `there is no namespace called ${name}`, `make it with \`ip netns add ${name}\``)];
  }
  if (tap.namespace === "closed") {
    return [missing(check, `${placeOf(tap)} cannot be entered`, "run as root, or with CAP_SYS_ADMIN")];
  }
  if (tap.isTaken && !isRunning) {
    const cure = "remove it, or give the port another `ifname`";
    return [problem(check, `there is a device called ${tap.ifname} in ${placeOf(tap)} already`, cure)];
  }
  return [];
}

/** One line for all ports that nothing is wrong with. */
function summarize({ taps, isRunning }: ConfigurationFacts): Finding[] {
  const good = taps.filter((tap) => checkTap(tap, isRunning).length === 0);
  if (good.length === 0) return [];
  const namespaces = new Set(good.map(({ netns }) => netns)).size;
  return [ok("ports", `${counted(good.length, "TAP")} for ${counted(namespaces, "namespace")}`)];
}

export function checkUplink(uplink: UplinkFacts, isRunning: boolean): Finding[] {
  const check = `uplink ${uplink.name}`;
  const { device } = uplink;
  if (!uplink.isThere) {
    const cure = "run the doctor and the router in the namespace that has it, or correct `device`";
    return [problem(check, `there is no device called ${device} here`, cure)];
  }
  const findings: Finding[] = [];
  if (uplink.address !== undefined) {
    const found = `${device} carries the kernel's address ${uplink.address}, and both would answer`;
    findings.push(problem(check, found, `take it off with \`ip address flush dev ${device}\``));
  }
  if (isRunning && uplink.isDown === true) {
    findings.push(problem(check, `${device} is down, and its routes with it`, `ip link set ${device} up`));
  }
  if (uplink.wantedMtu > uplink.mtu) {
    const found = `its MTU is to be ${uplink.wantedMtu}, that of ${device} is ${uplink.mtu}`;
    findings.push(problem(check, found, `leave \`mtu\` out, or: ip link set ${device} mtu ${uplink.wantedMtu}`));
  }
  if (uplink.merges === false) {
    const found = `${device} does not merge segments (GRO): bulk TCP arrives packet by packet`;
    findings.push(warning(check, found, `switch it on with \`ethtool -K ${device} gro on\``));
  }
  if (findings.length > 0) return findings;
  return [ok(check, `${device} ${isRunning ? "is the router's" : "is free for it"}, MTU ${uplink.mtu}`)];
}

const text = ({ address, length }: Prefix): string => `${formatAddress(address)}/${length}`;

const overlap = (left: Prefix, right: Prefix): boolean =>
  contains(left.length <= right.length ? left : right, left.length <= right.length ? right.address : left.address);

export function checkOverlaps({ networks, routes }: Pick<ConfigurationFacts, "networks" | "routes">): Finding[] {
  return networks.flatMap(({ name, subnet }) =>
    routes
      .filter(({ to }) => overlap(subnet, to))
      .map(({ to, device }) => {
        const found = `${text(subnet)} overlaps the kernel's route ${text(to)} over ${device} in the router's namespace`;
        return warning(`network ${name}`, found, "take another subnet, or run the router in a namespace of its own");
      }),
  );
}

type Forwarding = Pick<ConfigurationFacts, "kernelForwards" | "uplinks">;

export function checkForwarding({ kernelForwards, uplinks }: Forwarding): Finding[] {
  const device = uplinks.find(({ isThere }) => isThere)?.device;
  if (device === undefined) return [];
  if (!kernelForwards) return [ok("ip_forward", "0: the kernel does not route beside Tapir")];
  const found = `1: the kernel routes what comes over ${device} for the device's own hardware address, past Tapir's rules`;
  return [
    warning("ip_forward", found, "sysctl -w net.ipv4.ip_forward=0, or move the device to a namespace of its own"),
  ];
}

type Bridges = Pick<ConfigurationFacts, "bridgeAsksIptables" | "uplinks">;

export function checkBridges({ bridgeAsksIptables, uplinks }: Bridges): Finding[] {
  if (!bridgeAsksIptables) return [];
  return uplinks
    .filter(({ isBridged }) => isBridged)
    .map(({ name, device }) => {
      const found = `${device} is part of a kernel bridge, whose frames meet the host's iptables and conntrack as well`;
      return warning(`uplink ${name}`, found, "sysctl -w net.bridge.bridge-nf-call-iptables=0");
    });
}

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;

type Memory = Pick<ConfigurationFacts, "neededBytes" | "availableBytes">;

export function checkMemory({ neededBytes, availableBytes }: Memory): Finding {
  const found = `the tables take up to ${mebibytes(neededBytes)}; ${mebibytes(availableBytes)} are available`;
  if (neededBytes <= availableBytes / 2) return ok("memory", found);
  const cure = "lower `limits.flows`, or give the machine more memory";
  return neededBytes <= availableBytes ? warning("memory", found, cure) : problem("memory", found, cure);
}

export function checkDescriptors({ taps, uplinks, openFiles }: ConfigurationFacts): Finding[] {
  const needed = taps.length + uplinks.length + OWN_DESCRIPTORS;
  if (needed <= openFiles) return [];
  const cure = `raise the hard limit with \`ulimit -Hn ${needed * 2}\``;
  return [problem("open files", `${needed} are needed, the limit is ${openFiles}`, cure)];
}
