/** The part of the schema that is about routing: routes, policy rules, permanent neighbours, followed tables. */
import { type Static, Type } from "typebox";
import { address, CLOSED, integer, named, netns, oneOrMore, pid, prefix } from "./schema_parts.ts";

/** Linux keeps a table's number in 32 bits; 255 is its table `local`. */
export const LARGEST_TABLE = 0xffffffff;
/** Behind it come the rules that ask main and default. */
export const LARGEST_PRIORITY = 32_765;
const LARGEST_METRIC = 0xffffffff;

const table = (options: object) =>
  Type.Union([Type.Integer({ minimum: 1, maximum: LARGEST_TABLE }), Type.String()], {
    title: "a table's number or name",
    ...options,
  });
const dev = (description: string) =>
  Type.Optional(Type.String({ title: "a network's or an uplink's name", description }));
const via = (description: string) => Type.Optional(address({ description }));

const NextHopSchema = Type.Object(
  {
    via: via("Next hop, in the subnet of a network or an uplink."),
    dev: dev("Network or uplink; without `via`, the destinations themselves are on it."),
    weight: Type.Optional(integer(1, 256, { default: 1, description: "Its share of the flows." })),
  },
  { ...CLOSED, title: "a map { via, dev, weight }" },
);

export const RouteSchema = Type.Object(
  {
    to: prefix({
      title: "an IPv4 prefix or address",
      description: "Destinations; `default` is 0.0.0.0/0.",
      examples: ["198.51.100.0/24"],
    }),
    via: via("Next hop, in the subnet of a network or an uplink."),
    dev: dev("Network or uplink; without `via`, the destinations themselves are on it."),
    metric: Type.Optional(
      integer(0, LARGEST_METRIC, { default: 0, description: "Of several routes to a prefix the lowest metric wins." }),
    ),
    type: Type.Optional(
      Type.Enum(["unicast", "blackhole", "unreachable", "prohibit", "throw"], {
        default: "unicast",
        title: "unicast, blackhole, unreachable, prohibit or throw",
        description:
          "`blackhole` drops in silence, `unreachable` answers with ICMP host unreachable, `prohibit` with ICMP administratively prohibited, `throw` leaves the packet to the next rule.",
      }),
    ),
    nexthops: Type.Optional(
      Type.Array(NextHopSchema, {
        minItems: 1,
        maxItems: 256,
        title: "a list of at least one next hop",
        description: "Instead of `via` and `dev`: several next hops, which share the flows.",
      }),
    ),
    table: Type.Optional(
      table({ default: "main", description: "Routing table, by number or by a name of `routing.tables`." }),
    ),
  },
  { ...CLOSED, title: "a map { to, via }" },
);

const PolicyRuleSchema = Type.Object(
  {
    priority: integer(1, LARGEST_PRIORITY, { description: "The lowest is asked first; main has 32766." }),
    from: Type.Optional(prefix({ title: "an IPv4 prefix or address", description: "Source of the packet." })),
    to: Type.Optional(prefix({ title: "an IPv4 prefix or address", description: "Destination of the packet." })),
    not: Type.Optional(
      Type.Boolean({ default: false, title: "true or false", description: "Fits where the rest does not." }),
    ),
    fwmark: Type.Optional(
      Type.Union([Type.Integer({ minimum: 0, maximum: LARGEST_TABLE }), Type.String()], {
        title: "a mark, or a mark and a mask like 0x1/0xff",
        description: "Mark that a rule of PREROUTING has set.",
      }),
    ),
    iif: Type.Optional(
      Type.String({ title: "a name", description: "Network, port or uplink that the packet came in through." }),
    ),
    lookup: Type.Optional(table({ description: "Table that is asked." })),
    type: Type.Optional(
      Type.Enum(["blackhole", "unreachable", "prohibit"], {
        title: "blackhole, unreachable or prohibit",
        description: "Instead of `lookup`: what becomes of the packet.",
      }),
    ),
  },
  { ...CLOSED, title: "a map { priority, from, lookup }" },
);

const FollowSchema = Type.Object(
  {
    netns: Type.Optional(
      netns({ description: "Network namespace where the routing daemon runs: a name in `/run/netns`." }),
    ),
    pid: Type.Optional(pid({ description: "Instead of `netns`: a process of the namespace." })),
    table: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: LARGEST_TABLE }), Type.Enum(["main", "default"])], {
        default: "main",
        title: "a table's number, main or default",
        description: "The kernel's table there.",
      }),
    ),
    into: Type.Optional(table({ default: "main", description: "The router's own table that its routes go into." })),
  },
  { ...CLOSED, title: "a map { netns, table }", description: "A kernel's routing table that is followed." },
);

export const RoutingSchema = Type.Object(
  {
    tables: Type.Optional(
      named(Type.Integer({ minimum: 1, maximum: LARGEST_TABLE, title: "a table's number" }), {
        title: "a map from names to numbers",
        description: "Names of routing tables. `main` is 254, `default` is 253.",
      }),
    ),
    rules: Type.Optional(
      Type.Array(PolicyRuleSchema, {
        maxItems: 1000,
        title: "a list of at most 1000 policy rules",
        description: "Policy routing: which table is asked for which packets.",
      }),
    ),
    follow: Type.Optional(
      oneOrMore(FollowSchema, "a map { netns, table }", {
        description: "Routing tables of kernels, whose routes the router takes over as they come and go.",
      }),
    ),
  },
  { ...CLOSED, title: "a map", description: "Routing beyond the list of routes." },
);

export const NeighbourSchema = Type.Object(
  {
    address: address({ description: "Address of the neighbour.", examples: ["203.0.113.9"] }),
    dev: dev("Network or uplink. Default: the one whose subnet has the address."),
    mac: Type.String({
      pattern: "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$",
      title: "a hardware address like 02:00:00:00:00:02",
      description: "Its hardware address; the router never asks for it.",
    }),
  },
  { ...CLOSED, title: "a map { address, mac }" },
);

export type RouteConfiguration = Static<typeof RouteSchema>;
export type NextHopConfiguration = Static<typeof NextHopSchema>;
export type PolicyRuleConfiguration = Static<typeof PolicyRuleSchema>;
export type FollowConfiguration = Static<typeof FollowSchema>;
export type NeighbourConfiguration = Static<typeof NeighbourSchema>;
