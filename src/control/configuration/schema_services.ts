/** The schema of what the control process offers and sends: its socket, metrics, flow export. */
import { type Static, Type } from "typebox";
import { DEFAULT_SOCKET } from "../default_socket.ts";
import { CLOSED, integer } from "./schema_parts.ts";

/** A unix socket's path has 108 bytes with its final zero. */
export const LONGEST_SOCKET_PATH = 107;
export const DEFAULT_IPFIX = {
  activeTimeoutSeconds: 60,
  intervalSeconds: 1,
  templateSeconds: 60,
  domain: 1,
  mtu: 1500,
  natEvents: false,
};

export const DEFAULT_DOCKER = {
  socket: "/run/docker/plugins/tapir.sock",
  state: "/var/lib/tapir/docker.json",
  engine: "/run/docker.sock",
};

const path = (byDefault: string, longest: number, description: string) =>
  Type.Optional(
    Type.String({
      pattern: "^/[^\\u0000]*$",
      maxLength: longest,
      default: byDefault,
      title: `an absolute path of at most ${longest} bytes`,
      description,
    }),
  );

const endpoint = (options: object) =>
  Type.String({ title: "an IPv4 address and a port like 127.0.0.1:9100", ...options });

export const DEFAULT_SNAPSHOT_SECONDS = 30;
export const DEFAULT_LEASES = "/var/lib/tapir/leases.json";

const SnapshotSchema = Type.Object(
  {
    directory: Type.String({
      pattern: "^/[^\\u0000]*$",
      maxLength: 4000,
      title: "an absolute path",
      description: "A directory that is there, and this router's alone.",
      examples: ["/var/lib/tapir"],
    }),
    everySeconds: Type.Optional(
      integer(1, 86_400, {
        default: DEFAULT_SNAPSHOT_SECONDS,
        description: "Seconds from one snapshot to the next. One is also written at the end, and by `tapir snapshot`.",
      }),
    ),
  },
  {
    ...CLOSED,
    title: "a map",
    description: "Flows and the configuration in force on disk, and restored by the next `tapir run`.",
  },
);

export const ControlSchema = Type.Object(
  {
    socket: Type.Optional(
      Type.String({
        pattern: "^/[^\\u0000]*$",
        maxLength: LONGEST_SOCKET_PATH,
        default: DEFAULT_SOCKET,
        title: `an absolute path of at most ${LONGEST_SOCKET_PATH} bytes`,
        description: "Unix socket of the API.",
      }),
    ),
    metrics: Type.Optional(
      endpoint({
        description:
          "Where `/metrics` is served over TCP too: a loopback address and a port. Without it, on the socket alone.",
        examples: ["127.0.0.1:9100"],
      }),
    ),
    metricsAnyAddress: Type.Optional(
      Type.Boolean({
        default: false,
        title: "true or false",
        description: "Whether `metrics` may be an address that others reach. Nobody is asked who he is.",
      }),
    ),
    snapshot: Type.Optional(SnapshotSchema),
    leases: path(
      DEFAULT_LEASES,
      4095,
      "File in which the leases of networks with `dhcp` are kept over restarts; this router's alone.",
    ),
  },
  { ...CLOSED, title: "a map", description: "How commands reach the router, and what it keeps on disk." },
);

const IpfixSchema = Type.Object(
  {
    collector: endpoint({ description: "Where the messages go, over UDP.", examples: ["127.0.0.1:4739"] }),
    activeTimeoutSeconds: Type.Optional(
      integer(1, 86_400, {
        default: DEFAULT_IPFIX.activeTimeoutSeconds,
        description: "Seconds after which a flow that goes on is reported, and again after as many.",
      }),
    ),
    intervalSeconds: Type.Optional(
      integer(1, 3600, {
        default: DEFAULT_IPFIX.intervalSeconds,
        description: "Seconds that a record waits at most for others to share its message.",
      }),
    ),
    templateSeconds: Type.Optional(
      integer(1, 86_400, {
        default: DEFAULT_IPFIX.templateSeconds,
        description: "Seconds after which templates are sent again.",
      }),
    ),
    domain: Type.Optional(
      integer(0, 4_294_967_295, {
        default: DEFAULT_IPFIX.domain,
        description: "Observation domain: tells routers apart that share a collector.",
      }),
    ),
    mtu: Type.Optional(
      integer(576, 65_535, {
        default: DEFAULT_IPFIX.mtu,
        description: "Largest IPv4 packet in bytes on the way to the collector; no message is longer.",
      }),
    ),
    natEvents: Type.Optional(
      Type.Boolean({
        default: DEFAULT_IPFIX.natEvents,
        title: "true or false",
        description: "Whether the begin and the end of each translated flow are reported besides (RFC 8158).",
      }),
    ),
  },
  { ...CLOSED, title: "a map", description: "Flow records as IPFIX (RFC 7011)." },
);
export type IpfixConfiguration = Static<typeof IpfixSchema>;

export const ExportSchema = Type.Object(
  { ipfix: Type.Optional(IpfixSchema) },
  { ...CLOSED, title: "a map", description: "What is told to others of the flows." },
);

export const DockerSchema = Type.Object(
  {
    socket: path(
      DEFAULT_DOCKER.socket,
      LONGEST_SOCKET_PATH,
      "Unix socket on which dockerd finds the driver; its name without `.sock` is the driver's.",
    ),
    state: path(DEFAULT_DOCKER.state, 4095, "File in which Docker's networks and endpoints are kept over restarts."),
    engine: path(
      DEFAULT_DOCKER.engine,
      LONGEST_SOCKET_PATH,
      "Unix socket of dockerd, which is asked what containers are called.",
    ),
  },
  { ...CLOSED, title: "a map", description: "Networks for Docker: `docker network create -d tapir`." },
);
