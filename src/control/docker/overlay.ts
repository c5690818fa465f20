/**
 * Docker's part of the configuration: its networks with their ports, MASQUERADE for them, and published ports. It lies
 * over whatever configuration comes (from a file, the API, a rollback): what is Docker's in that is taken out, and what
 * Docker has now is put in. A network is known by its key `docker`, a rule by its name. Pure: it touches nothing.
 */
import { splitWords } from "../../filter/iptables/words.ts";
import { hasAddress } from "../configuration/build_attached.ts";
import type { Configuration, PortConfiguration } from "../configuration/configuration.ts";
import { TapirError } from "../errors.ts";
import type { DockerEndpoint, DockerNetwork, DockerState, Publication } from "./state.ts";

/** How the names of Docker's rules begin. */
const MARK = "docker: ";

type Nat = NonNullable<Configuration["nat"]>;
type Masquerade = NonNullable<Nat["masquerade"]>[number];
type Publish = NonNullable<Nat["publish"]>[number];

/** @throws TapirError where the configuration has something of its own under a Docker network's name. */
export function withDocker(configuration: Configuration, state: DockerState): Configuration {
  const own = withoutDocker(configuration);
  const networks = { ...own.networks };
  for (const [id, network] of Object.entries(state.networks)) {
    if (Object.hasOwn(networks, network.name)) {
      throw new TapirError(`networks.${network.name}: Docker has a network of that name (docker network rm)`);
    }
    networks[network.name] = networkOf(id, network, state);
  }
  if (Object.keys(state.networks).length === 0) return own;
  const uplinks = Object.keys(own.uplinks ?? {});
  const masquerade = [...(own.nat?.masquerade ?? []), ...masqueradesOf(state, uplinks)];
  const publish = [...(own.nat?.publish ?? []), ...publishedOf(state, own)];
  return { ...own, networks, nat: { ...own.nat, ...nonEmpty({ masquerade, publish }) } };
}

/** The configuration without anything of Docker's. */
export function withoutDocker(configuration: Configuration): Configuration {
  const { networks, nat, filter, ...rest } = configuration;
  const kept = Object.entries(networks ?? {}).filter(([, { docker }]) => docker === undefined);
  const iptables = filter?.iptables === undefined ? undefined : withoutLines(filter.iptables);
  return {
    ...rest,
    ...(networks === undefined ? {} : { networks: Object.fromEntries(kept) }),
    ...(nat === undefined ? {} : { nat: withoutRules(nat) }),
    ...(filter === undefined ? {} : { filter: { ...filter, ...(iptables === undefined ? {} : { iptables }) } }),
  };
}

function withoutRules({ masquerade, publish, ...nat }: Nat): Nat {
  const isOwn = ({ name }: { name?: string }): boolean => name?.startsWith(MARK) !== true;
  return {
    ...nat,
    ...nonEmpty({ masquerade: (masquerade ?? []).filter(isOwn), publish: (publish ?? []).filter(isOwn) }),
  };
}

/** Commands of `tapir iptables` have made rules text: those of Docker are known by their comment. */
function withoutLines(text: string | string[]): string | string[] {
  const lines = Array.isArray(text) ? text : text.split("\n");
  const kept = lines.filter((line) => !line.includes(MARK) || !(splitWords(line) ?? []).some(isMark));
  return Array.isArray(text) ? kept : kept.join("\n");
}

const isMark = (word: string, at: number, words: readonly string[]): boolean =>
  words[at - 1] === "--comment" && word.startsWith(MARK);

function nonEmpty<T extends Record<string, unknown[]>>(lists: T): Partial<T> {
  return Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0)) as Partial<T>;
}

function networkOf(id: string, network: DockerNetwork, state: DockerState) {
  const { subnet, gateway, mtu, isInternal, isolation, antiSpoofing } = network;
  const isolated = [...isolation, ...(isInternal ? (["uplinks"] as const) : [])];
  const endpoints = presentIn(state).filter((each) => each.network === id);
  return {
    subnet,
    ...(gateway === undefined ? {} : { gateway }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(isolated.length === 0 ? {} : { isolation: isolated }),
    ...(antiSpoofing ? { antiSpoofing } : {}),
    docker: id,
    ports: Object.fromEntries(endpoints.map((endpoint) => [endpoint.port, portOf(endpoint)])),
  };
}

/** Endpoints that have a container: the address of another one may be somebody else's by now. */
function presentIn({ endpoints }: DockerState): DockerEndpoint[] {
  return Object.values(endpoints).filter(({ place }) => place !== "nobody");
}

function portOf({ place, sandbox, ifname, device, address, mac, isGateway }: DockerEndpoint): PortConfiguration {
  if (place !== "sandbox" || sandbox === undefined || ifname === undefined) {
    return { handedOver: true, ifname: device, address, mac };
  }
  return { netns: sandbox, ifname, address, mac, ...(isGateway ? { defaultRoute: true } : {}) };
}

function masqueradesOf({ networks }: DockerState, all: readonly string[]): Masquerade[] {
  return Object.values(networks).flatMap(({ name, subnet, uplinks = all, masquerades, isInternal }) => {
    if (!masquerades || isInternal) return [];
    return uplinks.map((out) => ({ from: subnet, out, name: `${MARK}${name}` }));
  });
}

function publishedOf(state: DockerState, configuration: Configuration): Publish[] {
  return presentIn(state).flatMap((endpoint) => {
    const network = state.networks[endpoint.network];
    const on = (published: Publication): Publish[] =>
      placesOf(published, network, configuration).map((place) => ({
        proto: published.proto,
        ...place,
        port: published.port,
        to: `${endpoint.address}:${published.containerPort}`,
        name: `${MARK}${endpoint.port}`,
      }));
    return endpoint.published.flatMap(on);
  });
}

/** The uplinks on which a port is published: those of the network, or the one that has the address. */
export function placesOf(
  { address }: Pick<Publication, "address">,
  { uplinks: wanted }: DockerNetwork,
  { uplinks = {} }: Configuration,
): { on: string; address?: string }[] {
  if (address === undefined) return (wanted ?? Object.keys(uplinks)).map((on) => ({ on }));
  const found = Object.entries(uplinks).find(([, uplink]) => hasAddress(uplink, address));
  return found === undefined ? [] : [{ on: found[0], address }];
}
