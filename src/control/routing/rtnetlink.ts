/**
 * rtnetlink(7), as far as IPv4 routes need it: the request for a dump, and what the kernel says of routes. All words are
 * in this machine's byte order, which is little-endian wherever Node runs with this addon; addresses in network order.
 *
 *     nlmsghdr   length (4), type (2), flags (2), sequence (4), port (4)
 *     rtmsg      family, dst_len, src_len, tos, table, protocol, scope, type (1 each), flags (4)
 *     rtattr     length (2), type (2), then the value; all padded to 4 bytes
 *     rtnexthop  length (2), flags (1), weight - 1 (1), interface (4), attributes
 */

const MessageType = { ERROR: 2, DONE: 3, NEWROUTE: 24, DELROUTE: 25, GETROUTE: 26 } as const;
const Flag = { REQUEST: 1, DUMP: 0x300, DUMP_INTERRUPTED: 0x10, REPLACE: 0x100 } as const;
const Attribute = { DESTINATION: 1, INTERFACE: 4, GATEWAY: 5, PRIORITY: 6, MULTIPATH: 9, TABLE: 15 } as const;

const HEADER_BYTES = 16;
const RTMSG_BYTES = 12;
const NEXTHOP_BYTES = 8;
const AF_INET = 2;
/** A route that the kernel made for a cache, not one of a table. */
const CLONED = 0x200;

/** Bit of the group that hears of IPv4 routes, for `openRouteNetlink`. */
export const IPV4_ROUTES_GROUP = 1 << 6;

/** Types of routes (rtm_type). */
export const KernelType = { UNICAST: 1, BLACKHOLE: 6, UNREACHABLE: 7, PROHIBIT: 8, THROW: 9 } as const;

export interface KernelRoute {
  table: number;
  address: number;
  length: number;
  metric: number;
  protocol: number;
  /** A `KernelType`, or another number. */
  type: number;
  /** `gateway` 0: on-link, or an IPv6 next hop. */
  hops: { gateway: number; weight: number }[];
}

export type KernelMessage =
  | { kind: "route"; isGone: boolean; replaces: boolean; sequence: number; route: KernelRoute }
  /** The end of a dump, or why there is none (an errno). */
  | { kind: "end"; sequence: number; error: number; isInterrupted: boolean };

/** The request for all IPv4 routes of all tables. */
export function dumpRequest(sequence: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + RTMSG_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, MessageType.GETROUTE, true);
  view.setUint16(6, Flag.REQUEST | Flag.DUMP, true);
  view.setUint32(8, sequence, true);
  bytes[HEADER_BYTES] = AF_INET;
  return bytes;
}

/** The messages of one read. What is cut or of no use here is passed over. */
export function* readMessages(bytes: Uint8Array): Generator<KernelMessage> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = view.getUint32(at, true);
    if (length < HEADER_BYTES || at + length > bytes.length) return;
    const message = readMessage(view, at, at + length);
    if (message !== undefined) yield message;
    at += align(length);
  }
}

function readMessage(view: DataView, at: number, end: number): KernelMessage | undefined {
  const type = view.getUint16(at + 4, true);
  const flags = view.getUint16(at + 6, true);
  const sequence = view.getUint32(at + 8, true);
  const isInterrupted = (flags & Flag.DUMP_INTERRUPTED) !== 0;
  const body = at + HEADER_BYTES;
  if (type === MessageType.DONE || type === MessageType.ERROR) {
    const error = body + 4 <= end ? -view.getInt32(body, true) : 0;
    return { kind: "end", sequence, error, isInterrupted };
  }
  if (type !== MessageType.NEWROUTE && type !== MessageType.DELROUTE) return undefined;
  const route = readRoute(view, body, end);
  if (route === undefined) return undefined;
  const replaces = (flags & Flag.REPLACE) !== 0;
  return { kind: "route", isGone: type === MessageType.DELROUTE, replaces, sequence, route };
}

function readRoute(view: DataView, at: number, end: number): KernelRoute | undefined {
  if (at + RTMSG_BYTES > end || view.getUint8(at) !== AF_INET) return undefined;
  // Routes by type of service do not exist here.
  if (view.getUint8(at + 3) !== 0 || (view.getUint32(at + 8, true) & CLONED) !== 0) return undefined;
  const route: KernelRoute = {
    table: view.getUint8(at + 4),
    address: 0,
    length: view.getUint8(at + 1),
    metric: 0,
    protocol: view.getUint8(at + 5),
    type: view.getUint8(at + 7),
    hops: [],
  };
  let gateway = 0;
  forEachAttribute(view, at + RTMSG_BYTES, end, (type, value, valueEnd) => {
    if (type === Attribute.MULTIPATH) readHops(view, value, valueEnd, route);
    else if (valueEnd - value < 4) return;
    else if (type === Attribute.DESTINATION) route.address = view.getInt32(value);
    else if (type === Attribute.GATEWAY) gateway = view.getInt32(value);
    else if (type === Attribute.PRIORITY) route.metric = view.getUint32(value, true);
    else if (type === Attribute.TABLE) route.table = view.getUint32(value, true);
  });
  if (route.hops.length === 0) route.hops.push({ gateway, weight: 1 });
  return route;
}

function readHops(view: DataView, start: number, end: number, route: KernelRoute): void {
  for (let at = start; at + NEXTHOP_BYTES <= end; ) {
    const length = view.getUint16(at, true);
    if (length < NEXTHOP_BYTES || at + length > end) return;
    const hop = { gateway: 0, weight: view.getUint8(at + 3) + 1 };
    forEachAttribute(view, at + NEXTHOP_BYTES, at + length, (type, value, valueEnd) => {
      if (type === Attribute.GATEWAY && valueEnd - value >= 4) hop.gateway = view.getInt32(value);
    });
    route.hops.push(hop);
    at += align(length);
  }
}

function forEachAttribute(
  view: DataView,
  start: number,
  end: number,
  take: (type: number, value: number, valueEnd: number) => void,
): void {
  for (let at = start; at + 4 <= end; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > end) return;
    take(view.getUint16(at + 2, true) & 0x3fff, at + 4, at + length);
    at += align(length);
  }
}

function align(length: number): number {
  return (length + 3) & ~3;
}
