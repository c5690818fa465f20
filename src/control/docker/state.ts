/**
 * What Docker has asked for: its networks, and the endpoints (a container's connection to a network) in them. dockerd
 * says each thing once and never again, however often the router or dockerd itself starts: so all of it is in a file.
 */
import { Ajv } from "ajv";
import { type Static, Type } from "typebox";
import { TapirError } from "../errors.ts";
import { readKept, writeKept } from "../kept_file.ts";

const NetworkStateSchema = Type.Object({
  /** Of the network in the configuration. */
  name: Type.String(),
  subnet: Type.String(),
  gateway: Type.Optional(Type.String()),
  mtu: Type.Optional(Type.Integer()),
  /** Uplinks that the network uses; all of them where it does not say. */
  uplinks: Type.Optional(Type.Array(Type.String())),
  masquerades: Type.Boolean(),
  /** `docker network create --internal`: no way out, no default route. */
  isInternal: Type.Boolean(),
  isolation: Type.Array(Type.Enum(["ports", "network"])),
  antiSpoofing: Type.Boolean(),
});

const PublicationSchema = Type.Object({
  proto: Type.Enum(["tcp", "udp"]),
  /** Of an uplink; the first of each of the network's where it does not say. */
  address: Type.Optional(Type.String()),
  port: Type.Integer(),
  containerPort: Type.Integer(),
});

const EndpointStateSchema = Type.Object({
  /** Id of the network. */
  network: Type.String(),
  /** Name of the port. */
  port: Type.String(),
  /** Name of the device before Docker moves it into the container. */
  device: Type.String(),
  address: Type.String(),
  mac: Type.String(),
  published: Type.Array(PublicationSchema),
  /** Whether the container's default route leads here. */
  isGateway: Type.Boolean(),
  /** Path of the container's namespace, once it has joined. */
  sandbox: Type.Optional(Type.String()),
  /** Name of the device in the container, where it is known. */
  ifname: Type.Optional(Type.String()),
  /** Name of the container, where it is known. */
  container: Type.Optional(Type.String()),
  /**
   * Who makes the device: `docker` is handed it; `sandbox`: it is made again in the container's namespace, by `ifname`; `nobody`: there is
   * no container for it any more.
   */
  place: Type.Enum(["docker", "sandbox", "nobody"]),
});

const StateSchema = Type.Object({
  version: Type.Literal(1),
  networks: Type.Record(Type.String(), NetworkStateSchema),
  endpoints: Type.Record(Type.String(), EndpointStateSchema),
});

/** Networks and endpoints by their ids; the endpoints in the order in which they came. */
export type DockerState = Static<typeof StateSchema>;
export type DockerNetwork = Static<typeof NetworkStateSchema>;
export type DockerEndpoint = Static<typeof EndpointStateSchema>;
export type Publication = Static<typeof PublicationSchema>;

const isState = new Ajv().compile<DockerState>(StateSchema);

export function emptyState(): DockerState {
  return { version: 1, networks: {}, endpoints: {} };
}

export function isEmpty({ networks }: DockerState): boolean {
  return Object.keys(networks).length === 0;
}

/** The state in the file; the empty one where there is no file. */
export function loadState(file: string): DockerState {
  const state = inFile(() => readKept(file, emptyState()));
  if (isState(state)) return state;
  const [error] = isState.errors ?? [];
  const why = error === undefined ? "no JSON" : `${error.instancePath} ${error.message}`;
  throw new TapirError(
    `docker.state: ${file} is not what Tapir writes (${why.trim()}): move it away to start without it`,
  );
}

export function saveState(file: string, state: DockerState): void {
  inFile(() => writeKept(file, `${JSON.stringify(state, null, 1)}\n`));
}

function inFile<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new TapirError(`docker.state: ${(error as Error).message}`);
  }
}
