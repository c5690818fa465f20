/** Gathers what this machine has for uplinks that share the host's address. Looks only; changes nothing. */
import { readFileSync } from "node:fs";
import { formatAddress } from "../../packet/ipv4_address.ts";
import type { DevicePlan } from "../configuration/configuration.ts";
import { guardTables, nftProblem } from "../uplinks/raw/guard.ts";
import { loadRawSocket } from "../uplinks/raw/socket.ts";
import { outputOf } from "./machine_facts.ts";
import { type RawFacts, type RawMachine, readPortList } from "./raw_checks.ts";

interface KernelDevice {
  mtu?: number;
  flags?: string[];
  addr_info?: { local: string }[];
}

export function gatherRaw(devices: readonly DevicePlan[]): RawMachine {
  const raws = devices.flatMap((device) => (device.raw === undefined ? [] : rawFacts(device)));
  const [first, last] = setting("ip_local_port_range", "32768 60999").split(/\s+/).map(Number);
  const facts = {
    raws,
    localPorts: { first, last },
    reservedPorts: readPortList(setting("ip_local_reserved_ports", "")),
    leftTables: guardTables().flatMap(({ name, owner }) => (owner === undefined ? [name] : [])),
  };
  if (raws.length === 0) return facts;
  const packageError = problemOfPackage();
  const nftError = nftProblem();
  return {
    ...facts,
    ...(packageError === undefined ? {} : { packageError }),
    ...(nftError === undefined ? {} : { nftError }),
  };
}

function rawFacts({ name, ifname, raw }: DevicePlan): RawFacts[] {
  if (raw === undefined) return [];
  const { ports } = raw;
  const address = formatAddress(raw.address);
  const shown = outputOf("ip", ["-j", "-4", "address", "show", "dev", ifname]);
  const device = (JSON.parse(shown ?? "[]") as KernelDevice[]).find(({ mtu }) => mtu !== undefined);
  const isCarried = device?.addr_info?.some(({ local }) => local === address) === true;
  const isUp = device?.flags?.includes("UP") === true;
  return [{ name, device: ifname, isThere: device !== undefined, isUp, address, isCarried, ports }];
}

function problemOfPackage(): string | undefined {
  try {
    loadRawSocket();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function setting(name: string, fallback: string): string {
  try {
    return readFileSync(`/proc/sys/net/ipv4/${name}`, "latin1").trim();
  } catch {
    return fallback;
  }
}
