/** The shape of what a network offers its containers: a DHCP server, a DNS forwarder. */
import { Type } from "typebox";
import { address, CLOSED, integer } from "./schema_parts.ts";

export const DEFAULT_DHCP = { leaseSeconds: 3600, leasesPerPort: 8 };
/** RFC 2132 3.8 sets no limit; a message of DHCP has room for some dozens. */
const MOST_SERVERS = 8;
const LONGEST_DOMAIN = 200;

const servers = (description: string, least: number) =>
  Type.Optional(
    Type.Array(address({}), {
      minItems: least,
      maxItems: MOST_SERVERS,
      title: `a list of ${least} to ${MOST_SERVERS} IPv4 addresses`,
      description,
    }),
  );

const domain = (description: string) =>
  Type.Optional(
    Type.String({
      pattern: "^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$",
      maxLength: LONGEST_DOMAIN,
      title: "a domain name",
      description,
    }),
  );

export const DhcpSchema = Type.Object(
  {
    range: Type.Optional(
      Type.String({
        pattern: "^[0-9.]+-[0-9.]+$",
        title: "a range of addresses like 10.55.66.100-10.55.66.199",
        description:
          "Addresses that are given away: of the subnet, at most 65536. The gateway's and those of ports never are. Default: all hosts' of the subnet.",
        examples: ["10.55.66.100-10.55.66.199"],
      }),
    ),
    leaseSeconds: Type.Optional(
      integer(10, 4_294_967_294, {
        default: DEFAULT_DHCP.leaseSeconds,
        description: "How long an address is given for. Its client asks again at half of it.",
      }),
    ),
    dns: servers(
      "Name servers that clients are told of. Default: the gateway, if the network has `dns`; otherwise none.",
      0,
    ),
    domain: domain("Domain that clients are told of. Default: that of the network's `dns`, if it has one."),
    leasesPerPort: Type.Optional(
      integer(1, 1024, {
        default: DEFAULT_DHCP.leasesPerPort,
        description: "Addresses that clients behind one port may have at once.",
      }),
    ),
  },
  {
    ...CLOSED,
    title: "a map",
    description: "The router is the network's DHCP server: see [dhcp-dns.md](dhcp-dns.md).",
  },
);

export const DnsSchema = Type.Object(
  {
    servers: servers(
      "Where questions about other names are sent on to, in this order. Without any, they are refused.",
      0,
    ),
    domain: domain("Domain of the names of the network's ports. Default: the network's name."),
  },
  {
    ...CLOSED,
    title: "a map",
    description: "The gateway answers questions of DNS: see [dhcp-dns.md](dhcp-dns.md).",
  },
);
