/** What the routing part of the API takes and answers. */
import { type Static, Type } from "typebox";

const optional = (description: string) => Type.Optional(Type.String({ description }));
const number = (description: string) => Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffffffff, description }));

const HopSchema = Type.Object(
  {
    via: optional("Next hop; absent: on-link."),
    dev: optional("Network or uplink."),
    weight: Type.Optional(Type.Integer({ minimum: 1, maximum: 256 })),
    onlink: Type.Optional(Type.Boolean({ description: "The next hop need be in no subnet of `dev`." })),
  },
  { additionalProperties: false },
);

export const RouteOperationSchema = Type.Object(
  {
    op: Type.Enum(["add", "replace", "change", "append", "prepend", "del", "flush"]),
    type: Type.Optional(Type.Enum(["unicast", "blackhole", "unreachable", "prohibit", "throw"])),
    to: optional("Prefix, address or `default`."),
    match: Type.Optional(Type.Enum(["root", "match", "exact"], { description: "For flush: how `to` is meant." })),
    table: optional("Table, by number or name; `all` for flush. Default: main."),
    metric: number("The lowest wins."),
    proto: optional("Who makes it, as in rt_protos. Default: boot."),
    nexthops: Type.Optional(Type.Array(HopSchema, { maxItems: 256 })),
  },
  { additionalProperties: false, description: "As `ip route` takes it." },
);
export type RouteOperation = Static<typeof RouteOperationSchema>;

export const RouteRowSchema = Type.Object(
  {
    table: Type.String(),
    dst: Type.String({ description: "`default`, a prefix, or an address." }),
    type: Type.String(),
    protocol: Type.String(),
    metric: Type.Integer(),
    prefsrc: Type.Optional(Type.String()),
    nexthops: Type.Array(
      Type.Object({ gateway: Type.Optional(Type.String()), dev: Type.String(), weight: Type.Integer() }),
    ),
  },
  { description: "A route." },
);
export type RouteRow = Static<typeof RouteRowSchema>;

export const RuleOperationSchema = Type.Object(
  {
    op: Type.Enum(["add", "del", "flush"]),
    priority: number("The lowest is asked first. Default: just before the rules that are there."),
    not: Type.Optional(Type.Boolean()),
    from: optional("Prefix or address of the source."),
    to: optional("Prefix or address of the destination."),
    fwmark: optional("Mark, or mark and mask."),
    iif: optional("Network, port or uplink that the packet came in through."),
    table: optional("Table that is asked."),
    type: Type.Optional(Type.Enum(["blackhole", "unreachable", "prohibit"])),
  },
  { additionalProperties: false, description: "As `ip rule` takes it." },
);
export type RuleOperation = Static<typeof RuleOperationSchema>;

export const RuleRowSchema = Type.Object(
  {
    priority: Type.Integer(),
    not: Type.Optional(Type.Boolean()),
    from: Type.String({ description: "`all`, a prefix, or an address." }),
    to: Type.Optional(Type.String()),
    fwmark: Type.Optional(Type.String()),
    fwmask: Type.Optional(Type.String()),
    iif: Type.Optional(Type.String()),
    table: Type.Optional(Type.String()),
    action: Type.Optional(Type.String()),
  },
  { description: "A rule of policy routing." },
);
export type RuleRow = Static<typeof RuleRowSchema>;

export const NeighbourOperationSchema = Type.Object(
  {
    op: Type.Enum(["add", "replace", "change", "del"]),
    address: Type.String(),
    dev: Type.String({ description: "Network or uplink." }),
    lladdr: optional("Hardware address."),
  },
  { additionalProperties: false, description: "As `ip neigh` takes it; neighbours that are made are permanent." },
);
export type NeighbourOperation = Static<typeof NeighbourOperationSchema>;

export const FoundRowSchema = Type.Object(
  {
    dst: Type.String(),
    type: Type.String({ description: "`none` where there is no route." }),
    from: Type.Optional(Type.String()),
    gateway: Type.Optional(Type.String()),
    dev: Type.Optional(Type.String()),
    table: Type.Optional(Type.String()),
    prefsrc: Type.Optional(Type.String()),
    iif: Type.Optional(Type.String()),
    mark: Type.Optional(Type.Integer()),
  },
  { description: "Which way a packet would take." },
);
export type FoundRow = Static<typeof FoundRowSchema>;

export const FollowedSchema = Type.Object(
  {
    name: Type.String({ description: "The namespace." }),
    table: Type.Integer({ description: "Its table." }),
    into: Type.Integer({ description: "This router's table." }),
    state: Type.Enum(["in sync", "reading", "waiting"]),
    reason: Type.Optional(Type.String({ description: "Why it waits." })),
    routes: Type.Integer(),
    unusable: Type.Integer({ description: "Routes whose next hop is on no subnet of this router's." }),
    resynchronised: Type.Integer({ description: "How often all routes had to be read again." }),
  },
  { description: "A kernel's table that is followed." },
);
