/**
 * What the API answers, as schemas: the OpenAPI document's, and through them the client's types. Objects are open: a
 * later version may say more.
 */
import { type Static, type TSchema, Type } from "typebox";
import type { CniOwner, PublishOfPort, RouteOfPort } from "./configuration/schema_attached.ts";
import type { ImpairConfiguration } from "./configuration/schema_impair.ts";
import type { RateLimitConfiguration } from "./configuration/schema_rate_limit.ts";

const count = (description?: string) =>
  Type.Integer({ minimum: 0, ...(description === undefined ? {} : { description }) });
const orNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const oneOf = <T extends string>(...values: T[]) => Type.Enum(values);

export const PortSchema = Type.Object({
  name: Type.String(),
  interface: Type.String({ description: "Network or uplink." }),
  kind: Type.String({ description: "`tap`, `packet`, …" }),
  device: Type.String(),
  namespace: orNull(Type.String({ description: "Path of its network namespace; null for the router's own." })),
  mtu: Type.Integer(),
  container: Type.Optional(
    Type.String({ description: "What Docker, or a CNI runtime, calls the container behind it." }),
  ),
  cni: Type.Optional(
    Type.Object(
      { network: Type.String(), container: Type.String() },
      { description: "Of a port that the CNI plugin has made: the runtime's network, and the container's whole id." },
    ),
  ),
  state: Type.String({ description: "`up`, or `failed (why)`." }),
  rxFrames: Type.Optional(count()),
  rxBytes: Type.Optional(count()),
  txFrames: Type.Optional(count()),
  txBytes: Type.Optional(count()),
  txFull: Type.Optional(count("Frames that the device had no room for.")),
  txErrors: Type.Optional(count()),
  rxErrors: Type.Optional(count()),
  rxLimited: Type.Optional(count("Frames beyond the port's `rateLimit`.")),
  flowsLimited: Type.Optional(count("Packets of new flows beyond the port's `rateLimit`.")),
});
export type Port = Static<typeof PortSchema>;

export const StationSchema = Type.Object({
  network: Type.String(),
  mac: Type.String(),
  port: Type.String(),
  ageSeconds: count(),
});
export type Station = Static<typeof StationSchema>;

export const LeaseSchema = Type.Object({
  network: Type.String(),
  address: Type.String(),
  mac: Type.String(),
  port: Type.String(),
  hostName: orNull(Type.String({ description: "What the client calls itself." })),
  state: Type.String({ description: "`fixed` (the port's address), `bound`, `offered`, `declined` or `over`." }),
  expiresSeconds: orNull(count("Until the state ends; null where it has.")),
});

export const NeighbourSchema = Type.Object({
  interface: Type.String(),
  address: Type.String(),
  mac: orNull(Type.String()),
  state: Type.String(),
  parked: count("Frames that wait for the answer."),
});
export type Neighbour = Static<typeof NeighbourSchema>;

export const RouteSchema = Type.Object({
  to: Type.String(),
  via: orNull(Type.String()),
  interface: Type.String(),
  kind: Type.String(),
});
export type Route = Static<typeof RouteSchema>;

export const ChainSchema = Type.Object({
  policy: Type.String(),
  policyPackets: count(),
  policyBytes: count(),
  rules: Type.Array(Type.Object({ rule: Type.String(), packets: count(), bytes: count() })),
});
export type Chain = Static<typeof ChainSchema>;

export const NatRuleSchema = Type.Object({
  kind: Type.String({ description: "`masquerade`, `snat`, `publish`, `dnat`." }),
  profile: oneOf("linux", "bcp"),
  proto: orNull(Type.String()),
  from: Type.String(),
  out: orNull(Type.String()),
  to: Type.String(),
  ports: orNull(Type.String()),
  fullyRandom: Type.Boolean(),
});
export type NatRule = Static<typeof NatRuleSchema>;

export const DropSchema = Type.Object({
  reason: Type.String(),
  text: Type.String(),
  outcome: oneOf("done", "dropped"),
  count: count(),
  stage: Type.String({ description: "The stage of the walk where it comes about." }),
  last: Type.Optional(
    Type.Object(
      {
        time: Type.Number({ description: "Milliseconds since 1970." }),
        port: Type.String({ description: "The port that it came in by." }),
        frame: Type.String({ description: "In tcpdump's words." }),
        rule: Type.Optional(
          Type.Object({
            chain: Type.String(),
            number: Type.Integer({ minimum: 0, description: "From 1; 0 is the policy." }),
            rule: Type.String(),
          }),
        ),
      },
      { description: "The last packet that met it; of those that come within one millisecond, the first." },
    ),
  ),
});
export type Drop = Static<typeof DropSchema>;

export const CountersSchema = Type.Record(Type.String(), Type.Number(), {
  description: "Counters of the dataplane by name.",
});

