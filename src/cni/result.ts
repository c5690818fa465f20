/**
 * Results (section 5 of 1.0.0 and 1.1.0, "Result" of 0.4.0): what ADD prints, what IPAM plugins print, and what comes
 * back as `prevResult`. The versions differ in `ips[].version`, which only 0.4.0 has, and `interfaces[].mtu`, which only 1.1.0 has.
 */
import { CniError, Code, quote } from "./errors.ts";
import type { Version } from "./network.ts";

export interface ResultInterface {
  name: string;
  mac?: string;
  mtu?: number;
  sandbox?: string;
}

export interface ResultAddress {
  /** With its prefix length. */
  address: string;
  gateway?: string;
  /** Index in `interfaces`. */
  interface?: number;
}

export interface ResultRoute {
  dst: string;
  gw?: string;
}

export interface Result {
  interfaces: ResultInterface[];
  ips: ResultAddress[];
  routes: ResultRoute[];
  dns?: object;
}

/** @throws CniError for what is none; keys that the plugin does not know stay as they are. */
export function readResult(value: unknown, what: string): Result {
  const { interfaces, ips, routes, dns } = (value ?? {}) as Record<string, unknown>;
  const read = {
    interfaces: listOf<ResultInterface>(interfaces, `${what}.interfaces`, "name"),
    ips: listOf<ResultAddress>(ips, `${what}.ips`, "address"),
    routes: listOf<ResultRoute>(routes, `${what}.routes`, "dst"),
  };
  return typeof dns === "object" && dns !== null ? { ...read, dns } : read;
}

function listOf<T>(value: unknown, what: string, key: string): T[] {
  if (value === undefined || value === null) return [];
  const isOne = (each: unknown): boolean => typeof (each as Record<string, unknown> | null)?.[key] === "string";
  if (Array.isArray(value) && value.every(isOne)) return value as T[];
  throw new CniError(Code.DECODING_FAILURE, `${what}: expected a list of maps with "${key}", not ${quote(value)}`);
}

/** Two results in a row: the second's addresses are of its own interfaces. */
export function appended(former: Result | undefined, own: Result): Result {
  if (former === undefined) return own;
  const shift = former.interfaces.length;
  const ips = own.ips.map((each) =>
    each.interface === undefined ? each : { ...each, interface: each.interface + shift },
  );
  const dns = { ...own.dns, ...former.dns };
  return {
    interfaces: [...former.interfaces, ...own.interfaces],
    ips: [...former.ips, ...ips],
    routes: [...former.routes, ...own.routes],
    ...(Object.keys(dns).length === 0 ? {} : { dns }),
  };
}

/** As ADD prints it. */
export function writeResult(version: Version, { interfaces, ips, routes, dns = {} }: Result): object {
  return {
    cniVersion: version,
    interfaces: interfaces.map(({ mtu, ...each }) =>
      version === "1.1.0" && mtu !== undefined ? { ...each, mtu } : each,
    ),
    ips: ips.map((each) => withVersion(version, each)),
    routes,
    dns,
  };
}

function withVersion(version: Version, entry: ResultAddress): object {
  const { version: _, ...rest } = entry as ResultAddress & { version?: string };
  return version === "0.4.0" ? { version: rest.address.includes(":") ? "6" : "4", ...rest } : rest;
}
