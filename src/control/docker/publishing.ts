/** From `docker run -p` to published ports: which address, and which port where Docker leaves the choice. */
import type { Configuration } from "../configuration/configuration.ts";
import { TapirError } from "../errors.ts";
import { placesOf } from "./overlay.ts";
import type { PortBinding } from "./protocol.ts";
import type { DockerNetwork, Publication } from "./state.ts";

/** Where the ports of `-p 80` come from (RFC 6335, section 6: dynamic ports). */
const DYNAMIC = { first: 49_152, last: 65_535 };
const PROTOCOLS: Readonly<Record<number, Publication["proto"]>> = { 6: "tcp", 17: "udp" };

/**
 * The ports of an endpoint, in the order in which Docker names them. `configuration` is what is
 * there besides.
 * @throws TapirError where an address is no uplink's, or a port is taken.
 */
export function publicationsOf(
  bindings: readonly PortBinding[],
  network: DockerNetwork,
  configuration: Configuration,
): Publication[] {
  const taken = takenPorts(configuration);
  return bindings.flatMap((binding) => {
    const { HostIP = "", Port } = binding;
    // Docker asks for IPv6's any address beside IPv4's.
    if (HostIP === "::") return [];
    const proto = PROTOCOLS[binding.Proto];
    if (proto === undefined) throw new TapirError(`protocol ${binding.Proto}: only tcp and udp ports are published`);
    const address = HostIP === "" || HostIP === "0.0.0.0" ? {} : { address: HostIP };
    const places = placesOf(address, network, configuration);
    if (places.length === 0) throw new TapirError(noPlace(HostIP, Port));
    const keys = (port: number): string[] => places.map((place) => keyOf(proto, place, port));
    const port = choose(binding, proto, (each) => keys(each).every((key) => !taken.has(key)));
    for (const key of keys(port)) taken.add(key);
    return { proto, ...address, port, containerPort: Port };
  });
}

function noPlace(address: string, port: number): string {
  if (address === "") return `port ${port} cannot be published: there is no uplink`;
  return `port ${port} cannot be published on ${address}: ports are published on the addresses of uplinks, and none has it`;
}

function choose(
  { HostPort = 0, HostPortEnd = 0 }: PortBinding,
  proto: string,
  isFree: (port: number) => boolean,
): number {
  const span = HostPort === 0 ? DYNAMIC : { first: HostPort, last: Math.max(HostPort, HostPortEnd) };
  for (let port = span.first; port <= span.last; port++) if (isFree(port)) return port;
  const what =
    span.first === span.last ? `${proto} port ${span.first} is` : `all ${proto} ports ${span.first}-${span.last} are`;
  throw new TapirError(`${what} published already`);
}

/** Of an uplink's first address the key has no address. */
function keyOf(proto: string, { on, address = "" }: { on: string; address?: string }, port: number): string {
  return `${proto} ${on} ${address} ${port}`;
}

function takenPorts({ nat }: Configuration): Set<string> {
  const taken = new Set<string>();
  for (const { proto, port, ...place } of nat?.publish ?? []) {
    const [first, last = first] = String(port).split("-").map(Number);
    for (const each of proto === "both" ? ["tcp", "udp"] : [proto]) {
      for (let at = first; at <= last; at++) taken.add(keyOf(each, place, at));
    }
  }
  return taken;
}
