/**
 * What has come in during a case, in a form in which what goes out can be found again, although addresses, ports and
 * checksums of it may have been changed by NAT.
 */
import { checksumField, ETHERNET, get16, isHeaderSumRight, isL4SumRight, type Packet, readPacket } from "./wire.ts";

const latin = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");

/** ICMP types that quote a packet. */
export const isIcmpError = (type: number): boolean => [3, 4, 5, 11, 12].includes(type);

/** Bytes of L4 that translation may change: those in front of the first that it never does. */
const TRANSLATED = 24;

interface Incoming {
  frame: Uint8Array;
  packet: Packet;
  isIntact: boolean;
}

export class Seen {
  private readonly frames = new Set<string>();
  private readonly bySignature = new Map<string, Incoming[]>();
  private readonly packets: Incoming[] = [];
  /**
   * Sources of flows that no NAT rule covers: from outside to a network's own addresses, or forged inside one. What answers
   * them, or errs about it, is not translated either, as in Linux.
   */
  readonly direct = new Set<string>();
  hasFragments = false;
  /** Something asked for a checksum to be completed that is not its own: that is done before it is cut. */
  hasForeignChecksums = false;
  hasTcp = false;

  add(frame: Uint8Array, vnet: Uint8Array | undefined, isOutside: boolean): void {
    this.frames.add(latin(frame));
    const packet = readPacket(frame);
    if (packet === undefined) return;
    if (vnet !== undefined && (vnet[0] & 1) !== 0 && !isPartial(packet, vnet)) this.hasForeignChecksums = true;
    const incoming = { frame, packet, isIntact: isIntact(frame, packet, vnet) };
    this.packets.push(incoming);
    if (isOutside ? packet.destination.startsWith("10.") : !isInside(packet.source)) this.direct.add(packet.source);
    if (packet.protocol === 6) this.hasTcp = true;
    if (packet.fragment !== 0) {
      this.hasFragments = true;
      return;
    }
    const key = signature(frame, packet);
    const same = this.bySignature.get(key);
    if (same === undefined) this.bySignature.set(key, [incoming]);
    else same.push(incoming);
  }

  isFrame(frame: Uint8Array): boolean {
    return this.frames.has(latin(frame));
  }

  /** Packets that this one may be the translation of. */
  origins(frame: Uint8Array, packet: Packet): readonly Incoming[] {
    return this.bySignature.get(signature(frame, packet)) ?? [];
  }

  /** Whether some packet that came in begins with these bytes. */
  hasQuoted(quote: Uint8Array): boolean {
    const text = latin(quote);
    return this.packets.some(({ frame, packet }) => latin(frame.subarray(ETHERNET, packet.end)).startsWith(text));
  }

  /** Whether what a packet or fragment carries came in: each block at its place in some packet of its protocol. */
  covers(frame: Uint8Array, packet: Packet): boolean {
    if (this.hasForeignChecksums) return true;
    const start = (packet.fragment & 0x1fff) * 8;
    const length = packet.end - packet.l4;
    for (let at = Math.max(start, TRANSLATED); at < start + length; at += 8) {
      const block = latin(frame.subarray(packet.l4 + at - start, Math.min(packet.end, packet.l4 + at - start + 8)));
      if (!this.packets.some((each) => each.packet.protocol === packet.protocol && holds(each, at, block)))
        return false;
    }
    return true;
  }
}

function holds({ frame, packet }: Incoming, at: number, block: string): boolean {
  const from = packet.l4 + at - (packet.fragment & 0x1fff) * 8;
  return from >= packet.l4 && latin(frame.subarray(from, Math.min(packet.end, from + block.length))) === block;
}

export const isInside = (address: string): boolean => address.startsWith("10.55.66.");

/** Whether all checksums of a packet are right as it came, by its offload header. */
function isIntact(frame: Uint8Array, packet: Packet, vnet: Uint8Array | undefined): boolean {
  if (!isHeaderSumRight(frame, packet)) return false;
  if (packet.fragment !== 0) return true;
  return isL4SumRight(frame, packet, isPartial(packet, vnet));
}

/** Whether the L4 checksum is one that a device will complete. */
export function isPartial({ l4, protocol }: Packet, vnet: Uint8Array | undefined): boolean {
  if (vnet === undefined || (vnet[0] & 1) === 0) return false;
  const start = vnet[6] | (vnet[7] << 8);
  const offset = vnet[8] | (vnet[9] << 8);
  return start === l4 && offset === checksumField(protocol);
}

/** L4 bytes without what translation changes. */
function signature(frame: Uint8Array, { l4, end, protocol }: Packet): string {
  const bytes = frame.slice(l4, end);
  const field = checksumField(protocol);
  if (field >= 0) bytes.fill(0, field, field + 2);
  if (protocol === 6 || protocol === 17) bytes.fill(0, 0, 4);
  if (protocol === 1) {
    if (isIcmpError(bytes[0])) maskQuote(bytes);
    else bytes.fill(0, 4, 6);
    // An echo request may come back as its reply.
    if (bytes[0] === 8) bytes[0] = 0;
  }
  return `${protocol} ${latin(bytes)}`;
}

/** Addresses, header checksum, ports and L4 checksum of a quoted packet. */
function maskQuote(bytes: Uint8Array): void {
  const l4 = 8 + (bytes[8] & 15) * 4;
  const protocol = bytes[8 + 9];
  bytes.fill(0, 8 + 10, 8 + 20);
  const field = checksumField(protocol);
  if (field >= 0) bytes.fill(0, l4 + field, l4 + field + 2);
  if (protocol === 6 || protocol === 17) bytes.fill(0, l4, l4 + 4);
  if (protocol === 1) bytes.fill(0, l4 + 4, l4 + 6);
}

export const quotedHeaderIsRight = (frame: Uint8Array, { l4, end }: Packet): boolean => {
  const quoted = new Uint8Array(ETHERNET + end - (l4 + 8));
  quoted.set(frame.subarray(l4 + 8, end), ETHERNET);
  const headerEnd = ETHERNET + (quoted[ETHERNET] & 15) * 4;
  if (quoted.length < ETHERNET + 20 || headerEnd < ETHERNET + 20 || headerEnd > quoted.length) return false;
  return isHeaderSumRight(quoted, { l4: headerEnd } as Packet) && get16(quoted, ETHERNET + 2) >= 20;
};
