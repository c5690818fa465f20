/**
 * pcapng, read (draft-ietf-opsawg-pcapng): sections of blocks, each of which says its length at both its ends.
 *
 *     +------+--------------+------+--------------+
 *     | type | total length | body | total length |      32-bit words in the byte order of the section
 *     +------+--------------+------+--------------+
 *
 * Packets are in Enhanced (6), Simple (3) and the obsolete Packet Blocks (2); Interface Descriptions (1) say what their
 * link type, name and clock are. Any other block is passed over without being held.
 */
import type { ByteSource } from "./byte_source.ts";
import {
  type CapturedPacket,
  CaptureFileError,
  copyOf,
  MOST_PACKET_BYTES,
  normalTime,
  tooLong,
  viewOf,
} from "./captured_packet.ts";

/** Type of the Section Header Block: the same in either byte order. */
export const PCAPNG_MAGIC = 0x0a0d0d0a;

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const BlockType = { INTERFACE: 1, PACKET: 2, SIMPLE_PACKET: 3, ENHANCED_PACKET: 6 } as const;
const Option = { END: 0, COMMENT: 1, IF_NAME: 2, IF_TSRESOL: 9, IF_TSOFFSET: 14 } as const;

/** Type and both lengths. */
const BLOCK_FRAME_BYTES = 12;
/** Of interfaces and of what a packet's block holds besides the packet: options are short texts. */
const MOST_DESCRIPTION_BYTES = 256 * 1024;
const MOST_INTERFACES = 65_536;

interface Interface {
  linkType: number;
  snapBytes: number;
  name: string | undefined;
  unitsOfSecond: bigint;
  offsetSeconds: number;
}

interface Section {
  isLittleEndian: boolean;
  interfaces: Interface[];
}

/** A block whose type and length have been read. */
interface Block {
  at: number;
  type: number;
  bodyBytes: number;
}

export function* readPcapng(source: ByteSource): Generator<CapturedPacket> {
  let section = readSectionHeader(source);
  while (source.peek(1).length > 0) {
    if (isSectionHeader(source)) {
      section = readSectionHeader(source);
      continue;
    }
    const block = readBlockStart(source, section);
    const packet = readBody(source, section, block);
    endBlock(source, section, block);
    if (packet !== undefined) yield packet;
  }
}

function isSectionHeader(source: ByteSource): boolean {
  const start = source.peek(4);
  return start.length === 4 && new DataView(start.buffer, start.byteOffset, 4).getUint32(0) === PCAPNG_MAGIC;
}

function readSectionHeader(source: ByteSource): Section {
  const at = source.position;
  const header = viewOf(source, 16, "a section header");
  const isLittleEndian = header.getUint32(8, true) === BYTE_ORDER_MAGIC;
  if (!isLittleEndian && header.getUint32(8, false) !== BYTE_ORDER_MAGIC) {
    throw new CaptureFileError(`byte ${at}: a section header without a byte order`);
  }
  const major = header.getUint16(12, isLittleEndian);
  if (major !== 1) throw new CaptureFileError(`byte ${at}: pcapng version ${major} is not supported, only 1`);
  const total = header.getUint32(4, isLittleEndian);
  const section: Section = { isLittleEndian, interfaces: [] };
  const block: Block = { at, type: PCAPNG_MAGIC, bodyBytes: checkLength(at, total, 16) };
  // Byte order and version have been read.
  skipExactly(source, block.bodyBytes - 8);
  endBlock(source, section, block);
  return section;
}

function readBlockStart(source: ByteSource, { isLittleEndian }: Section): Block {
  const at = source.position;
  const header = viewOf(source, 8, "a block's header");
  const total = header.getUint32(4, isLittleEndian);
  return { at, type: header.getUint32(0, isLittleEndian), bodyBytes: checkLength(at, total, 0) };
}

function checkLength(at: number, total: number, least: number): number {
  if (total % 4 !== 0 || total < BLOCK_FRAME_BYTES + least) {
    throw new CaptureFileError(`byte ${at}: a block cannot have ${total} bytes`);
  }
  return total - BLOCK_FRAME_BYTES;
}

function endBlock(source: ByteSource, { isLittleEndian }: Section, { at, bodyBytes }: Block): void {
  const end = viewOf(source, 4, "a block");
  if (end.getUint32(0, isLittleEndian) !== bodyBytes + BLOCK_FRAME_BYTES) {
    throw new CaptureFileError(`byte ${at}: a block whose two lengths differ`);
  }
}

function skipExactly(source: ByteSource, length: number): void {
  const at = source.position;
  if (source.skip(length) < length) throw new CaptureFileError(`byte ${at}: the file ends inside a block`);
}

/** Takes the whole body of a block; a packet, if it held one. */
function readBody(source: ByteSource, section: Section, block: Block): CapturedPacket | undefined {
  switch (block.type) {
    case BlockType.INTERFACE:
      addInterface(source, section, block);
      return undefined;
    case BlockType.ENHANCED_PACKET:
    case BlockType.PACKET:
      return readPacket(source, section, block);
    case BlockType.SIMPLE_PACKET:
      return readSimplePacket(source, section, block);
    default:
      skipExactly(source, block.bodyBytes);
      return undefined;
  }
}