export const InvariantsSchema = Type.Object({
  flows: count(),
  translated: count(),
  mappings: count(),
  violations: Type.Array(Type.String(), { description: "What does not hold; empty when all is well." }),
});

export const HealthSchema = Type.Object({
  version: Type.String(),
  pid: Type.Integer(),
  uptimeSeconds: count(),
  observedSeconds: Type.Number(),
  dataplaneMs: Type.Number({ description: "The longest time that the dataplane took to answer." }),
  eventLoopLagMs: Type.Number(),
  tables: Type.Array(Type.Object({ name: Type.String(), used: count(), limit: count() })),
  drops: Type.Array(Type.Object({ reason: Type.String(), text: Type.String(), count: count(), during: count() })),
  ports: Type.Array(
    Type.Object({ name: Type.String(), state: Type.String(), txFull: count(), txErrors: count(), rxErrors: count() }),
  ),
  framesReceived: count(),
  confinement: Type.Optional(
    Type.Object(
      { capabilities: Type.String(), noNewPrivileges: Type.Boolean(), filtered: Type.Boolean() },
      { description: "What the dataplane's process may do, as /proc/PID/status has it (docs/security.md)." },
    ),
  ),
  invariants: Type.Optional(InvariantsSchema),
});

export const TupleSchema = Type.Object({
  source: Type.String(),
  destination: Type.String(),
  sourcePort: Type.Optional(Type.Integer()),
  destinationPort: Type.Optional(Type.Integer()),
  icmpType: Type.Optional(Type.Integer()),
  icmpCode: Type.Optional(Type.Integer()),
  icmpId: Type.Optional(Type.Integer()),
  greKey: Type.Optional(Type.Integer()),
  packets: count(),
  bytes: count(),
});

export const FlowSchema = Type.Object({
  id: Type.Integer({ description: "The same for as long as the flow lives." }),
  protocol: Type.String(),
  protocolNumber: Type.Integer(),
  secondsLeft: count(),
  state: Type.Optional(Type.String({ description: "TCP only." })),
  original: TupleSchema,
  reply: TupleSchema,
  seenReply: Type.Boolean(),
  assured: Type.Boolean(),
  mark: count(),
});
export type Flow = Static<typeof FlowSchema>;

export const FlowEventSchema = Type.Object({
  event: oneOf("NEW", "UPDATE", "DESTROY"),
  seconds: Type.Integer({ description: "Since 1970." }),
  microseconds: Type.Integer(),
  flow: FlowSchema,
});
export type FlowEvent = Static<typeof FlowEventSchema>;

export const LostSchema = Type.Object({ lost: count("Events that could not be told.") });

/** A key that a port has in the configuration, whose checks say what is wrong with it. */
const ofPort = <T>(type: "array" | "object", key: string) =>
  Type.Optional(Type.Unsafe<T>({ type, description: `As \`networks.NAME.ports.NAME.${key}\` in the configuration.` }));

/** What is missing or too much, attaching itself says. */
export const AttachSchema = Type.Object({
  network: Type.Optional(Type.String({ description: "Name of the network. Needed." })),
  netns: Type.Optional(Type.String({ description: "The container's namespace in /run/netns; this or `pid`." })),
  pid: Type.Optional(Type.Integer({ description: "A process of the container." })),
  name: Type.Optional(Type.String({ description: "Name of the port. Default: the namespace's, or `pid-N`." })),
  ifname: Type.Optional(Type.String({ description: "Name of the device in the container. Default: eth0." })),
  address: Type.Optional(Type.String({ description: "Default: the first free address of the subnet." })),
  defaultRoute: Type.Optional(Type.Boolean({ description: "Default: true." })),
  mac: Type.Optional(
    Type.String({ description: "Hardware address. Default: made from the names of network and port." }),
  ),
  routes: ofPort<RouteOfPort[]>("array", "routes"),
  publish: ofPort<PublishOfPort[]>("array", "publish"),
  rateLimit: ofPort<RateLimitConfiguration>("object", "rateLimit"),
  impair: ofPort<ImpairConfiguration>("object", "impair"),
  antiSpoofing: Type.Optional(Type.Boolean({ description: "Default: the network's." })),
  cni: ofPort<CniOwner>("object", "cni"),
});
export type AttachWish = Static<typeof AttachSchema>;

export const AttachedSchema = Type.Object({
  name: Type.String(),
  network: Type.String(),
  address: Type.String(),
  gateway: Type.String(),
  ifname: Type.String(),
  prefixLength: Type.Integer({ description: "Of the subnet." }),
  mac: Type.String(),
  mtu: Type.Integer(),
});

export const DetachedSchema = Type.Object({ name: Type.String(), network: Type.String() });
