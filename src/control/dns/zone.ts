/**
 * The names of one network: its ports, in its domain. What is in the domain, and the addresses of the subnet, the router
 * knows alone: nothing of it is asked of other servers (RFC 6303 3), and what is not there does not exist.
 *
 *   c1, c1.lab               A     the port's address, else those that its clients lease
 *   2.66.55.10.in-addr.arpa  PTR   c1.lab
 *   other types of these           no data
 *   other names of the domain, addresses of the subnet, and single labels: no such name
 *   localhost (RFC 6761 6.3) A     127.0.0.1
 */
import { contains, formatAddress } from "../../packet/ipv4_address.ts";
import type { DnsPlan } from "../configuration/build_network_services.ts";
import { type DnsQuestion, type OwnRecord, Rcode } from "./codec.ts";

const REVERSE = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/;

/** Who leases what. */
export interface LeaseNames {
  /** Addresses that clients behind a port have now. */
  addressesOf(network: string, port: string): number[];
  /** The port behind which a client has an address. */
  portOf(network: string, address: number): string | undefined;
}

export interface ZoneAnswer {
  rcode: number;
  records: OwnRecord[];
}

const NO_DATA: ZoneAnswer = { rcode: Rcode.NOERROR, records: [] };
const NO_NAME: ZoneAnswer = { rcode: Rcode.NXDOMAIN, records: [] };

/** What is known of a name; undefined for one that is not of this network. */
export function answerFromZone(plan: DnsPlan, leases: LeaseNames, question: DnsQuestion): ZoneAnswer | undefined {
  const name = question.name.toLowerCase();
  const { type } = question;
  if (name === "localhost" || name.endsWith(".localhost")) return recordsOf(type, "A", ["127.0.0.1"]);
  const reversed = REVERSE.exec(name);
  if (reversed !== null) return answerReverse(plan, leases, reversed.slice(1, 5), type);
  if (name === plan.domain) return NO_DATA;
  if (name.endsWith(`.${plan.domain}`)) {
    return answerHost(plan, leases, name.slice(0, -plan.domain.length - 1), type) ?? NO_NAME;
  }
  if (name === "." || name.includes(".")) return undefined;
  // A single label is somebody else's only as a domain: no host is called so elsewhere.
  const isHost = type === "A" || type === "AAAA";
  return answerHost(plan, leases, name, type) ?? (isHost ? NO_NAME : undefined);
}

function answerHost(plan: DnsPlan, leases: LeaseNames, host: string, type: string): ZoneAnswer | undefined {
  const port = plan.ports.find((each) => each.name.toLowerCase() === host);
  if (port === undefined) return undefined;
  const addresses = port.address === undefined ? leases.addressesOf(plan.network, port.name) : [port.address];
  return recordsOf(type, "A", addresses.map(formatAddress));
}

function answerReverse(plan: DnsPlan, leases: LeaseNames, octets: string[], type: string): ZoneAnswer | undefined {
  if (octets.some((each) => Number(each) > 255)) return NO_NAME;
  const address = octets.reduceRight((word, octet) => (word << 8) | Number(octet), 0);
  if (!contains(plan.subnet, address)) return undefined;
  const port = plan.ports.find((each) => each.address === address)?.name ?? leases.portOf(plan.network, address);
  return port === undefined ? NO_NAME : recordsOf(type, "PTR", [`${port}.${plan.domain}`]);
}

function recordsOf(asked: string, type: OwnRecord["type"], data: readonly string[]): ZoneAnswer {
  if (asked !== type && asked !== "ANY") return NO_DATA;
  return { rcode: Rcode.NOERROR, records: data.map((each) => ({ type, data: each })) };
}