function addInterface(source: ByteSource, { isLittleEndian, interfaces }: Section, { at, bodyBytes }: Block): void {
  if (bodyBytes < 8 || bodyBytes > MOST_DESCRIPTION_BYTES) throw badBody(at, "an interface's", bodyBytes);
  if (interfaces.length === MOST_INTERFACES) {
    throw new CaptureFileError(`byte ${at}: more than ${MOST_INTERFACES} interfaces`);
  }
  const body = viewOf(source, bodyBytes, "an interface's block");
  const added: Interface = {
    linkType: body.getUint16(0, isLittleEndian),
    snapBytes: body.getUint32(4, isLittleEndian),
    name: undefined,
    unitsOfSecond: 1_000_000n,
    offsetSeconds: 0,
  };
  for (const { code, value } of optionsOf(body, 8, isLittleEndian)) {
    if (code === Option.IF_NAME) added.name = textOf(value);
    else if (code === Option.IF_TSRESOL && value.byteLength >= 1) added.unitsOfSecond = unitsOf(at, value.getUint8(0));
    else if (code === Option.IF_TSOFFSET && value.byteLength >= 8) {
      added.offsetSeconds = Number(value.getBigInt64(0, isLittleEndian));
    }
  }
  interfaces.push(added);
}

/** A power of 10, or with the highest bit of 2 (4.2, if_tsresol). */
function unitsOf(at: number, resolution: number): bigint {
  const exponent = resolution & 0x7f;
  const isBinary = (resolution & 0x80) !== 0;
  if (exponent > (isBinary ? 63 : 19)) throw new CaptureFileError(`byte ${at}: a clock that is finer than 64 bits`);
  return (isBinary ? 2n : 10n) ** BigInt(exponent);
}

function readPacket(source: ByteSource, section: Section, { at, type, bodyBytes }: Block): CapturedPacket {
  const { isLittleEndian } = section;
  if (bodyBytes < 20) throw badBody(at, "a packet's", bodyBytes);
  const head = viewOf(source, 20, "a packet's block");
  const index = type === BlockType.PACKET ? head.getUint16(0, isLittleEndian) : head.getUint32(0, isLittleEndian);
  const ticks = (BigInt(head.getUint32(4, isLittleEndian)) << 32n) | BigInt(head.getUint32(8, isLittleEndian));
  const captured = head.getUint32(12, isLittleEndian);
  const originalBytes = head.getUint32(16, isLittleEndian);
  const owner = interfaceOf(section, at, index);
  const { bytes, rest } = takeBytes(source, at, captured, bodyBytes - 20);
  const comments: string[] = [];
  for (const { code, value } of optionsOf(viewOf(source, rest, "a packet's options"), 0, isLittleEndian)) {
    if (code === Option.COMMENT) comments.push(textOf(value));
  }
  return { ...timeOf(ticks, owner), ...described(owner, index), comments, bytes, originalBytes };
}

/** It has no time, and belongs to the first interface. */
function readSimplePacket(source: ByteSource, section: Section, { at, bodyBytes }: Block): CapturedPacket {
  if (bodyBytes < 4) throw badBody(at, "a packet's", bodyBytes);
  const originalBytes = viewOf(source, 4, "a packet's block").getUint32(0, section.isLittleEndian);
  const owner = interfaceOf(section, at, 0);
  const snapBytes = owner.snapBytes === 0 ? originalBytes : owner.snapBytes;
  const captured = Math.min(originalBytes, snapBytes, bodyBytes - 4);
  const { bytes, rest } = takeBytes(source, at, captured, bodyBytes - 4);
  skipExactly(source, rest);
  return { seconds: 0, nanoseconds: 0, ...described(owner, 0), comments: [], bytes, originalBytes };
}

/** The bytes of a packet and their padding; `rest` is what its block holds behind them. */
function takeBytes(
  source: ByteSource,
  at: number,
  captured: number,
  room: number,
): { bytes: Uint8Array; rest: number } {
  if (captured > MOST_PACKET_BYTES) throw tooLong(at, captured);
  const padded = (captured + 3) & ~3;
  if (padded > room) throw new CaptureFileError(`byte ${at}: a packet that is longer than its block`);
  if (room - padded > MOST_DESCRIPTION_BYTES) throw badBody(at, "a packet's", room);
  const bytes = copyOf(source, captured);
  skipExactly(source, padded - captured);
  return { bytes, rest: room - padded };
}

function interfaceOf({ interfaces }: Section, at: number, index: number): Interface {
  const found = interfaces[index];
  if (found === undefined)
    throw new CaptureFileError(`byte ${at}: a packet of interface ${index}, which is not described`);
  return found;
}

function described({ linkType, name }: Interface, index: number) {
  return { linkType, interface: index, ...(name === undefined ? {} : { interfaceName: name }) };
}

function timeOf(ticks: bigint, { unitsOfSecond, offsetSeconds }: Interface) {
  const seconds = ticks / unitsOfSecond;
  const nanoseconds = ((ticks % unitsOfSecond) * 1_000_000_000n) / unitsOfSecond;
  return normalTime(Number(seconds) + offsetSeconds, Number(nanoseconds));
}

/** What a block's options say, up to the first that does not fit. */
export function* optionsOf(
  body: DataView,
  from: number,
  isLittleEndian: boolean,
): Generator<{ code: number; value: DataView }> {
  let at = from;
  while (at + 4 <= body.byteLength) {
    const code = body.getUint16(at, isLittleEndian);
    const length = body.getUint16(at + 2, isLittleEndian);
    if (code === Option.END || at + 4 + length > body.byteLength) return;
    yield { code, value: new DataView(body.buffer, body.byteOffset + at + 4, length) };
    at += 4 + ((length + 3) & ~3);
  }
}

const decoder = new TextDecoder();

/** UTF-8; texts may end with a zero. */
export function textOf(value: DataView): string {
  return decoder.decode(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)).replace(/\0+$/, "");
}

function badBody(at: number, whose: string, bytes: number): CaptureFileError {
  return new CaptureFileError(`byte ${at}: ${whose} block cannot hold ${bytes} bytes`);
}
