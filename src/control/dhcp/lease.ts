/** What a DHCP server gives: read from the options of an OFFER or an ACK. */
import { DhcpOption, type DhcpOptions, firstAddressOf, wordOf } from "../../packet/dhcp.ts";
import { contains, type Prefix, prefixMask } from "../../packet/ipv4_address.ts";
import { isUnicast } from "../configuration/addresses.ts";

/** A lease of so many seconds never ends (RFC 2131 3.3). */
const FOREVER = 0xffffffff;
/** Fractions of the lease's time (RFC 2131 4.4.5). */
const T1_SHARE = 0.5;
const T2_SHARE = 0.875;
const LONGEST_PREFIX = 31;
const MOST_ROUTES = 64;

/** What the router's plan takes from a lease. Addresses are host-order signed words. */
export interface LeasedAddress {
  address: number;
  prefixLength: number;
  /** Of the classless routes (RFC 3442), or else the default route by the first router. */
  routes: { to: Prefix; via: number }[];
}

export interface Lease extends LeasedAddress {
  server: number;
  /** Infinity for one that never ends. */
  seconds: number;
  t1Seconds: number;
  t2Seconds: number;
}

/** Undefined for what is no usable lease: no or an impossible mask, no time, no server. */
export function readLease(address: number, options: DhcpOptions): Lease | undefined {
  const server = wordOf(options.get(DhcpOption.SERVER_ID));
  const given = wordOf(options.get(DhcpOption.LEASE_SECONDS));
  const prefixLength = lengthOf(wordOf(options.get(DhcpOption.SUBNET_MASK)));
  if (server === undefined || given === undefined || given === 0 || prefixLength === undefined) return undefined;
  const subnet = { address, length: prefixLength };
  if (!isHost(subnet, address)) return undefined;
  const isOther = (via: number): boolean => via !== address && contains(subnet, via) && isHost(subnet, via);
  return {
    address,
    prefixLength,
    routes: readRoutes(options).filter(({ via }) => isOther(via)),
    server,
    ...timesOf(given >>> 0, options),
  };
}

function timesOf(given: number, options: DhcpOptions): Pick<Lease, "seconds" | "t1Seconds" | "t2Seconds"> {
  if (given === FOREVER) return { seconds: Infinity, t1Seconds: Infinity, t2Seconds: Infinity };
  const defaults = { seconds: given, t1Seconds: given * T1_SHARE, t2Seconds: given * T2_SHARE };
  const t1 = wordOf(options.get(DhcpOption.T1_SECONDS));
  const t2 = wordOf(options.get(DhcpOption.T2_SECONDS));
  const t1Seconds = t1 === undefined ? defaults.t1Seconds : t1 >>> 0;
  const t2Seconds = t2 === undefined ? defaults.t2Seconds : t2 >>> 0;
  const areInOrder = t1Seconds > 0 && t1Seconds < t2Seconds && t2Seconds < given;
  return areInOrder ? { seconds: given, t1Seconds, t2Seconds } : defaults;
}

function lengthOf(mask: number | undefined): number | undefined {
  if (mask === undefined) return undefined;
  for (let length = 1; length <= LONGEST_PREFIX; length++) if (prefixMask(length) === mask) return length;
  return undefined;
}

function isHost({ address, length }: Prefix, host: number): boolean {
  if (!isUnicast(host)) return false;
  const mask = prefixMask(length);
  return length === 31 || (host !== (address & mask) && host !== (address | ~mask));
}

/** Where there are classless routes, the routers of option 3 do not count (RFC 3442). */
function readRoutes(options: DhcpOptions): LeasedAddress["routes"] {
  const classless = readClassless(options.get(DhcpOption.CLASSLESS_ROUTES));
  if (classless !== undefined) return classless;
  const via = firstAddressOf(options.get(DhcpOption.ROUTER));
  return via === undefined ? [] : [{ to: { address: 0, length: 0 }, via }];
}

/** Length, the significant bytes of the prefix, next hop. Undefined where there are none, or malformed ones. */
function readClassless(value: Uint8Array | undefined): LeasedAddress["routes"] | undefined {
  if (value === undefined) return undefined;
  const routes: LeasedAddress["routes"] = [];
  for (let at = 0; at < value.length; ) {
    const length = value[at++];
    const significant = (length + 7) >> 3;
    if (length > 32 || at + significant + 4 > value.length || routes.length >= MOST_ROUTES) return undefined;
    const octets = new Uint8Array(4);
    octets.set(value.subarray(at, at + significant));
    at += significant;
    const address = (wordOf(octets) as number) & prefixMask(length);
    routes.push({ to: { address, length }, via: wordOf(value.slice(at, at + 4)) as number });
    at += 4;
  }
  const seen = new Set<string>();
  // The first of several routes to the same place.
  return routes.filter(({ to }) => !seen.has(`${to.address}/${to.length}`) && seen.add(`${to.address}/${to.length}`));
}
