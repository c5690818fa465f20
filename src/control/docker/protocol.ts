/**
 * Docker's protocol of network drivers that are programs of their own (libnetwork's "remote" drivers): JSON in POST
 * requests on a unix socket, one path for each call. An error that the user is to read is `{ "Err": "…" }` with status
 * 200. Source: moby, libnetwork/docs/remote.md and libnetwork/drivers/remote/api.
 *
 * dockerd is trusted no further than the schemas here; keys that it may add in later versions are let through.
 */
import { type Static, type TSchema, Type } from "typebox";

export const CONTENT_TYPE = "application/vnd.docker.plugins.v1.2+json";

/** Names of options that Docker itself gives (libnetwork's `netlabel`). */
export const Label = {
  GENERIC: "com.docker.network.generic",
  INTERNAL: "com.docker.network.internal",
  IPV6: "com.docker.network.enable_ipv6",
  PORT_MAP: "com.docker.network.portmap",
  MAC: "com.docker.network.endpoint.macaddress",
} as const;

/** Go writes nil for what is not there. */
const orNil = <T extends TSchema>(schema: T) => Type.Optional(Type.Union([schema, Type.Null()]));

const id = Type.String({ pattern: "^[0-9a-f]{64}$" });
const Options = orNil(Type.Record(Type.String(), Type.Unknown()));

const Pool = Type.Object({ Pool: Type.String(), Gateway: Type.Optional(Type.String()) });

export const CreateNetworkSchema = Type.Object({
  NetworkID: id,
  Options,
  IPv4Data: orNil(Type.Array(Pool)),
  IPv6Data: orNil(Type.Array(Pool)),
});
export type CreateNetwork = Static<typeof CreateNetworkSchema>;

export const NetworkRefSchema = Type.Object({ NetworkID: id });
export type NetworkRef = Static<typeof NetworkRefSchema>;

export const CreateEndpointSchema = Type.Object({
  NetworkID: id,
  EndpointID: id,
  Options,
  /** `Address` with its prefix length. */
  Interface: orNil(Type.Object({ Address: Type.Optional(Type.String()), MacAddress: Type.Optional(Type.String()) })),
});
export type CreateEndpoint = Static<typeof CreateEndpointSchema>;

export const EndpointRefSchema = Type.Object({ NetworkID: id, EndpointID: id });
export type EndpointRef = Static<typeof EndpointRefSchema>;

export const JoinSchema = Type.Object({
  NetworkID: id,
  EndpointID: id,
  /** Path of the container's network namespace, in dockerd's mount namespace. It may not be there yet. */
  SandboxKey: Type.String({ maxLength: 4095 }),
  Options,
});
export type Join = Static<typeof JoinSchema>;

export const ProgramSchema = Type.Object({ NetworkID: id, EndpointID: id, Options });
export type Program = Static<typeof ProgramSchema>;

export const AnySchema = Type.Object({});

const port = Type.Integer({ minimum: 0, maximum: 65_535 });

/** What `docker run -p` asks for, one for each port of the container. */
export const PortMapSchema = Type.Array(
  Type.Object({
    /** IANA's number of the protocol. */
    Proto: Type.Integer({ minimum: 0, maximum: 255 }),
    /** Of the container. */
    Port: port,
    /** Empty or 0.0.0.0: any. */
    HostIP: Type.Optional(Type.String()),
    /** 0: any that is free. */
    HostPort: Type.Optional(port),
    /** The last of those to choose from. */
    HostPortEnd: Type.Optional(port),
  }),
  { maxItems: 65_535 },
);
export type PortBinding = Static<typeof PortMapSchema>[number];
