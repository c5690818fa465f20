/**
 * DHCP messages (RFC 2131 section 2, RFC 2132), which are the payload of UDP between the ports 67 and 68.
 *
 *      0               1               2               3
 *     +---------------+---------------+---------------+---------------+
 *   0 |   operation   | hardware (1)  |  length (6)   |     hops      |
 *   4 |                        transaction (xid)                      |
 *   8 |            seconds            |             flags             |
 *  12 |                client address (ciaddr), if it has one         |
 *  16 |                your address (yiaddr), if it is given          |
 *  20 |                next server (siaddr)                           |
 *  24 |                relay agent (giaddr)                           |
 *  28 |                client hardware address (16)                   |
 *  44 |                server name (64), boot file (128)              |
 * 236 |                magic cookie 63 82 53 63                       |
 * 240 |                options: code, length, value ...  255          |
 *
 * Contract: `isWellFormed` has been asked; then no accessor can fail.
 */
import type { MacAddress } from "./mac_address.ts";

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;

const COOKIE = 0x63825363;
const SERVER_NAME = { at: 44, bytes: 64 };
const BOOT_FILE = { at: 108, bytes: 128 };
const OPTIONS_AT = 240;
/** BOOTP relays drop shorter ones (RFC 1542 2.1). */
const LEAST_BYTES = 300;

export const DhcpOperation = { REQUEST: 1, REPLY: 2 } as const;

export const DhcpType = {
  DISCOVER: 1,
  OFFER: 2,
  REQUEST: 3,
  DECLINE: 4,
  ACK: 5,
  NAK: 6,
  RELEASE: 7,
  INFORM: 8,
} as const;

export const DhcpOption = {
  PAD: 0,
  SUBNET_MASK: 1,
  ROUTER: 3,
  DNS: 6,
  HOST_NAME: 12,
  DOMAIN: 15,
  INTERFACE_MTU: 26,
  BROADCAST_ADDRESS: 28,
  REQUESTED_ADDRESS: 50,
  LEASE_SECONDS: 51,
  OVERLOAD: 52,
  MESSAGE_TYPE: 53,
  SERVER_ID: 54,
  PARAMETERS: 55,
  MESSAGE: 56,
  T1_SECONDS: 58,
  T2_SECONDS: 59,
  CLIENT_ID: 61,
  CLASSLESS_ROUTES: 121,
  END: 255,
} as const;

export type DhcpOptions = Map<number, Uint8Array>;

/** Ethernet, with the cookie, and long enough. `length` is that of UDP's payload. */
export function isWellFormed(memory: DataView, at: number, length: number): boolean {
  return length >= OPTIONS_AT && memory.getUint16(at + 1) === 0x0106 && memory.getInt32(at + 236) === COOKIE;
}

export function operation(memory: DataView, at: number): number {
  return memory.getUint8(at);
}

export function transaction(memory: DataView, at: number): number {
  return memory.getInt32(at + 4);
}

/** Whether the client cannot take a frame to its hardware address before it has an IPv4 address. */
export function wantsBroadcast(memory: DataView, at: number): boolean {
  return (memory.getUint8(at + 10) & 0x80) !== 0;
}

/** The relay agent's address; 0 without one. */
export function relayAddress(memory: DataView, at: number): number {
  return memory.getInt32(at + 24);
}

export function clientAddress(memory: DataView, at: number): number {
  return memory.getInt32(at + 12);
}

export function yourAddress(memory: DataView, at: number): number {
  return memory.getInt32(at + 16);
}

export function clientMac(memory: DataView, at: number): MacAddress {
  return { high: memory.getUint16(at + 28), low: memory.getInt32(at + 30) };
}

/**
 * All options of a message; parts of one that comes several times are joined (RFC 3396), and those in the fields of boot
 * file and server name are read where the message says so. Undefined where one runs over its field's end.
 */
export function readOptions(memory: DataView, at: number, length: number): DhcpOptions | undefined {
  const options: DhcpOptions = new Map();
  if (!readField(memory, at + OPTIONS_AT, length - OPTIONS_AT, options)) return undefined;
  const overload = options.get(DhcpOption.OVERLOAD)?.[0] ?? 0;
  if ((overload & 1) !== 0 && !readField(memory, at + BOOT_FILE.at, BOOT_FILE.bytes, options)) return undefined;
  if ((overload & 2) !== 0 && !readField(memory, at + SERVER_NAME.at, SERVER_NAME.bytes, options)) return undefined;
  return options;
}

function readField(memory: DataView, at: number, length: number, options: DhcpOptions): boolean {
  const end = at + length;
  for (let next = at; next < end; ) {
    const code = memory.getUint8(next++);
    if (code === DhcpOption.END) return true;
    if (code === DhcpOption.PAD) continue;
    if (next >= end) return false;
    const bytes = memory.getUint8(next++);
    if (next + bytes > end) return false;
    const value = new Uint8Array(memory.buffer, memory.byteOffset + next, bytes);
    const before = options.get(code);
    options.set(code, before === undefined ? value.slice() : Uint8Array.of(...before, ...value));
    next += bytes;
  }
  // Some servers leave END out.
  return true;
}

/** A word of four bytes; undefined for a value of another length. */
export function wordOf(value: Uint8Array | undefined): number | undefined {
  if (value?.length !== 4) return undefined;
  return new DataView(value.buffer, value.byteOffset).getInt32(0);
}

/** The first of one or more addresses. */
export function firstAddressOf(value: Uint8Array | undefined): number | undefined {
  return value === undefined || value.length % 4 !== 0 ? undefined : wordOf(value.subarray(0, 4));
}

/** Four bytes, most significant first. */
export function bytesOf(word: number): Uint8Array {
  return Uint8Array.of(word >>> 24, word >>> 16, word >>> 8, word);
}

export interface DhcpFields {
  operation: number;
  transaction: number;
  seconds: number;
  clientAddress: number;
  yourAddress: number;
  /** Default: false. */
  isBroadcast?: boolean;
  mac: MacAddress;
  options: readonly (readonly [number, Uint8Array])[];
}

/** A message. Allocates. */
export function composeMessage(fields: DhcpFields): Uint8Array {
  const optionBytes = fields.options.reduce((sum, [, value]) => sum + 2 + value.length, 0);
  const bytes = new Uint8Array(Math.max(LEAST_BYTES, OPTIONS_AT + optionBytes + 1));
  const memory = new DataView(bytes.buffer);
  memory.setUint8(0, fields.operation);
  memory.setUint16(1, 0x0106);
  memory.setInt32(4, fields.transaction);
  memory.setUint16(8, Math.min(fields.seconds, 0xffff));
  memory.setUint16(10, fields.isBroadcast === true ? 0x8000 : 0);
  memory.setInt32(12, fields.clientAddress);
  memory.setInt32(16, fields.yourAddress);
  memory.setUint16(28, fields.mac.high);
  memory.setInt32(30, fields.mac.low);
  memory.setInt32(236, COOKIE);
  let at = OPTIONS_AT;
  for (const [code, value] of fields.options) {
    bytes[at] = code;
    bytes[at + 1] = value.length;
    bytes.set(value, at + 2);
    at += 2 + value.length;
  }
  bytes[at] = DhcpOption.END;
  return bytes;
}
