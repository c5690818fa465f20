/** The shape of uplinks. */
import { type Static, Type } from "typebox";
import { impair } from "./schema_impair.ts";
import { address, CLOSED, deviceName, hardwareAddress, integer, mtu, netns, pid } from "./schema_parts.ts";

/** Addresses that an uplink may have beside its first. */
const MOST_ADDRESSES = 64;
/** Linux's metrics are 32-bit words; so many are enough to put routes in order. */
const LARGEST_METRIC = 2_147_483_647;

/** Above the ports that Linux gives away by itself would be better; there are too few of them. */
export const DEFAULT_RESERVED = "40000-49999";

const reserved = (what: string) =>
  Type.String({
    pattern: "^[0-9]{1,5}-[0-9]{1,5}$",
    default: DEFAULT_RESERVED,
    title: "a range like 40000-49999",
    description: `For ${what}`,
  });

const WITH_LENGTH = "an IPv4 address with a prefix length";

export const UplinkSchema = Type.Object(
  {
    kind: Type.Enum(["packet", "tap", "raw"], {
      title: "packet, tap or raw",
      description:
        "`packet`: an existing device of the router's namespace, used over a packet socket. `tap`: a TAP device that the router makes. `raw`: raw sockets that share the host's own address.",
    }),
    device: Type.Optional(
      deviceName({ description: "For `packet` and `raw`, required: name of the device.", examples: ["up0"] }),
    ),
    ifname: Type.Optional(
      deviceName({ description: "For `tap`: name of the TAP device (`device` says the same). Default: `eth0`." }),
    ),
    address: Type.String({
      title: WITH_LENGTH,
      description:
        "The router's own address and the length of its subnet's prefix, /1 to /31. For `raw`: the host's, on `device`. For `packet` also `dhcp`: a DHCP server gives it, and the routes.",
      examples: ["203.0.113.1/24"],
    }),
    addresses: Type.Optional(
      Type.Array(Type.String({ title: WITH_LENGTH }), {
        minItems: 1,
        maxItems: MOST_ADDRESSES,
        title: `a list of 1 to ${MOST_ADDRESSES} addresses with a prefix length`,
        description: "More addresses of the router's own, /1 to /32. MASQUERADE takes `address`.",
      }),
    ),
    gateway: Type.Optional(
      address({
        description:
          "Next hop of the default route, in a subnet of the uplink. With `address: dhcp`, instead of the lease's.",
      }),
    ),
    metric: Type.Optional(
      integer(0, LARGEST_METRIC, {
        default: 0,
        description: "Of the default route: the lowest of those whose uplinks are up is taken.",
      }),
    ),
    mtu: Type.Optional(
      mtu({ description: "Largest IPv4 packet in bytes. Default: the device's, also when that changes." }),
    ),
    mac: Type.Optional(
      hardwareAddress({
        description:
          "The router's own hardware address. Default: made from name and address (with `address: dhcp`: name and host name).",
      }),
    ),
    netns: Type.Optional(
      netns({ description: "For `tap`: namespace that the device is made in. Default: the router's own." }),
    ),
    pid: Type.Optional(
      pid({ description: "For `tap`, instead of `netns`: a process whose network namespace is used." }),
    ),
    peerAddress: Type.Optional(
      address({ description: "For `tap`: address that the device gets, with the prefix length of `address`." }),
    ),
    ports: Type.Optional(reserved("`raw`: TCP and UDP ports of the shared address that NAT may take.")),
    echoIds: Type.Optional(reserved("`raw`: identifiers of ICMP queries that NAT may take.")),
    defaultRoute: Type.Optional(
      Type.Boolean({
        default: true,
        title: "true or false",
        description: "For `raw`: whether the default route leads to the host's kernel, which routes on.",
      }),
    ),
    impair: impair("this uplink"),
  },
  { ...CLOSED, title: "a map", description: "An interface to the outside; it is not bridged." },
);

export type UplinkConfiguration = Static<typeof UplinkSchema>;
