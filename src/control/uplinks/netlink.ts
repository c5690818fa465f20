/**
 * What rtnetlink(7) says of devices: RTM_NEWLINK and RTM_DELLINK, in the machine's byte order (little-endian on all
 * that Node.js runs Linux on).
 *
 *      0               4       6       8               12              16
 *     +---------------+-------+-------+---------------+---------------+
 *   0 | length        | type  | flags | sequence      | port id       |   nlmsghdr
 *     +---+---+-------+-------+-------+---------------+---------------+
 *  16 | family, type  | ifindex       | IFF_ flags    | change mask   |   ifinfomsg
 *     +-------+-------+---------------+---------------+---------------+
 *  32 | length| type  | value, padded to 4 bytes ...                      attributes (rtattr)
 */
export const RTMGRP_LINK = 1;

const MessageType = { DONE: 3, NEW_LINK: 16, DEL_LINK: 17, GET_LINK: 18 } as const;
const HEADER_BYTES = 16;
const LINK_BYTES = 16;
/** NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH: a dump. */
const DUMP_FLAGS = 0x301;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFF_UP = 0x1;
const IFF_RUNNING = 0x40;
/** A message about one aspect of a device, of another family (a bridge's port), repeats RTM_NEWLINK. */
const AF_UNSPEC = 0;

export interface LinkNews {
  ifindex: number;
  ifname: string;
  /** The device is no more. */
  isGone: boolean;
  /** It has been set up. */
  isEnabled: boolean;
  /** It is up and has a carrier. */
  isUp: boolean;
  /** Bytes. */
  mtu: number;
}

/** Asks for all devices as they are now. */
export function linkDumpRequest(): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + LINK_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, MessageType.GET_LINK, true);
  view.setUint16(6, DUMP_FLAGS, true);
  view.setUint32(8, 1, true);
  return bytes;
}

/** The devices that a received message speaks of, and whether it ends a dump; what is malformed ends the reading. */
export function readLinkNews(bytes: Uint8Array): { news: LinkNews[]; isEnd: boolean } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const news: LinkNews[] = [];
  let isEnd = false;
  for (let at = 0; at + HEADER_BYTES <= view.byteLength; ) {
    const length = view.getUint32(at, true);
    const type = view.getUint16(at + 4, true);
    if (length < HEADER_BYTES || at + length > view.byteLength) break;
    if (type === MessageType.DONE) isEnd = true;
    const isLink = type === MessageType.NEW_LINK || type === MessageType.DEL_LINK;
    if (isLink && length >= HEADER_BYTES + LINK_BYTES && view.getUint8(at + HEADER_BYTES) === AF_UNSPEC) {
      news.push(readLink(view, at + HEADER_BYTES, at + length, type === MessageType.DEL_LINK));
    }
    at += (length + 3) & ~3;
  }
  return { news, isEnd };
}

function readLink(view: DataView, start: number, end: number, isGone: boolean): LinkNews {
  const flags = view.getUint32(start + 8, true);
  const isEnabled = (flags & IFF_UP) !== 0 && !isGone;
  const isUp = isEnabled && (flags & IFF_RUNNING) !== 0;
  const news = { ifindex: view.getInt32(start + 4, true), ifname: "", isGone, isEnabled, isUp, mtu: 0 };
  for (let at = start + LINK_BYTES; at + 4 <= end; ) {
    const length = view.getUint16(at, true);
    const type = view.getUint16(at + 2, true);
    if (length < 4 || at + length > end) break;
    if (type === IFLA_IFNAME) news.ifname = readText(view, at + 4, at + length);
    if (type === IFLA_MTU && length >= 8) news.mtu = view.getUint32(at + 4, true);
    at += (length + 3) & ~3;
  }
  return news;
}

/** Up to the zero that ends it. */
function readText(view: DataView, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end && view.getUint8(at) !== 0; at++) text += String.fromCharCode(view.getUint8(at));
  return text;
}
