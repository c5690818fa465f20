/**
 * What must hold of every frame that leaves, whatever came in:
 *
 * - Nothing leaves that did not come in, but for the router's own ARP, ICMP errors, echo replies and resets; and an error
 *   quotes what came in, to the byte.
 * - Lengths are legal: a routed packet fits its egress, a super-frame is cut into segments that do.
 * - Checksums are right where they were right when the packet came in; header checksums always.
 * - A device that completes a checksum does so where it was asked by us, never in a header that NAT has written.
 * - Where MASQUERADE covers it, no inside address leaves by the uplink.
 */
import type { InterfacePlan, RouterPlan } from "../../src/dataplane/plan.ts";
import type { SentFrame } from "../../src/io/memory_port.ts";
import { formatAddress } from "../../src/packet/ipv4_address.ts";
import { printFrame } from "../../src/packet/print.ts";
import { mac } from "../../test/support/frames.ts";
import { insist, Violation } from "../target.ts";
import { isIcmpError, isInside, isPartial, quotedHeaderIsRight, type Seen } from "./seen.ts";
import { dotted, ETHERNET, get16, isHeaderSumRight, isL4SumRight, type Packet, readPacket } from "./wire.ts";

/** Of L4 protocols, the bytes that NAT and the router's checks rely on. */
const HEADER_BYTES: Readonly<Record<number, number>> = { 1: 8, 6: 20, 17: 8 };

export class Judge {
  private readonly seen: Seen;
  private plan: RouterPlan;
  /** All plans so far have masqueraded the first network. */
  private isCovered: boolean;
  /** Largest MTU that each interface has had: what waits for its next hop meanwhile has been judged by the former. */
  private readonly mtus = new Map<number, number>();

  constructor(seen: Seen, plan: RouterPlan) {
    this.seen = seen;
    this.plan = plan;
    this.isCovered = true;
    this.takePlan(plan);
  }

  takePlan(plan: RouterPlan): void {
    this.plan = plan;
    this.isCovered &&= coversInside(plan);
    for (const { index, mtu } of plan.interfaces) this.mtus.set(index, Math.max(mtu, this.mtus.get(index) ?? 0));
  }

  /** Throws a Violation that says what is wrong with a frame that left. */
  check(sent: SentFrame): void {
    try {
      this.checkFrame(sent);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      const { bytes } = sent;
      const line = printFrame(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.length);
      throw new Violation(`${error.message}: by port ${sent.port} ${line}`);
    }
  }

  private checkFrame(sent: SentFrame): void {
    const { bytes: frame, vnetHeader } = sent;
    insist(frame.length >= ETHERNET, () => "shorter than an Ethernet header");
    const egress = this.egressOf(sent.port);
    const isOwn = mac(egress.mac).every((octet, index) => frame[6 + index] === octet);
    if (!isOwn && this.seen.isFrame(frame)) return;
    const type = get16(frame, 12);
    if (isOwn && type === 0x0806) {
      insist(frame.length === 42, () => "an ARP packet of another length");
      return;
    }
    const packet = readPacket(frame);
    insist(packet !== undefined, () => "neither came in nor is IPv4 or ARP of the router's own");
    insist(isHeaderSumRight(frame, packet), () => "wrong IPv4 header checksum");
    this.checkLength(frame, packet, vnetHeader, egress, isOwn);
    checkOffload(packet, vnetHeader);
    if (isOwn) this.checkLeak(sent, packet);
    this.checkOrigin(frame, packet, vnetHeader, isOwn);
  }

  private egressOf(port: number): InterfacePlan {
    const index = this.plan.ports.find((each) => each.index === port)?.interface;
    const egress = this.plan.interfaces.find((each) => each.index === index);
    insist(egress !== undefined, () => "leaves by no port of the plan");
    return egress;
  }

  private checkLength(
    frame: Uint8Array,
    { l4, end, protocol }: Packet,
    vnet: Uint8Array,
    egress: InterfacePlan,
    isOwn: boolean,
  ): void {
    if (!isOwn) return;
    const total = end - ETHERNET;
    const mtu = this.mtus.get(egress.index) ?? 0;
    if ((vnet[1] & 0x7f) === 0) {
      insist(total <= mtu, () => `a packet of ${total} bytes over an MTU of ${mtu}`);
      return;
    }
    const size = vnet[4] | (vnet[5] << 8);
    const header = l4 - ETHERNET + (protocol === 6 ? (frame[l4 + 12] >> 4) * 4 : 8);
    const longest = Math.min(total, header + size);
    insist(size > 0 && longest <= mtu, () => `segments of ${longest} bytes over an MTU of ${mtu}`);
    insist((vnet[0] & 1) !== 0, () => "a super-frame without a partial checksum");
  }

