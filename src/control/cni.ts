/**
 * Ports that the CNI plugin has made, as a part of the configuration. They are known by their key `cni`, and come and go
 * with the runtime's calls alone: a configuration that comes whole (from a file, or by `apply`) neither has them nor may
 * take them away, so they are carried over into it.
 */
import { type Configuration, checkConfiguration, type PortConfiguration } from "./configuration/configuration.ts";
import { netnsPath } from "./configuration/devices.ts";
import type { CniOwner } from "./configuration/schema_attached.ts";
import { isNamespace } from "./network_namespace.ts";

/** As many characters of a container's id as runtimes show. */
const SHOWN_CHARACTERS = 12;

interface CniPort {
  network: string;
  name: string;
  port: PortConfiguration;
}

/**
 * `next` with the CNI ports of `present`, and no others. What cannot be in it goes with its network, or gives way to
 * who has its name or address now; so does a port whose namespace is gone.
 */
export function keepCniPorts(present: Configuration, next: Configuration): Configuration {
  const ports = cniPorts(present).filter(isThere);
  const bare = withoutCniPorts(next);
  if (ports.length === 0) return bare;
  const all = ports.reduce(withPort, bare);
  if (checkConfiguration(all).errors === undefined) return all;
  return ports.reduce((kept, each) => {
    const more = withPort(kept, each);
    return checkConfiguration(more).errors === undefined ? more : kept;
  }, bare);
}

/** What a router starts with: without CNI ports of containers that have ended since the configuration was kept. */
export function withoutEndedCniPorts(configuration: Configuration): Configuration {
  return cniPorts(configuration).filter(isThere).reduce(withPort, withoutCniPorts(configuration));
}

/** Rows of ports, with what the runtime calls the containers behind them. */
export function withCni<T extends object>(
  configuration: Configuration,
  rows: readonly T[],
): (T & { container?: string; cni?: CniOwner })[] {
  const owners = new Map(cniPorts(configuration).map(({ name, port }) => [name, port.cni]));
  return rows.map((row) => {
    const cni = owners.get((row as { name: string }).name);
    return cni === undefined ? row : { ...row, container: cni.container.slice(0, SHOWN_CHARACTERS), cni };
  });
}

function cniPorts({ networks = {} }: Configuration): CniPort[] {
  return Object.entries(networks).flatMap(([network, { ports = {} }]) =>
    Object.entries(ports).flatMap(([name, port]) => (port.cni === undefined ? [] : { network, name, port })),
  );
}

function withoutCniPorts(configuration: Configuration): Configuration {
  if (cniPorts(configuration).length === 0) return configuration;
  const networks = Object.entries(configuration.networks ?? {}).map(([name, network]) => {
    const kept = Object.entries(network.ports ?? {}).filter(([, { cni }]) => cni === undefined);
    return [name, { ...network, ...(network.ports === undefined ? {} : { ports: Object.fromEntries(kept) }) }];
  });
  return { ...configuration, networks: Object.fromEntries(networks) };
}

/** The same where there is no such network, or another port of that name. */
function withPort(configuration: Configuration, { network, name, port }: CniPort): Configuration {
  const found = configuration.networks?.[network];
  if (found === undefined || Object.hasOwn(found.ports ?? {}, name)) return configuration;
  const ports = { ...found.ports, [name]: port };
  return { ...configuration, networks: { ...configuration.networks, [network]: { ...found, ports } } };
}

function isThere({ port }: CniPort): boolean {
  const path = netnsPath(port);
  return path !== undefined && isNamespace(path);
}
