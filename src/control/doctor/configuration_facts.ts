/** Gathers what this machine has of the things that a configuration names. Looks only; changes nothing. */
import { readFileSync } from "node:fs";
import { freemem } from "node:os";
import { FlowTable } from "../../conntrack/flow_table.ts";
import { native } from "../../io/native.ts";
import type { Prefix } from "../../packet/ipv4_address.ts";
import { prefixMask } from "../../packet/ipv4_address.ts";
import { readPrefixOrAddress } from "../configuration/addresses.ts";
import type { DevicePlan, ResolvedPlan } from "../configuration/configuration.ts";
import { isNamespace } from "../network_namespace.ts";
import type { ConfigurationFacts, KernelRoute, NetworkFacts, TapFacts, UplinkFacts } from "./configuration_checks.ts";
import { limitOf, outputOf } from "./machine_facts.ts";
import { gatherRaw } from "./raw_facts.ts";

/** Bytes of the frames' arena and of two Node.js processes at rest. */
const BASE_BYTES = 512 << 20;

export function gatherConfiguration(resolved: ResolvedPlan, isRunning: boolean): ConfigurationFacts {
  const { devices, limits, plan } = resolved;
  return {
    taps: devices.filter(({ kind }) => kind === "tap").map(tapFacts),
    uplinks: devices.filter(({ kind }) => kind === "packet").map(uplinkFacts),
    raw: gatherRaw(devices),
    networks: plan.interfaces.filter(({ kind }) => kind === "network").map(networkFacts),
    routes: kernelRoutes(),
    kernelForwards: setting("net/ipv4/ip_forward") === "1",
    bridgeAsksIptables: setting("net/bridge/bridge-nf-call-iptables") === "1",
    neededBytes: BASE_BYTES + FlowTable.bytesFor(limits.flows),
    availableBytes: availableBytes(),
    openFiles: limitOf(readFileSync("/proc/self/limits", "latin1"), "Max open files").hard,
    isRunning,
  };
}

const setting = (path: string): string | undefined => {
  try {
    return readFileSync(`/proc/sys/${path}`, "latin1").trim();
  } catch {
    return undefined;
  }
};

function availableBytes(): number {
  const kibibytes = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "latin1"))?.[1];
  return kibibytes === undefined ? freemem() : Number(kibibytes) * 1024;
}

function networkFacts(each: { name: string; address: number; prefixLength: number }): NetworkFacts {
  const { name, address, prefixLength: length } = each;
  return { name, subnet: { address: address & prefixMask(length), length } };
}

function tapFacts({ name, ifname, netns }: DevicePlan): TapFacts {
  const facts = { name, ifname, ...(netns === undefined ? {} : { netns }) };
  if (netns !== undefined && !isNamespace(netns)) return { ...facts, namespace: "absent", isTaken: false };
  try {
    const look = (): string | undefined => outputOf("ip", ["-j", "link", "show", "dev", ifname]);
    const isTaken = (netns === undefined ? look() : native().inNamespace(netns, look)) !== undefined;
    return { ...facts, namespace: "there", isTaken };
  } catch {
    return { ...facts, namespace: "closed", isTaken: false };
  }
}

interface KernelDevice {
  mtu: number;
  flags?: string[];
  master?: string;
  linkinfo?: { info_kind?: string; info_slave_kind?: string };
  addr_info?: { family: string; local: string }[];
}

function uplinkFacts({ name, ifname, mtu }: DevicePlan): UplinkFacts {
  const facts = { name, device: ifname, wantedMtu: mtu };
  const shown = outputOf("ip", ["-j", "-d", "address", "show", "dev", ifname]);
  if (shown === undefined) return { ...facts, isThere: false, isBridged: false, mtu: 0 };
  const [device] = (JSON.parse(shown) as KernelDevice[]).filter((each) => each.mtu !== undefined);
  const held = device.addr_info?.find(({ family }) => family === "inet");
  // A virtual device hands on the segments that its other end sent: there is nothing to merge.
  const isVirtual = device.linkinfo?.info_kind !== undefined;
  const merges = isVirtual ? undefined : mergesOf(outputOf("ethtool", ["-k", ifname]));
  return {
    ...facts,
    isThere: true,
    isDown: device.flags?.includes("UP") === false,
    isBridged: device.linkinfo?.info_kind === "bridge" || device.linkinfo?.info_slave_kind === "bridge",
    mtu: device.mtu,
    ...(held === undefined ? {} : { address: held.local }),
    ...(merges === undefined ? {} : { merges }),
  };
}

/** Whether `ethtool -k` says that GRO is on. */
export function mergesOf(features: string | undefined): boolean | undefined {
  const state = /^generic-receive-offload: (on|off)/m.exec(features ?? "")?.[1];
  return state === undefined ? undefined : state === "on";
}

function kernelRoutes(): KernelRoute[] {
  const shown = outputOf("ip", ["-j", "-4", "route", "show", "table", "main"]);
  return readRoutes(shown ?? "[]");
}

/** Routes from the JSON of `ip route`; the default route overlaps everything and says nothing. */
export function readRoutes(text: string): KernelRoute[] {
  const routes = JSON.parse(text) as { dst: string; dev?: string }[];
  return routes.flatMap(({ dst, dev }) => {
    const to: Prefix | undefined = dst === "default" ? undefined : readPrefixOrAddress(dst, [], () => {});
    return to === undefined || to.length === 0 || dev === undefined ? [] : [{ to, device: dev }];
  });
}
