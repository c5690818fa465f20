/**
 * pcapng, written (draft-ietf-opsawg-pcapng): one section in little-endian order, Ethernet interfaces that are described
 * before their first packet, Enhanced Packet Blocks with a comment and flags, Interface Statistics at the end. A block is
 * bytes that can be written as they are; blocks in a row are a file.
 *
 *     +------+--------------+------+---------+--------------+
 *     | type | total length | body | options | total length |     all padded to 32 bits
 *     +------+--------------+------+---------+--------------+
 */
const BlockType = { SECTION: 0x0a0d0d0a, INTERFACE: 1, STATISTICS: 5, PACKET: 6 } as const;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const LINKTYPE_ETHERNET = 1;

const OptionCode = {
  END: 0,
  COMMENT: 1,
  SHB_USERAPPL: 4,
  IF_NAME: 2,
  IF_DESCRIPTION: 3,
  IF_FILTER: 11,
  EPB_FLAGS: 2,
  ISB_STARTTIME: 2,
  ISB_ENDTIME: 3,
  ISB_IFRECV: 4,
  ISB_IFDROP: 5,
  ISB_USRDELIV: 8,
} as const;

/** epb_flags (4.3.1): direction in bits 0 and 1, reception in bits 2 to 4. */
export const PacketFlag = { INBOUND: 1, OUTBOUND: 2, UNICAST: 1 << 2, MULTICAST: 2 << 2, BROADCAST: 3 << 2 } as const;

type Option = readonly [code: number, value: Uint8Array];

const encoder = new TextEncoder();
const padded = (length: number): number => (length + 3) & ~3;
const textOption = (code: number, text: string): Option => [code, encoder.encode(text)];

function optionBytes(options: readonly Option[]): number {
  if (options.length === 0) return 0;
  return options.reduce((sum, [, value]) => sum + 4 + padded(value.length), 4);
}

/** A block of `bodyBytes` (a multiple of 4) and options, framed; its body is to be filled from byte 8 on. */
function makeBlock(type: number, bodyBytes: number, options: readonly Option[]): { bytes: Uint8Array; view: DataView } {
  const total = 12 + bodyBytes + optionBytes(options);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, total, true);
  view.setUint32(total - 4, total, true);
  let at = 8 + bodyBytes;
  for (const [code, value] of options) {
    view.setUint16(at, code, true);
    view.setUint16(at + 2, value.length, true);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  return { bytes, view };
}

/** The block that begins a file. */
export function sectionHeader(application: string): Uint8Array {
  const { bytes, view } = makeBlock(BlockType.SECTION, 16, [textOption(OptionCode.SHB_USERAPPL, application)]);
  view.setUint32(8, BYTE_ORDER_MAGIC, true);
  view.setUint16(12, 1, true);
  // The length of the section is not known.
  view.setBigInt64(16, -1n, true);
  return bytes;
}

export interface InterfaceDescription {
  name: string;
  description: string;
  snapBytes: number;
  /** The expression that selects its packets; empty for all. */
  filter: string;
}

/** An Ethernet interface; the first that is described is 0, and so on. Times are in microseconds. */
export function interfaceDescription({ name, description, snapBytes, filter }: InterfaceDescription): Uint8Array {
  const options = [textOption(OptionCode.IF_NAME, name), textOption(OptionCode.IF_DESCRIPTION, description)];
  // A filter of kind 0 is libpcap's language.
  if (filter !== "") options.push([OptionCode.IF_FILTER, encoder.encode(`\0${filter}`)]);
  const { bytes, view } = makeBlock(BlockType.INTERFACE, 8, options);
  view.setUint16(8, LINKTYPE_ETHERNET, true);
  view.setUint32(12, snapBytes, true);
  return bytes;
}

export interface PacketBlock {
  interface: number;
  /** Since 1970. */
  seconds: number;
  microseconds: number;
  /** The packet is `captured` bytes of `from` at `start`, and was `length` bytes long. */
  from: Uint8Array;
  start: number;
  captured: number;
  length: number;
  flags: number;
  /** Empty: none. */
  comment: string;
}

export function enhancedPacket(packet: PacketBlock): Uint8Array {
  const { captured, start, flags, comment } = packet;
  const flagBytes = new Uint8Array(4);
  new DataView(flagBytes.buffer).setUint32(0, flags, true);
  const options: Option[] = [[OptionCode.EPB_FLAGS, flagBytes]];
  if (comment !== "") options.unshift(textOption(OptionCode.COMMENT, comment));
  const { bytes, view } = makeBlock(BlockType.PACKET, 20 + padded(captured), options);
  view.setUint32(8, packet.interface, true);
  setTime(view, 12, packet.seconds * 1e6 + packet.microseconds);
  view.setUint32(20, captured, true);
  view.setUint32(24, packet.length, true);
  bytes.set(packet.from.subarray(start, start + captured), 28);
  return bytes;
}

/** Microseconds since 1970, high half first. */
function setTime(view: DataView, at: number, microseconds: number): void {
  view.setUint32(at, Math.floor(microseconds / 2 ** 32), true);
  view.setUint32(at + 4, microseconds % 2 ** 32, true);
}

export interface Statistics {
  interface: number;
  /** Microseconds since 1970. */
  start: number;
  end: number;
  /** Packets that were to be captured, those of them that were lost, and those that are in the file. */
  received: number;
  dropped: number;
  delivered: number;
}

export function interfaceStatistics(statistics: Statistics): Uint8Array {
  const { bytes, view } = makeBlock(BlockType.STATISTICS, 12, [
    [OptionCode.ISB_STARTTIME, timeBytes(statistics.start)],
    [OptionCode.ISB_ENDTIME, timeBytes(statistics.end)],
    [OptionCode.ISB_IFRECV, counterBytes(statistics.received)],
    [OptionCode.ISB_IFDROP, counterBytes(statistics.dropped)],
    [OptionCode.ISB_USRDELIV, counterBytes(statistics.delivered)],
  ]);
  view.setUint32(8, statistics.interface, true);
  setTime(view, 12, statistics.end);
  return bytes;
}

function timeBytes(microseconds: number): Uint8Array {
  const bytes = new Uint8Array(8);
  setTime(new DataView(bytes.buffer), 0, microseconds);
  return bytes;
}

function counterBytes(count: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(count), true);
  return bytes;
}
