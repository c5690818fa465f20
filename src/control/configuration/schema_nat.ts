/** The shape of what NAT and conntrack are told. */
import { type Static, Type } from "typebox";
import { LARGEST_TIMEOUT_SECONDS, LINUX_TIMEOUTS, type TimeoutSeconds } from "../../conntrack/timeouts.ts";
import { address, CLOSED, integer, prefix, ruleName } from "./schema_parts.ts";

/** Addresses that one rule of source NAT may hand out. */
export const MOST_POOL_ADDRESSES = 1024;
const LARGEST_FLOWS_PER_HOST = 16_777_216;

const PORTS_WORDS = "a port from 1 to 65535 or a range like 2000-3000";

const truth = (byDefault: boolean, description: string) =>
  Type.Optional(Type.Boolean({ default: byDefault, title: "true or false", description }));

export const portSpan = (description: string) =>
  Type.Union([integer(1, 65_535), Type.String({ pattern: "^[0-9]{1,5}(-[0-9]{1,5})?$", title: PORTS_WORDS })], {
    title: PORTS_WORDS,
    description,
  });

const sourceKeys = (what: string) => ({
  from: prefix({ title: "an IPv4 prefix or address", description: `Sources whose new flows take ${what}.` }),
  out: Type.String({ title: "the name of an uplink", description: "Uplink through which they leave." }),
  ports: Type.Optional(
    portSpan("Source ports (or ICMP identifiers) that flows may take. Default: their own, else one of its class."),
  ),
  fullyRandom: truth(false, "Whether each flow's source port is drawn at random, in place of kept."),
  name: ruleName,
});

const MasqueradeSchema = Type.Object(sourceKeys("the uplink's address"), {
  ...CLOSED,
  title: "a map { from, out }",
});

const SourceNatSchema = Type.Object(
  {
    ...sourceKeys("an address of `to`"),
    to: Type.String({
      title: "an IPv4 address or a range of them",
      description: `Addresses to take: one, or a range of at most ${MOST_POOL_ADDRESSES}. The router answers ARP for them.`,
      examples: ["203.0.113.10-203.0.113.20"],
    }),
  },
  { ...CLOSED, title: "a map { from, out, to }" },
);

const PublishSchema = Type.Object(
  {
    proto: Type.Enum(["tcp", "udp", "both"], { title: "tcp, udp or both", description: "Protocol." }),
    on: Type.String({ title: "the name of an uplink", description: "Uplink whose address is published." }),
    address: Type.Optional(
      address({ description: "Which of the uplink's addresses is published. Default: its first." }),
    ),
    port: portSpan("Port on the uplink's address, or a range of them."),
    to: Type.String({
      title: "an IPv4 address with a port, like 10.55.66.3:80",
      description:
        "Where it goes: an address of a network with a port, or with a range as long as `port`'s. Without a port, the port stays.",
      examples: ["10.55.66.3:80"],
    }),
    name: ruleName,
  },
  { ...CLOSED, title: "a map { proto, on, port, to }" },
);

export const NatSchema = Type.Object(
  {
    profile: Type.Optional(
      Type.Enum(["linux", "bcp"], {
        default: "linux",
        title: "linux or bcp",
        description: "Whose behaviour NAT follows: Linux's, or RFC 4787, 5382 and 5508 as written.",
      }),
    ),
    masquerade: Type.Optional(
      Type.Array(MasqueradeSchema, { title: "a list", description: "Sources that take an uplink's address." }),
    ),
    snat: Type.Optional(
      Type.Array(SourceNatSchema, {
        title: "a list",
        description: "Sources that take other addresses. These rules come before those of `masquerade`.",
      }),
    ),
    publish: Type.Optional(
      Type.Array(PublishSchema, { title: "a list", description: "Ports of uplinks that lead to containers." }),
    ),
  },
  { ...CLOSED, title: "a map", description: "Network address translation." },
);

const timeoutNames = Object.keys(LINUX_TIMEOUTS) as (keyof TimeoutSeconds)[];
const timeout = (name: keyof TimeoutSeconds) =>
  Type.Optional(integer(1, LARGEST_TIMEOUT_SECONDS, { default: LINUX_TIMEOUTS[name], description: "Seconds." }));
const timeouts = Object.fromEntries(timeoutNames.map((name) => [name, timeout(name)])) as {
  [name in keyof TimeoutSeconds]: ReturnType<typeof timeout>;
};

export const ConntrackSchema = Type.Object(
  {
    loose: truth(true, "Whether a TCP flow may be picked up in the middle (`nf_conntrack_tcp_loose`)."),
    liberal: truth(false, "Whether segments outside of the window pass (`nf_conntrack_tcp_be_liberal`)."),
    maxRetransmissions: Type.Optional(
      integer(1, 15, {
        default: 3,
        description: "Retransmissions in a row that shorten a flow's life (`nf_conntrack_tcp_max_retrans`).",
      }),
    ),
    timeouts: Type.Optional(
      Type.Object(timeouts, {
        ...CLOSED,
        title: "a map of timeouts",
        description:
          "By the names of Linux's sysctls, without `nf_conntrack_`. The defaults are those of `profile: linux`.",
      }),
    ),
  },
  { ...CLOSED, title: "a map", description: "How flows are tracked." },
);

export const flowsPerHost = Type.Optional(
  integer(0, LARGEST_FLOWS_PER_HOST, {
    default: 0,
    description: "Translated flows that one inside address may have at once; 0: any number.",
  }),
);

export type MasqueradeConfiguration = Static<typeof MasqueradeSchema>;
export type SourceNatConfiguration = Static<typeof SourceNatSchema>;
export type PublishConfiguration = Static<typeof PublishSchema>;
export type ConntrackConfiguration = Static<typeof ConntrackSchema>;
