/** ADD: the router makes the device; whatever was made before something failed is taken away again. */
import { existsSync } from "node:fs";
import type { AttachWish } from "../control/api_schemas.ts";
import type { Attached } from "../control/attach.ts";
import { type Attachment, readAttachment, readNetns, type Variables } from "./environment.ts";
import { CniError, Code, quote } from "./errors.ts";
import { routesIn } from "./inside.ts";
import { allocate, delegate } from "./ipam.ts";
import type { Network } from "./network.ts";
import { appended, type Result, type ResultRoute, writeResult } from "./result.ts";
import { Router } from "./router.ts";
import { addressOf, wishOf } from "./wish.ts";

const EVERYWHERE = "0.0.0.0/0";

export async function add(network: Network, variables: Variables): Promise<object> {
  const attachment = readAttachment(variables);
  const netns = readNetns(variables);
  if (!existsSync(netns)) throw new CniError(Code.UNKNOWN_CONTAINER, `there is no network namespace ${netns}`);
  const wish = wishOf(network, attachment, netns, variables);
  if (network.ipam === undefined) {
    const address = addressOf(network, variables);
    const own = await attachWith(network, attachment, netns, address === undefined ? wish : { ...wish, address });
    return writeResult(network.version, appended(network.prevResult, own));
  }
  const given = await allocate(network, variables);
  try {
    const own = await attachGiven(network, attachment, netns, wish, given);
    return writeResult(network.version, appended(network.prevResult, own));
  } catch (error) {
    // What went wrong first is what the runtime is to know.
    await delegate("DEL", network, variables).catch(() => {});
    throw error;
  }
}

/** With an address of the router's choice, or the one that was asked for. */
async function attachWith(network: Network, { ifname }: Attachment, netns: string, wish: AttachWish): Promise<Result> {
  const defaultRoute = network.defaultRoute && !hasDefaultRoute(netns);
  const attached = await new Router(network.socket).attach({ ...wish, defaultRoute });
  const { address, prefixLength, gateway } = attached;
  return {
    interfaces: [interfaceOf(attached, ifname, netns)],
    ips: [{ address: `${address}/${prefixLength}`, gateway, interface: 0 }],
    routes: network.defaultRoute ? [{ dst: EVERYWHERE, gw: gateway }] : [],
    ...(network.dns === undefined ? {} : { dns: network.dns }),
  };
}

/** With what IPAM has given. */
async function attachGiven(
  network: Network,
  { ifname }: Attachment,
  netns: string,
  wish: AttachWish,
  given: Result,
): Promise<Result> {
  const [only, ...more] = given.ips;
  if (only === undefined || more.length > 0 || only.address.includes(":")) {
    const said = given.ips.map(({ address }) => address).join(" and ") || "none";
    throw new CniError(Code.INVALID_CONFIGURATION, `a port has one IPv4 address; ${network.ipam} gives ${said}`);
  }
  const [address, length] = only.address.split("/");
  const router = new Router(network.socket);
  const attached = await router.attach({ ...wish, address, ...routeWishes(given.routes, only.gateway, netns) });
  try {
    compare(network, attached, Number(length), only.gateway);
  } catch (error) {
    await router.detach(attached.name);
    throw error;
  }
  const dns = given.dns !== undefined && Object.keys(given.dns).length > 0 ? given.dns : network.dns;
  return {
    interfaces: [interfaceOf(attached, ifname, netns)],
    ips: [{ ...only, interface: 0 }],
    routes: given.routes,
    ...(dns === undefined ? {} : { dns }),
  };
}

/** A default route that is there already stays (specification, "IP Address Management"): the first network's. */
function routeWishes(
  routes: readonly ResultRoute[],
  gateway: string | undefined,
  netns: string,
): Pick<AttachWish, "defaultRoute" | "routes"> {
  const hop = ({ gw = gateway }: ResultRoute): { via?: string } => (gw === undefined ? {} : { via: gw });
  const wanted = routes.filter(({ dst }) => dst !== EVERYWHERE || !hasDefaultRoute(netns));
  const list = wanted.map((route) => ({ to: route.dst, ...hop(route) }));
  return { defaultRoute: false, ...(list.length === 0 ? {} : { routes: list }) };
}

function hasDefaultRoute(netns: string): boolean {
  return routesIn(netns).some(({ dst }) => dst === "default");
}

/** IPAM and the router have to mean the same network. */
function compare({ network, ipam }: Network, attached: Attached, length: number, gateway: string | undefined): void {
  const wrong = (what: string, theirs: unknown, ours: unknown): CniError =>
    new CniError(
      Code.INVALID_CONFIGURATION,
      `${ipam} gives ${what} ${theirs}; that of the router's network ${quote(network)} is ${ours}`,
    );
  if (length !== attached.prefixLength) throw wrong("the prefix length", length, attached.prefixLength);
  if (gateway !== undefined && gateway !== attached.gateway) throw wrong("the gateway", gateway, attached.gateway);
}

function interfaceOf({ mac, mtu }: Attached, name: string, sandbox: string): Result["interfaces"][number] {
  return { name, mac, mtu, sandbox };
}
