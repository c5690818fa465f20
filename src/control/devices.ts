/**
 * Devices: TAPs made in the containers' namespaces, packet sockets on devices of the router's own. iproute2 gives them
 * addresses and routes. A TAP lives as long as a process holds its descriptor, so nothing made here outlives Tapir.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { getSystemErrorName } from "node:util";
import { native } from "../io/native.ts";
import { formatAddress } from "../packet/ipv4_address.ts";
import type { DevicePlan } from "./configuration/configuration.ts";
import type { RawPlan } from "./configuration/devices.ts";
import { isRunning } from "./container_process.ts";
import { ExitCode, type SystemError, TapirError } from "./errors.ts";
import { isNamespace } from "./network_namespace.ts";
import { RawUplink } from "./uplinks/raw/raw_uplink.ts";

/** What a TAP's descriptor says once its device is gone (errno(3)); Node does not know it. */
const EBADFD = 77;
/** TUN_F_USO4 (linux/if_tun.h). */
const USO4 = 0x20;

export interface OpenDevice {
  plan: DevicePlan;
  fd: number;
  /** Bytes. */
  mtu: number;
  /** Of a device that the router has not made. */
  ifindex?: number;
  /** The other end of a raw uplink's descriptor. */
  raw?: RawUplink;
  /** Whether the kernel cuts a datagram with a segmentation size (UDP segmentation offload, Linux 6.2); only TAPs tell. */
  cutsDatagrams: boolean;
}

/** Why a device has failed: `errno` is what its descriptor says when the device itself is no more, or another error. */
export function failureOf({ netns }: DevicePlan, errno: number): string {
  if (errno !== EBADFD && errno !== constants.errno.ENODEV) return getSystemErrorName(-errno);
  return netns === undefined || isNamespace(netns) ? "its device is gone" : "its namespace is gone";
}

/** What has to be there before anything is made; throws a `TapirError` that names it and the cure. */
export function checkSystem(devices: readonly DevicePlan[]): void {
  if (devices.some((device) => device.kind === "tap") && !existsSync("/dev/net/tun")) {
    throw new TapirError("there is no /dev/net/tun: load the kernel module with `modprobe tun`", ExitCode.PRIVILEGE);
  }
  try {
    execFileSync("ip", ["-V"], { stdio: "pipe" });
  } catch {
    throw new TapirError("iproute2 is missing: apt-get install -y iproute2", ExitCode.PRIVILEGE);
  }
}

/** Opens the device and configures it; what it has made is gone again when it throws. */
export function openDevice(plan: DevicePlan): OpenDevice {
  const lacking = noNamespaceOf(plan);
  if (lacking !== undefined) throw new TapirError(lacking);
  if (plan.raw !== undefined) return openRaw(plan, plan.raw);
  return plan.kind === "tap" ? openTap(plan) : openPacket(plan);
}

export function closeDevice(device: OpenDevice): void {
  native().closeDescriptor(device.fd);
  device.raw?.close();
}

/** Says that the device's namespace is not there, or is another container's by now; undefined when it is. */
export function noNamespaceOf({ name, netns, process: owner }: DevicePlan): string | undefined {
  if (owner !== undefined && !isRunning(owner)) return `port ${name}: process ${owner.pid} has ended`;
  return netns === undefined || isNamespace(netns) ? undefined : `port ${name}: ${noNamespace(netns)}`;
}

function noNamespace(path: string): string {
  const name = /^\/run\/netns\/(.*)$/.exec(path)?.[1];
  if (path.startsWith("/proc/")) return `no process with the namespace ${path}`;
  if (name === undefined) return `no namespace at ${path}`;
  return `no namespace called ${name} (ip netns add ${name})`;
}

function openTap(plan: DevicePlan): OpenDevice {
  const { netns, ifname } = plan;
  // TUNSETIFF attaches to a TAP that is there already: somebody else's.
  if (deviceExists(netns, ifname)) {
    throw new TapirError(`port ${plan.name}: there is a device called ${ifname} already${inWhich(netns)}`);
  }
  const { fd, offloads } = attempt(plan, () => native().openTap({ ifname, ...(netns === undefined ? {} : { netns }) }));
  try {
    configureTap(plan);
  } catch (error) {
    native().closeDescriptor(fd);
    throw error;
  }
  return { plan, fd, mtu: plan.mtu === 0 ? 1500 : plan.mtu, cutsDatagrams: (offloads & USO4) !== 0 };
}

function configureTap(plan: DevicePlan): void {
  const { ifname, address } = plan;
  const lines = [
    `link set dev ${ifname} address ${plan.mac}`,
    `link set dev ${ifname} mtu ${plan.mtu === 0 ? 1500 : plan.mtu}`,
  ];
  if (plan.isHandedOver) {
    runIp(plan, lines);
    return;
  }
  if (address !== undefined) {
    lines.push(`addr add ${formatAddress(address.address)}/${address.prefixLength} dev ${ifname}`);
  }
  if (plan.netns !== undefined) lines.push("link set dev lo up");
  lines.push(`link set dev ${ifname} up`);
  if (plan.defaultVia !== undefined)
    lines.push(`route replace default via ${formatAddress(plan.defaultVia)} dev ${ifname}`);
  for (const { to, via } of plan.routes ?? []) lines.push(`route replace ${to} via ${via} dev ${ifname}`);
  runIp(plan, lines);
}

