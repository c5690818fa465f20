/** The shape of what a port brings along: routes in its container, published ports, and who has asked for it. */
import { type Static, Type } from "typebox";
import { portSpan } from "./schema_nat.ts";
import { address, CLOSED, prefix } from "./schema_parts.ts";

const RouteOfPortSchema = Type.Object(
  {
    to: prefix({ title: "an IPv4 prefix", description: "Where it leads." }),
    via: Type.Optional(address({ description: "Next hop, in the network. Default: the gateway." })),
  },
  { ...CLOSED, title: "a map { to, via }" },
);

const PublishOfPortSchema = Type.Object(
  {
    proto: Type.Enum(["tcp", "udp", "both"], { title: "tcp, udp or both", description: "Protocol." }),
    on: Type.Optional(
      Type.String({
        title: "the name of an uplink",
        description: "Uplink whose address is published. Default: the one that has `address`; without it, each.",
      }),
    ),
    address: Type.Optional(
      address({ description: "Which of the uplink's addresses is published. Default: its first." }),
    ),
    port: portSpan("Port on the uplink's address, or a range of them."),
    to: Type.Optional(portSpan("Port of the container, or a range as long as `port`'s. Default: the same.")),
  },
  { ...CLOSED, title: "a map { proto, port }" },
);

const CniSchema = Type.Object(
  {
    network: Type.String({ title: "a name", description: "Of the network in the runtime's configuration." }),
    container: Type.String({ title: "a container's id", description: "What the runtime calls the container." }),
  },
  {
    ...CLOSED,
    title: "a map { network, container }",
    description: "Written by the CNI plugin. Such a port comes and goes with the runtime's calls alone.",
  },
);

export const ATTACHED_KEYS = {
  routes: Type.Optional(
    Type.Array(RouteOfPortSchema, {
      title: "a list of routes",
      description: "Routes that the container gets besides, once it has an `address`.",
    }),
  ),
  publish: Type.Optional(
    Type.Array(PublishOfPortSchema, {
      title: "a list",
      description: "Ports of uplinks that lead to this container's `address`, for as long as it is there.",
    }),
  ),
  cni: Type.Optional(CniSchema),
};

export type RouteOfPort = Static<typeof RouteOfPortSchema>;
export type PublishOfPort = Static<typeof PublishOfPortSchema>;
export type CniOwner = Static<typeof CniSchema>;
