/** What a DHCP client asks, read from its message, and the message that answers it. */
import * as dhcp from "../../packet/dhcp.ts";
import { DhcpOption, type DhcpOptions, DhcpType } from "../../packet/dhcp.ts";
import { formatMac, type MacAddress } from "../../packet/mac_address.ts";

/** Of a client identifier, which has a type and at least one byte more (RFC 2132 9.14). */
const LEAST_IDENTIFIER_BYTES = 2;
const LONGEST_OPTION_BYTES = 255;
const HOST_NAME = /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

/** A port as the server knows it. */
export interface ServerPort {
  name: string;
  /** Hardware address of the device. */
  mac: string;
  /** What the configuration gives it. */
  address?: number;
}

/** Where a message came from and to. */
export interface Arrival {
  port: ServerPort;
  isBroadcast: boolean;
}

export interface Question extends Arrival {
  transaction: number;
  clientAddress: number;
  wantsBroadcast: boolean;
  mac: MacAddress;
  macText: string;
  /** See `clientKeyOf`. */
  client: string;
  options: DhcpOptions;
  /** When it came: milliseconds of a monotonic clock. */
  now: number;
}

export function composeReply(
  { transaction, clientAddress, mac, options }: Question,
  { type, address, isBroadcast }: { type: number; address: number; isBroadcast: boolean },
  told: readonly (readonly [number, Uint8Array])[],
): Uint8Array {
  const identifier = options.get(DhcpOption.CLIENT_ID);
  return dhcp.composeMessage({
    operation: dhcp.DhcpOperation.REPLY,
    transaction,
    seconds: 0,
    clientAddress: type === DhcpType.ACK ? clientAddress : 0,
    yourAddress: address,
    isBroadcast,
    mac,
    // A client tells by its identifier that the answer is for it (RFC 6842).
    options: [
      [DhcpOption.MESSAGE_TYPE, Uint8Array.of(type)],
      ...told,
      ...(identifier === undefined || identifier.length > LONGEST_OPTION_BYTES
        ? []
        : [[DhcpOption.CLIENT_ID, identifier] as const]),
    ],
  });
}

/** Undefined for what is no whole message of a client. */
export function readQuestion(memory: DataView, arrival: Arrival, now: number): Question | undefined {
  if (!dhcp.isWellFormed(memory, 0, memory.byteLength)) return undefined;
  if (dhcp.operation(memory, 0) !== dhcp.DhcpOperation.REQUEST) return undefined;
  const options = dhcp.readOptions(memory, 0, memory.byteLength);
  const mac = dhcp.clientMac(memory, 0);
  if (options === undefined || (mac.high & 0x0100) !== 0 || (mac.high === 0 && mac.low === 0)) return undefined;
  const macText = formatMac(mac.high, mac.low);
  return {
    ...arrival,
    transaction: dhcp.transaction(memory, 0),
    clientAddress: dhcp.clientAddress(memory, 0),
    wantsBroadcast: dhcp.wantsBroadcast(memory, 0),
    mac,
    macText,
    client: clientKeyOf(options, macText),
    options,
    now,
  };
}

/** What a client is called: the bytes of its identifier, else its hardware address (RFC 2131 4.2). */
function clientKeyOf(options: DhcpOptions, mac: string): string {
  const identifier = options.get(DhcpOption.CLIENT_ID);
  if (
    identifier === undefined ||
    identifier.length < LEAST_IDENTIFIER_BYTES ||
    identifier.length > LONGEST_OPTION_BYTES
  )
    return mac;
  return Buffer.from(identifier).toString("hex");
}

/** What the client calls itself, where that is a host's name (RFC 1123 2.1). */
export function hostNameOf(options: DhcpOptions): string {
  const text = Buffer.from(options.get(DhcpOption.HOST_NAME) ?? []).toString("latin1");
  return HOST_NAME.test(text) ? text : "";
}
