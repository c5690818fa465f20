/**
 * The configuration's shape: one schema, from which come the TypeScript types, the JSON Schema in
 * `schema/tapir.schema.json` and the tables of `docs/configuration.md` (`npm run schema` writes the latter two).
 * What a schema cannot say (an address inside its subnet, a name that exists) is checked where the plan is built.
 *
 * `title` says what a value is, in words that fit "expected ..., not ...".
 */

import { type Static, Type } from "typebox";
import { ATTACHED_KEYS } from "./schema_attached.ts";
import { impair } from "./schema_impair.ts";
import { ConntrackSchema, flowsPerHost, NatSchema } from "./schema_nat.ts";
import { DhcpSchema, DnsSchema } from "./schema_network_services.ts";
import {
  address,
  CLOSED,
  deviceName,
  hardwareAddress,
  integer,
  mtu,
  named,
  netns,
  oneOrMore,
  pid,
  prefix,
} from "./schema_parts.ts";
import { rateLimit } from "./schema_rate_limit.ts";
import { NeighbourSchema, RouteSchema, RoutingSchema } from "./schema_routing.ts";
import { chain, iptablesText, sets } from "./schema_rules.ts";
import { ControlSchema, DockerSchema, ExportSchema } from "./schema_services.ts";
import { UplinkSchema } from "./schema_uplinks.ts";

export const DEFAULT_MTU = 1500;
export const DEFAULT_IFNAME = "eth0";
export const DEFAULT_AGEING_SECONDS = 300;
const ISOLATION_WORDS = "ports, network or uplinks";
export const DEFAULT_LIMITS = { flows: 262_144, macs: 16_384, neighbours: 4096, routes: 1_000_000 };

const PortSchema = Type.Object(
  {
    netns: Type.Optional(
      netns({ description: "Network namespace of the container: a name in `/run/netns`, or a path." }),
    ),
    pid: Type.Optional(
      pid({ description: "Instead of `netns`: a process of the container, whose network namespace is used." }),
    ),
    started: Type.Optional(
      integer(0, Number.MAX_SAFE_INTEGER, {
        title: "a number of clock ticks",
        description:
          "With `pid`: when the process was started (proc_pid_stat(5), field 22), which tells it from a later one with its number. The port goes when the process is no more. `tapir attach` sets it.",
      }),
    ),
    handedOver: Type.Optional(
      Type.Literal(true, {
        title: "true",
        description:
          "Instead of `netns`: the device is made where the router runs and left down and without an address, for another program to move it into a container.",
      }),
    ),
    ifname: Type.Optional(
      deviceName({ default: DEFAULT_IFNAME, description: "Name of the TAP device in the container." }),
    ),
    address: Type.Optional(
      address({ description: "Address that the device gets, with the subnet's prefix length. Without it, none." }),
    ),
    defaultRoute: Type.Optional(
      Type.Boolean({
        default: false,
        title: "true or false",
        description: "Whether the container gets a default route via the gateway.",
      }),
    ),
    mac: Type.Optional(
      hardwareAddress({
        description: "Hardware address of the device. Default: made from the names of network and port.",
      }),
    ),
    isolated: Type.Optional(
      Type.Boolean({
        title: "true or false",
        description:
          "Whether nothing passes between this port and other isolated ports of the network. Default: as the network's `isolation` says.",
      }),
    ),
    antiSpoofing: Type.Optional(
      Type.Boolean({
        title: "true or false",
        description:
          "Whether frames are taken from the device's own hardware address and the port's `address` alone. Default: the network's.",
      }),
    ),
    rateLimit: rateLimit("this port, in place of what the network says"),
    impair: impair("this port, in place of what the network says"),
    ...ATTACHED_KEYS,
  },
  { ...CLOSED, title: "a map", description: "A container: exactly one of `netns`, `pid` and `handedOver` is needed." },
);