interface KernelAddress {
  ifindex: number;
  mtu: number;
  addr_info?: { family: string; local: string }[];
}

function openPacket(plan: DevicePlan): OpenDevice {
  const { netns, ifname } = plan;
  if (!deviceExists(netns, ifname)) {
    throw new TapirError(`uplink ${plan.name}: there is no device called ${ifname}${inWhich(netns)}`);
  }
  const shown = JSON.parse(ip(netns, ["-j", "-4", "addr", "show", "dev", ifname])) as KernelAddress[];
  const held = shown.flatMap((device) => device.addr_info ?? []).find((each) => each.family === "inet");
  if (held !== undefined) {
    throw new TapirError(
      `uplink ${plan.name}: ${ifname} carries the kernel's address ${held.local}, and both would answer ` +
        `(ip addr flush dev ${ifname})`,
    );
  }
  runIp(plan, [`link set dev ${ifname} up`]);
  const socket = attempt(plan, () =>
    native().openPacketSocket({ device: ifname, ...(netns === undefined ? {} : { netns }) }),
  );
  const { fd, ifindex, mtu } = socket;
  return { plan, fd, ifindex, mtu: plan.mtu === 0 ? mtu : plan.mtu, cutsDatagrams: false };
}

/** The device stays the host's: it is not touched, and has to carry the address. */
function openRaw(plan: DevicePlan, raw: RawPlan): OpenDevice {
  const { name, ifname } = plan;
  if (!deviceExists(undefined, ifname)) throw new TapirError(`uplink ${name}: there is no device called ${ifname}`);
  const shown = JSON.parse(ip(undefined, ["-j", "-4", "addr", "show", "dev", ifname])) as KernelAddress[];
  const device = shown.find(({ mtu }) => mtu !== undefined);
  const address = formatAddress(raw.address);
  if (device?.addr_info?.some(({ local }) => local === address) !== true) {
    throw new TapirError(
      `uplink ${name}: ${ifname} does not carry ${address}, which a raw uplink shares with the host ` +
        `(ip addr add ${address}/PREFIX dev ${ifname}, or kind packet)`,
    );
  }
  const mtu = plan.mtu === 0 ? device.mtu : plan.mtu;
  const uplink = attempt(plan, () => new RawUplink(raw, plan.mac, mtu));
  return { plan, fd: uplink.fd, ifindex: device.ifindex, raw: uplink, mtu, cutsDatagrams: false };
}

function inWhich(netns: string | undefined): string {
  return netns === undefined ? "" : ` in ${netns}`;
}

function deviceExists(netns: string | undefined, ifname: string): boolean {
  try {
    ip(netns, ["-j", "link", "show", "dev", ifname]);
    return true;
  } catch (error) {
    if (error instanceof TapirError) throw error;
    return false;
  }
}

/** Runs iproute2 in a namespace; the child inherits the namespace of the thread that spawns it. */
function ip(netns: string | undefined, words: readonly string[], input?: string): string {
  const run = (): string =>
    execFileSync("ip", words, { encoding: "utf8", stdio: "pipe", ...(input === undefined ? {} : { input }) });
  return netns === undefined ? run() : enter(netns, run);
}

function enter<T>(netns: string, body: () => T): T {
  try {
    return native().inNamespace(netns, body);
  } catch (error) {
    if ((error as SystemError).syscall === "setns") throw explain(error as SystemError, netns);
    throw error;
  }
}

function runIp(plan: DevicePlan, lines: readonly string[]): void {
  try {
    ip(plan.netns, ["-batch", "-"], `${lines.join("\n")}\n`);
  } catch (error) {
    if (error instanceof TapirError) throw error;
    const said = String((error as { stderr?: string }).stderr ?? (error as Error).message).split("\n")[0];
    throw new TapirError(
      `port ${plan.name}: ip: ${said}`,
      /permitted/.test(said) ? ExitCode.PRIVILEGE : ExitCode.FAILED,
    );
  }
}

function attempt<T>(plan: DevicePlan, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof TapirError) throw error;
    throw explain(error as SystemError, `port ${plan.name}`);
  }
}

/** The kernel's no in words, with the cure where there is one. */
function explain(error: SystemError, subject: string): TapirError {
  if (error.code === "EPERM" || error.code === "EACCES") {
    return new TapirError(
      `${subject}: no privilege (${error.message}): run as root, or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN`,
      ExitCode.PRIVILEGE,
    );
  }
  if (error.code === "ENODEV" && error.syscall === "open /dev/net/tun") {
    return new TapirError(`${subject}: the kernel has no TUN/TAP driver: modprobe tun`, ExitCode.PRIVILEGE);
  }
  return new TapirError(`${subject}: ${error.message}`);
}
