/** The shape of filter chains and their rules. */
import { type Static, Type } from "typebox";
import { CLOSED, integer, named, oneOrMore, prefix, ruleName } from "./schema_parts.ts";

export const PROTOCOL_NAMES = ["tcp", "udp", "icmp"] as const;
export const STATE_NAMES = ["new", "established", "related", "invalid"] as const;
export const REJECT_NAMES = [
  "icmp-net-unreachable",
  "icmp-host-unreachable",
  "icmp-proto-unreachable",
  "icmp-port-unreachable",
  "icmp-net-prohibited",
  "icmp-host-prohibited",
  "icmp-admin-prohibited",
  "tcp-reset",
] as const;
/** Types of RFC 792, 950 and 1256, by iptables' names. */
export const ICMP_TYPES = {
  "echo-reply": 0,
  "destination-unreachable": 3,
  "source-quench": 4,
  redirect: 5,
  "echo-request": 8,
  "router-advertisement": 9,
  "router-solicitation": 10,
  "time-exceeded": 11,
  "parameter-problem": 12,
  "timestamp-request": 13,
  "timestamp-reply": 14,
  "address-mask-request": 17,
  "address-mask-reply": 18,
} as const;
export type IcmpTypeName = keyof typeof ICMP_TYPES;
const ICMP_TYPE_NAMES = Object.keys(ICMP_TYPES) as IcmpTypeName[];

const port = Type.Union(
  [integer(0, 65_535), Type.String({ pattern: "^[0-9]{1,5}(-[0-9]{1,5})?$", title: 'a port or a range "a-b"' })],
  { title: "a port from 0 to 65535 or a range like 2000-3000" },
);
const ports = (description: string) =>
  Type.Optional(oneOrMore(port, "a port from 0 to 65535 or a range like 2000-3000", { description }));
const interfaces = (description: string) =>
  Type.Optional(
    oneOrMore(Type.String({ title: "a name of a network, port or uplink" }), "a name of a network, port or uplink", {
      description,
    }),
  );
const prefixes = (description: string) =>
  Type.Optional(oneOrMore(prefix({}), "an IPv4 prefix or address", { description }));

const RuleSchema = Type.Object(
  {
    in: interfaces("Where the packet came in: networks, ports, uplinks."),
    out: interfaces(
      "Where it is going to leave: networks and uplinks; in `bridge` networks and ports. Not in `input`.",
    ),
    from: prefixes("Source addresses."),
    to: prefixes("Destination addresses, after translation."),
    proto: Type.Optional(
      Type.Union([Type.Enum([...PROTOCOL_NAMES], { title: "a protocol" }), integer(0, 255)], {
        title: "tcp, udp, icmp or a number from 0 to 255",
        description: "IP protocol.",
      }),
    ),
    sport: ports("Source ports; needs `proto` tcp or udp."),
    dport: ports("Destination ports, after translation; needs `proto` tcp or udp."),
    icmpType: Type.Optional(
      oneOrMore(
        Type.Union([Type.Enum(ICMP_TYPE_NAMES, { title: "an ICMP type" }), integer(0, 255)], {
          title: "an ICMP type's name or a number from 0 to 255",
        }),
        "an ICMP type's name or a number from 0 to 255",
        { description: "ICMP type; needs `proto` icmp." },
      ),
    ),
    state: Type.Optional(
      oneOrMore(
        Type.Enum([...STATE_NAMES], { title: "new, established, related or invalid" }),
        "new, established, related or invalid",
        { description: "What conntrack says of the packet." },
      ),
    ),
    action: Type.Enum(["accept", "drop", "reject"], {
      title: "accept, drop or reject",
      description: "What becomes of the packet.",
    }),
    with: Type.Optional(
      Type.Enum([...REJECT_NAMES], {
        title: `one of ${REJECT_NAMES.join(", ")}`,
        default: "icmp-port-unreachable",
        description: "Answer of `reject`; `tcp-reset` needs `proto` tcp.",
      }),
    ),
    name: ruleName,
  },
  { ...CLOSED, title: "a map", description: "Every key that is present must match; a list matches if a member does." },
);

export const chain = (description: string) =>
  Type.Optional(
    Type.Object(
      {
        policy: Type.Optional(
          Type.Enum(["accept", "drop"], {
            default: "accept",
            title: "accept or drop",
            description: "What becomes of packets that no rule matches.",
          }),
        ),
        rules: Type.Optional(
          Type.Array(RuleSchema, {
            title: "a list of rules",
            description: "In order; the first that matches decides.",
          }),
        ),
      },
      { ...CLOSED, title: "a map", description },
    ),
  );

export const iptablesText = Type.Optional(
  oneOrMore(
    Type.String({ title: "rules as iptables-save writes them" }),
    "rules as iptables-save writes them: a text",
    {
      description:
        "Rules as `iptables-save` writes them, with all that [iptables.md](iptables.md) has: a text, or a list of its lines. They come behind those of the other keys.",
    },
  ),
);

export const sets = Type.Optional(
  named(
    oneOrMore(
      Type.String({ title: "an IPv4 prefix, an address or a range of addresses" }),
      "an IPv4 prefix, an address or a range of addresses",
      { description: "Addresses of the set." },
    ),
    { title: "a map of address sets", description: "Address sets by name, for `-m set --match-set` in `iptables`." },
  ),
);

export type RuleConfiguration = Static<typeof RuleSchema>;
export type ChainConfiguration = Static<ReturnType<typeof chain>>;