const NetworkSchema = Type.Object(
  {
    subnet: prefix({ description: "Subnet of the network, /1 to /30.", examples: ["10.55.66.0/24"] }),
    gateway: Type.Optional(
      address({ description: "The router's own address in the subnet. Default: the first host's." }),
    ),
    mtu: Type.Optional(
      mtu({
        default: DEFAULT_MTU,
        description: "Largest IPv4 packet in bytes, of the router and of the ports' devices.",
      }),
    ),
    isolation: Type.Optional(
      oneOrMore(Type.Enum(["ports", "network", "uplinks"], { title: ISOLATION_WORDS }), ISOLATION_WORDS, {
        description:
          "`ports`: its ports are isolated from each other. `network`: nothing passes between it and other networks. `uplinks`: nothing passes between it and the uplinks.",
      }),
    ),
    antiSpoofing: Type.Optional(
      Type.Boolean({
        default: false,
        title: "true or false",
        description: "Whether its ports take frames from their container's own addresses alone.",
      }),
    ),
    rateLimit: rateLimit("each of its ports"),
    dhcp: Type.Optional(DhcpSchema),
    dns: Type.Optional(DnsSchema),
    docker: Type.Optional(
      Type.String({
        pattern: "^[0-9a-f]{64}$",
        title: "a network's id",
        description:
          "Written by the Docker driver: the id of the Docker network. Such a network comes and goes with Docker's alone.",
      }),
    ),
    impair: impair("each of its ports"),
    ports: Type.Optional(named(PortSchema, { title: "a map of ports", description: "Containers, by name." })),
  },
  { ...CLOSED, title: "a map", description: "A bridge with a gateway address." },
);

const limit = (key: keyof typeof DEFAULT_LIMITS, maximum: number, description: string) =>
  Type.Optional(integer(1, maximum, { default: DEFAULT_LIMITS[key], description }));

export const ConfigurationSchema = Type.Object(
  {
    version: Type.Literal(1, { title: "1", description: "Version of this format." }),
    networks: Type.Optional(named(NetworkSchema, { title: "a map of networks", description: "Networks, by name." })),
    uplinks: Type.Optional(named(UplinkSchema, { title: "a map of uplinks", description: "Uplinks, by name." })),
    bridge: Type.Optional(
      Type.Object(
        {
          ageingSeconds: Type.Optional(
            integer(1, 1_000_000, {
              default: DEFAULT_AGEING_SECONDS,
              description: "Seconds after which a silent station's port is forgotten.",
            }),
          ),
        },
        { ...CLOSED, title: "a map", description: "Switching inside the networks." },
      ),
    ),
    routes: Type.Optional(
      Type.Array(RouteSchema, {
        title: "a list of routes",
        description: "Routes besides the connected subnets and the uplink's default route.",
      }),
    ),
    routing: Type.Optional(RoutingSchema),
    neighbours: Type.Optional(
      Type.Array(NeighbourSchema, {
        title: "a list of neighbours",
        description: "Permanent neighbours: next hops that are not asked for by ARP.",
      }),
    ),
    nat: Type.Optional(NatSchema),
    conntrack: Type.Optional(ConntrackSchema),
    filter: Type.Optional(
      Type.Object(
        {
          forward: chain("Packets that the router forwards from one interface to another."),
          input: chain("Packets for the router itself."),
          bridge: chain(
            "Frames that are switched inside a network. Without rules and `policy: drop`, none is asked about.",
          ),
          iptables: iptablesText,
          sets,
        },
        { ...CLOSED, title: "a map", description: "Which packets pass." },
      ),
    ),
    offload: Type.Optional(
      Type.Object(
        {
          merge: Type.Optional(
            Type.Boolean({
              default: true,
              title: "true or false",
              description:
                "Whether datagrams and segments of one flow that leave one behind the other are written as one frame with a segmentation size.",
            }),
          ),
        },
        { ...CLOSED, title: "a map", description: "What devices and kernel are asked to do." },
      ),
    ),
    limits: Type.Optional(
      Type.Object(
        {
          flows: limit("flows", 16_777_216, "Connections; both directions are one."),
          macs: limit("macs", 1_048_576, "Stations of all networks together."),
          flowsPerHost,
          routes: limit("routes", 2_000_000, "Prefixes of a routing table, connected ones aside."),
          neighbours: limit("neighbours", 65_535, "Next hops whose hardware address is known or asked for."),
        },
        { ...CLOSED, title: "a map", description: "Sizes of the tables. They hold for the life of a router." },
      ),
    ),
    control: Type.Optional(ControlSchema),
    export: Type.Optional(ExportSchema),
    docker: Type.Optional(DockerSchema),
  },
  { ...CLOSED, title: "a map", description: "Configuration of a Tapir router." },
);

/** A configuration as the file has it: plain data, without defaults filled in. */
export type Configuration = Static<typeof ConfigurationSchema>;
export type NetworkConfiguration = Static<typeof NetworkSchema>;
export type PortConfiguration = Static<typeof PortSchema>;
export type { UplinkConfiguration } from "./schema_uplinks.ts";
