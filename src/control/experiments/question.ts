/**
 * An assertion's question: `SOURCE -> DESTINATION PROTOCOL[/PORT]`, with its names resolved.
 *
 *     c1 -> c2 tcp/5432                              from the host of a port to another; an uplink's is its gateway
 *     c1 -> 198.51.100.7 udp/53                      to an address
 *     wan:203.0.113.2 -> 203.0.113.1 tcp/8080        from a host behind an uplink
 *     c2 -> gateway icmp                             to the router's address on the source's own network
 *     wan:203.0.113.2 -> wan tcp/8080                a network's or uplink's name: the router's address on it
 */
import { formatAddress } from "../../packet/ipv4_address.ts";
import { quote } from "../configuration/errors.ts";
import { suggestion } from "../configuration/nearest.ts";
import { hasPorts, PacketTextError, readPlainAddress, readProtocol } from "../packet_text.ts";
import type { VirtualHosts, VirtualPort } from "./virtual_hosts.ts";

export interface Question {
  port: VirtualPort;
  source: number;
  destination: number;
  protocol: number;
  /** 0 where the protocol has none. */
  destinationPort: number;
}

const GATEWAY = "gateway";

/** @throws `PacketTextError` */
export function parseQuestion(text: string, hosts: VirtualHosts): Question {
  const [, from, to, what] = /^\s*(\S+)\s+->\s+(\S+)\s+(\S+)\s*$/.exec(text) ?? [];
  if (from === undefined || to === undefined || what === undefined) {
    throw new PacketTextError(`expected an assertion like "c1 -> c2 tcp/5432", not ${quote(text)}`);
  }
  const { port, address } = readSource(from, hosts);
  return { port, source: address, destination: readDestination(to, port, hosts), ...readService(what) };
}

function readSource(text: string, hosts: VirtualHosts): { port: VirtualPort; address: number } {
  const [name, addressText] = text.split(/:(.*)/s, 2);
  const port = hosts.port(name);
  if (port === undefined) {
    const known = hosts.ports.map((each) => each.name);
    throw new PacketTextError(`no port is called ${quote(name)}${suggestion(name, known)}`);
  }
  const address = addressText === undefined ? port.address : readPlainAddress(addressText);
  if (address === undefined) {
    throw new PacketTextError(`${quote(name)} has no address of its own: say ${name}:ADDRESS`);
  }
  return { port, address };
}

function readDestination(text: string, from: VirtualPort, hosts: VirtualHosts): number {
  if (/^[0-9.]+$/.test(text)) return readPlainAddress(text);
  if (text === GATEWAY) return from.interface.address;
  const owner = hosts.ports.find((each) => each.interface.name === text)?.interface;
  if (owner !== undefined) return owner.address;
  const port = hosts.port(text);
  if (port?.address !== undefined) return port.address;
  if (port !== undefined) throw new PacketTextError(`port ${quote(text)} has no address: say which`);
  const known = [...hosts.ports.flatMap((each) => [each.name, each.interface.name]), GATEWAY];
  throw new PacketTextError(
    `${quote(text)} is neither an address nor a port, network, uplink or "gateway"${suggestion(text, known)}`,
  );
}

function readService(text: string): { protocol: number; destinationPort: number } {
  const [name, portText, ...more] = text.split("/");
  const protocol = readProtocol(name);
  if (!hasPorts(protocol)) {
    if (portText !== undefined) throw new PacketTextError(`${quote(text)}: this protocol has no ports`);
    return { protocol, destinationPort: 0 };
  }
  const isPort = portText !== undefined && more.length === 0 && /^[0-9]{1,5}$/.test(portText);
  if (!isPort || Number(portText) < 1 || Number(portText) > 65_535) {
    throw new PacketTextError(`expected a protocol with a port like tcp/80, not ${quote(text)}`);
  }
  return { protocol, destinationPort: Number(portText) };
}

/** `10.55.66.3:80`, without a port where the protocol has none. */
export function formatEnd(address: number, protocol: number, port: number): string {
  return hasPorts(protocol) ? `${formatAddress(address)}:${port}` : formatAddress(address);
}
