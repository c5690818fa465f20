/** Attaching a container to a network of a running router, and detaching it: edits of the configuration. */
import { formatAddress } from "../packet/ipv4_address.ts";
import type { Configuration, PortConfiguration } from "./configuration/configuration.ts";
import { isInOwnNetwork, processOf } from "./container_process.ts";
import { ExitCode, TapirError, UnknownNameError } from "./errors.ts";
import type { Cause } from "./history.ts";
import type { RunningRouter } from "./router.ts";

export interface AttachRequest {
  network?: unknown;
  netns?: unknown;
  pid?: unknown;
  /** Name of the port; default: the namespace's name, or `pid-N`. */
  name?: unknown;
  ifname?: unknown;
  /** Default: the first free host address of the subnet. */
  address?: unknown;
  /** Default: true. */
  defaultRoute?: unknown;
  /** These are the port's keys in the configuration. */
  mac?: unknown;
  routes?: unknown;
  publish?: unknown;
  rateLimit?: unknown;
  impair?: unknown;
  antiSpoofing?: unknown;
  cni?: unknown;
}

/** Keys that are the port's as they are. */
const PORT_KEYS = ["mac", "routes", "publish", "rateLimit", "impair", "antiSpoofing", "cni"] as const;
const KEYS = new Set(["network", "netns", "pid", "name", "ifname", "address", "defaultRoute", ...PORT_KEYS]);

export interface Attached {
  name: string;
  network: string;
  address: string;
  gateway: string;
  ifname: string;
  /** Of the subnet. */
  prefixLength: number;
  /** Hardware address of the container's device. */
  mac: string;
  /** Bytes. */
  mtu: number;
}

/** Adds a port; the configuration's own checks say what is wrong with it. */
export async function attach(router: RunningRouter, request: AttachRequest): Promise<Attached> {
  const unknown = Object.keys(request).find((key) => !KEYS.has(key));
  if (unknown !== undefined) throw new TapirError(`attach: unknown key "${unknown}"`, ExitCode.USAGE);
  const { network, netns, pid, ifname = "eth0" } = request;
  if (typeof network !== "string") throw new TapirError("attach: which network?", ExitCode.USAGE);
  if ((netns === undefined) === (pid === undefined))
    throw new TapirError("attach: either netns or pid is needed", ExitCode.USAGE);
  const name = String(request.name ?? netns ?? `pid-${String(pid)}`);
  let address = request.address;
  const cause: Cause = { source: "attach", detail: name };
  await router.change((present) => {
    const configuration = structuredClone(present);
    const target = configuration.networks?.[network];
    if (target === undefined) throw new UnknownNameError(`attach: no network is called ${network}`);
    refuseDockers(target, `attach: ${network}`, "connect");
    target.ports ??= {};
    if (Object.hasOwn(target.ports, name)) throw new TapirError(`attach: ${network} has a port called ${name} already`);
    address ??= freeAddress(router, network);
    const place = netns === undefined ? placeOfProcess(pid, request.defaultRoute !== false) : { netns };
    const settings = PORT_KEYS.flatMap((key) => (request[key] === undefined ? [] : [[key, request[key]]]));
    const port = {
      ...place,
      ifname,
      address,
      defaultRoute: request.defaultRoute ?? true,
      ...Object.fromEntries(settings),
    };
    // Not by assignment: "__proto__" is a name like any other, and the configuration's checks are to see it.
    Object.defineProperty(target.ports, name, { value: port, enumerable: true, configurable: true, writable: true });
    cause.container = { network, name, port: port as object as PortConfiguration };
    return configuration;
  }, cause);
  const { address: gateway, prefixLength } = interfaceOf(router, network);
  const device = router.resolved.devices.find((each) => each.name === name);
  if (device === undefined) throw new TapirError(`attach: ${name} has been detached again`);
  router.log("info", `${name}: attached to ${network}`);
  const { mac, mtu } = device;
  return {
    name,
    network,
    address: String(address),
    gateway: formatAddress(gateway),
    ifname: String(ifname),
    prefixLength,
    mac,
    mtu,
  };
}

export async function detach(router: RunningRouter, name: string): Promise<{ name: string; network: string }> {
  let left = "";
  const cause: Cause = { source: "detach", detail: name };
  await router.change((present) => {
    const configuration: Configuration = structuredClone(present);
    const found = networkOfPort(configuration, name);
    if (found === undefined) throw new UnknownNameError(`detach: no container's port is called ${name}`);
    left = found[0];
    refuseDockers(found[1], `detach: ${left}`, "disconnect");
    delete found[1].ports?.[name];
    cause.container = { network: left, name };
    return configuration;
  }, cause);
  router.log("info", `${name}: detached from ${left}`);
  return { name, network: left };
}

/** The network that has a port of this name, and what it is called. */
export function networkOfPort({ networks = {} }: Configuration, name: string) {
  return Object.entries(networks).find(([, { ports }]) => ports !== undefined && Object.hasOwn(ports, name));
}

/** Docker says what is in its networks. */
function refuseDockers({ docker }: { docker?: string }, network: string, word: string): void {
  if (docker === undefined) return;
  throw new TapirError(`${network} is a network of Docker's (docker network ${word})`);
}

/** What tells the container by its process. A number that is none, the configuration's checks are to see. */
function placeOfProcess(pid: unknown, hasDefaultRoute: boolean): object {
  if (!Number.isSafeInteger(pid)) return { pid };
  const found = processOf(pid as number);
  if (found === undefined) throw new TapirError(`attach: there is no process ${pid}`);
  if (hasDefaultRoute && isInOwnNetwork(found.pid)) {
    throw new TapirError(
      `attach: process ${pid} is in the router's own namespace, and no container ` +
        `(without a default route, that would be possible: --no-default-route)`,
    );
  }
  return found;
}

function interfaceOf(router: RunningRouter, network: string) {
  const found = router.resolved.plan.interfaces.find((each) => each.name === network);
  if (found === undefined) throw new TapirError(`no network is called ${network}`);
  return found;
}

/** The first host address that neither the gateway nor a port has, nor a client of DHCP. */
function freeAddress(router: RunningRouter, network: string): string {
  const { index, address, prefixLength } = interfaceOf(router, network);
  const { plan, devices } = router.resolved;
  const used = new Set([address]);
  for (const [at, port] of plan.ports.entries()) {
    const held = devices[at].address;
    if (port.interface === index && held !== undefined) used.add(held.address);
  }
  const first = address & (-1 << (32 - prefixLength));
  const hosts = 2 ** (32 - prefixLength) - 2;
  for (let host = 1; host <= hosts; host++) {
    const free = (first + host) | 0;
    if (!used.has(free) && !router.services.network.dhcp.isTaken(network, free)) return formatAddress(free);
  }
  throw new TapirError(`attach: ${network} has no free address left`);
}
