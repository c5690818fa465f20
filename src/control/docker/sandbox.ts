/**
 * What has become of the endpoints' devices while no router ran. A TAP goes with the last descriptor of it. Where the
 * dataplane went on without its control process, all are still there and are taken over as they are; otherwise a
 * container has lost its own, and it is made again in the container's namespace, under the name that Docker gave it.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { native } from "../../io/native.ts";
import type { DockerEndpoint, DockerState } from "./state.ts";

interface Link {
  ifname: string;
  address: string;
}

/** Devices of a namespace, or of the router's own (undefined); undefined where there is no such namespace. */
export type LookInto = (sandbox: string | undefined) => readonly Link[] | undefined;

/** Asks iproute2. */
export const lookInto: LookInto = (sandbox) => {
  const list = (): string => execFileSync("ip", ["-j", "link", "show"], { encoding: "utf8", stdio: "pipe" });
  if (sandbox === undefined) return JSON.parse(list()) as Link[];
  if (!existsSync(sandbox)) return undefined;
  try {
    return JSON.parse(native().inNamespace(sandbox, list)) as Link[];
  } catch {
    // Between the two looks, the container has ended; or only the file is left, with no namespace on it.
    return undefined;
  }
};

/** A state, with what has to be done for it. */
export interface Placed {
  state: DockerState;
  /** Ids of the endpoints whose devices have to be made again; the others are there, or have no container any more. */
  lost: string[];
}

/**
 * What each endpoint's container is in for. It keeps its device, and the endpoint its place, where that is still there;
 * otherwise the device is made again, or there is no container for it any more.
 */
export function withPlaces(state: DockerState, look: LookInto): Placed {
  const next = structuredClone(state);
  const lost: string[] = [];
  const taken = new Set<string>();
  const own = new Set(look(undefined)?.map(({ ifname }) => ifname));
  for (const [id, endpoint] of Object.entries(next.endpoints)) {
    const { sandbox, mac, place, device } = endpoint;
    // It was made, and not yet handed over, or not yet moved.
    if (sandbox === undefined || (place === "docker" && own.has(device))) continue;
    const links = look(sandbox);
    const isThere = links !== undefined && find(links, mac) !== undefined;
    if (isThere && place !== "nobody") continue;
    endpoint.place = links === undefined ? "nobody" : "sandbox";
    if (links === undefined) continue;
    lost.push(id);
    endpoint.ifname ??= freeName(sandbox, links, taken);
    taken.add(keyOf(sandbox, endpoint.ifname));
  }
  return { state: next, lost };
}

/** The state with the names that the devices have in their containers. */
export function withNames(state: DockerState, look: LookInto): DockerState {
  const next = structuredClone(state);
  for (const endpoint of Object.values(next.endpoints)) {
    const found = endpoint.sandbox === undefined ? undefined : find(look(endpoint.sandbox) ?? [], endpoint.mac);
    if (found !== undefined) endpoint.ifname = found.ifname;
  }
  return next;
}

function find(links: readonly Link[], mac: DockerEndpoint["mac"]): Link | undefined {
  return links.find(({ address }) => address === mac.toLowerCase());
}

/** Docker counts them from 0. */
function freeName(sandbox: string, links: readonly Link[], taken: ReadonlySet<string>): string {
  for (let index = 0; ; index++) {
    const name = `eth${index}`;
    if (!taken.has(keyOf(sandbox, name)) && links.every(({ ifname }) => ifname !== name)) return name;
  }
}

const keyOf = (sandbox: string, ifname: string): string => `${sandbox} ${ifname}`;
