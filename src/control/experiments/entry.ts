/**
 * Which port of the router a captured packet enters by. The first of these that tells:
 *
 *  1. the port that the user has named for all of them;
 *  2. the name of the capture's interface: as the user has mapped it; a port's name; `PORT:ingress`, as `tapir capture`
 *     writes it. A name with another hook behind the colon is of a frame that was in the router already;
 *  3. the source hardware address: that of a container;
 *  4. the source IPv4 address (in ARP the sender's): that of a container; any other that is routed over an uplink.
 */
import type { CapturedPacket } from "../../io/captured_packet.ts";
import * as arp from "../../packet/arp.ts";
import { ETHERNET_HEADER_BYTES, EtherType, etherType, sourceMacHigh, sourceMacLow } from "../../packet/ethernet.ts";
import { IPV4_HEADER_BYTES, sourceAddress } from "../../packet/ipv4.ts";
import type { VirtualPort } from "./virtual_hosts.ts";
import type { VirtualRouter } from "./virtual_router.ts";

export interface EntryOptions {
  /** A port that all packets enter by. */
  port?: string;
  /** Ports by names of the capture's interfaces. */
  map: ReadonlyMap<string, string>;
}

/** A port, or why there is none. */
export type Entry = { port: VirtualPort } | { why: string };

const INGRESS = "ingress";

/** `bytes` is the Ethernet frame; absent where the packet has none. */
export function entryOf(
  virtual: VirtualRouter,
  { port, map }: EntryOptions,
  packet: CapturedPacket,
  bytes: Uint8Array | undefined,
): Entry {
  const { hosts } = virtual;
  if (port !== undefined) return found(hosts.port(port), `no port is called ${port}`);
  const name = packet.interfaceName;
  if (name !== undefined) {
    const mapped = map.get(name);
    if (mapped !== undefined) return found(hosts.port(mapped), `no port is called ${mapped}`);
    const [word, hook = INGRESS] = name.split(":", 2);
    const named = hosts.port(word);
    if (named !== undefined)
      return hook === INGRESS ? { port: named } : { why: `captured at ${hook}, not on its way in` };
  }
  const byFrame =
    bytes === undefined ? byAddress(virtual, sourceAddressOf(packet.bytes, 0)) : byFrameOf(virtual, bytes);
  return found(byFrame, "nothing tells its port: say --in PORT or --map INTERFACE=PORT");
}

function found(port: VirtualPort | undefined, why: string): Entry {
  return port === undefined ? { why } : { port };
}

function byFrameOf(virtual: VirtualRouter, bytes: Uint8Array): VirtualPort | undefined {
  const memory = viewOf(bytes);
  if (bytes.length < ETHERNET_HEADER_BYTES) return undefined;
  const high = sourceMacHigh(memory, 0);
  const low = sourceMacLow(memory, 0);
  const byMac = virtual.hosts.ports.find(({ mac }) => mac !== undefined && mac.high === high && mac.low === low);
  if (byMac !== undefined) return byMac;
  switch (etherType(memory, 0)) {
    case EtherType.IPV4:
      return byAddress(virtual, sourceAddressOf(bytes, ETHERNET_HEADER_BYTES));
    case EtherType.ARP:
      if (!arp.isWellFormed(memory, ETHERNET_HEADER_BYTES, bytes.length - ETHERNET_HEADER_BYTES)) return undefined;
      return byAddress(virtual, arp.senderAddress(memory, ETHERNET_HEADER_BYTES));
    default:
      return undefined;
  }
}

function sourceAddressOf(bytes: Uint8Array, at: number): number | undefined {
  return bytes.length < at + IPV4_HEADER_BYTES ? undefined : sourceAddress(viewOf(bytes), at);
}

function byAddress({ hosts, router }: VirtualRouter, address: number | undefined): VirtualPort | undefined {
  if (address === undefined) return undefined;
  const own = hosts.ports.find((port) => port.address === address);
  if (own !== undefined) return own;
  const route = router.routes.lookup(address);
  return hosts.ports.find((port) => port.interface.kind === "uplink" && port.interface.index === route?.interface);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