  private checkLeak({ port }: SentFrame, { source, destination }: Packet): void {
    const isOutside = this.plan.ports.find((each) => each.index === port)?.interface === 1;
    if (!isOutside || !this.isCovered || !isInside(source) || this.isOwnAddress(source)) return;
    insist(this.seen.direct.has(destination), () => "an inside address leaves by the uplink");
  }

  private isOwnAddress(address: string): boolean {
    return this.plan.interfaces.some((each) => formatAddress(each.address) === address);
  }

  private checkOrigin(frame: Uint8Array, packet: Packet, vnet: Uint8Array, isOwn: boolean): void {
    const { l4, end, protocol } = packet;
    if (packet.fragment !== 0) {
      // An error of the router's own may be too large for the way back.
      if (isOwn && protocol === 1 && this.isOwnAddress(packet.source)) return;
      insist(this.seen.covers(frame, packet), () => "a fragment of nothing that came in");
      return;
    }
    const isRight = isL4SumRight(frame, packet, isPartial(packet, vnet));
    const origins = this.seen.origins(frame, packet);
    if (origins.length > 0) {
      const wasRight = origins.every(({ isIntact }) => isIntact);
      insist(isRight || !wasRight, () => "a right L4 checksum has become wrong");
      if (
        protocol === 1 &&
        isIcmpError(frame[l4]) &&
        origins.every((each) => quotedHeaderIsRight(each.frame, each.packet))
      )
        insist(quotedHeaderIsRight(frame, packet), () => "a right header checksum of a quote has become wrong");
      return;
    }
    // Several packets may have become one super-frame.
    if (this.plan.merging.segments && (vnet[1] & 0x7f) !== 0) return;
    if (protocol === 1 && isOwn && [3, 11, 12].includes(frame[l4])) {
      insist(isRight, () => "an ICMP error with a wrong checksum");
      this.checkOwnError(frame, packet);
    } else if (protocol === 6 && end - l4 === 20 && (frame[l4 + 13] & 4) !== 0) {
      insist(this.seen.hasTcp && isRight, () => "a reset that answers nothing, or has a wrong checksum");
    } else {
      insist(this.seen.hasFragments && this.seen.covers(frame, packet), () => "a packet that did not come in");
    }
  }

  /** RFC 1812 4.3.2.7, and the quote. */
  private checkOwnError(frame: Uint8Array, { l4, end }: Packet): void {
    const quote = frame.subarray(l4 + 8, end);
    insist(frame.length === end, () => "an ICMP error with bytes behind it");
    insist(end - ETHERNET <= 576, () => "an ICMP error of more than 576 bytes");
    insist(quote.length >= 20, () => "an ICMP error that quotes no header");
    insist((get16(quote, 6) & 0x1fff) === 0, () => "an ICMP error about a later fragment");
    const inner = (quote[0] & 15) * 4;
    insist(quote[9] !== 1 || !isIcmpError(quote[inner]), () => "an ICMP error about an ICMP error");
    insist(isOneHost(quote), () => "an ICMP error about a group, broadcast or martian address");
    // A datagram that was put together has a header that is the router's.
    if (!this.seen.hasFragments) insist(this.seen.hasQuoted(quote), () => "an ICMP error quotes what did not come in");
  }
}

/** Whether a packet was for, and from, an address that one host may have. */
function isOneHost(packet: Uint8Array): boolean {
  const isBroadcast = (at: number): boolean => ["10.55.66.255", "203.0.113.255"].includes(dotted(packet, at));
  return packet[16] < 224 && packet[16] !== 127 && packet[12] < 224 && !isBroadcast(16) && packet[12] !== 127;
}

function checkOffload({ l4, end, protocol }: Packet, vnet: Uint8Array): void {
  if ((vnet[0] & 1) === 0) return;
  const field = (vnet[6] | (vnet[7] << 8)) + (vnet[8] | (vnet[9] << 8));
  insist(field + 2 <= end, () => "a checksum to be completed beyond the packet's end");
  if (isPartial({ l4, protocol } as Packet, vnet)) return;
  const headers = l4 + (HEADER_BYTES[protocol] ?? 0);
  insist(field >= headers, () => "a checksum to be completed inside the packet's headers");
}

/** Whether the sources of the first network are translated on their way out by the uplink. */
function coversInside({ rules }: RouterPlan): boolean {
  const postrouting = rules.nat.chains.find(({ name }) => name === "POSTROUTING");
  return (postrouting?.rules.length ?? 0) > 0;
}
