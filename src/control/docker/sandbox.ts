/**
 * What has become of the endpoints' devices while no router ran. A TAP goes with the descriptor of who made it, so a
 * container has usually lost its own: it is made again in the container's namespace, under the name that Docker gave it.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { native } from "../../io/native.ts";
import type { DockerEndpoint, DockerState } from "./state.ts";

interface Link {
  ifname: string;
  address: string;
}

/** Devices of a namespace; undefined where there is no such namespace. */
export type LookInto = (sandbox: string) => readonly Link[] | undefined;

/** Asks iproute2. */
export const lookInto: LookInto = (sandbox) => {
  if (!existsSync(sandbox)) return undefined;
  const list = (): string => execFileSync("ip", ["-j", "link", "show"], { encoding: "utf8", stdio: "pipe" });
  try {
    return JSON.parse(native().inNamespace(sandbox, list)) as Link[];
  } catch {
    // Between the two looks, the container has ended; or only the file is left, with no namespace on it.
    return undefined;
  }
};

/**
 * The state with what each device's container is in for: nothing where it still has its device (a dataplane that is
 * taken over holds it), or that the device is made again; and what there is no container for any more.
 */
export function withPlaces(state: DockerState, look: LookInto): DockerState {
  const next = structuredClone(state);
  const taken = new Set<string>();
  for (const endpoint of Object.values(next.endpoints)) {
    const { sandbox, mac } = endpoint;
    // It was made and not yet handed over.
    if (sandbox === undefined) continue;
    const links = look(sandbox);
    const isThere = links !== undefined && find(links, mac) !== undefined;
    if (isThere && endpoint.place !== "nobody") continue;
    endpoint.place = links === undefined ? "nobody" : "sandbox";
    if (links === undefined) continue;
    endpoint.ifname ??= freeName(sandbox, links, taken);
    taken.add(keyOf(sandbox, endpoint.ifname));
  }
  return next;
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
