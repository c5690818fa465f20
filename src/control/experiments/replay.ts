/**
 * Replay: the packets of a capture file go through a configuration, at the times at which they were captured, and what
 * becomes of each is told as it happens. The clock is the file's: it begins with the first packet and never goes back;
 * timers and impairments run at their times in between. Nothing of this machine has a part in it, so the same file,
 * configuration and seed give the same result.
 */
import { type CapturedPacket, LinkType } from "../../io/captured_packet.ts";
import { LARGEST_FRAME_BYTES, VNET_HEADER_BYTES } from "../../packet/arena.ts";
import { ETHERNET_HEADER_BYTES, EtherType, setEtherType, setMacs } from "../../packet/ethernet.ts";
import { type MacAddress, parseMac } from "../../packet/mac_address.ts";
import { completeChecksum, guessVnetHeader } from "../../packet/offload.ts";
import { printFrame } from "../../packet/print.ts";
import { STOP_REASONS } from "../../packet/stop_reasons.ts";
import { clearVnetHeader } from "../../packet/vnet_header.ts";
import type { ResolvedPlan } from "../configuration/configuration.ts";
import { type EntryOptions, entryOf } from "./entry.ts";
import type { VirtualPort } from "./virtual_hosts.ts";
import { type Came, type Happening, VirtualRouter } from "./virtual_router.ts";

export interface ReplayOptions extends EntryOptions {
  /** Hardware addresses that were the router's where the file was captured. */
  routerMacs: readonly string[];
  seed: number;
  /** Whether virtual hosts answer the router's ARP requests. */
  hosts: boolean;
}

/**
 * `in`, `out`: a frame by a port. Of a packet that did not come out: `drop`, and why; `local`, the router took it;
 * `held`, it waits for something; `skip`, it could not be let in.
 */
export type ReplayKind = "in" | "out" | "drop" | "local" | "held" | "skip";

export interface ReplayEvent {
  /** Microseconds since the first packet. */
  at: number;
  kind: ReplayKind;
  /** The port; of what did not come out, the one by which it came in, where that is known. */
  port?: string;
  /** A line like tcpdump's, or the reason. */
  text: string;
  /** Name of the reason to stop. */
  reason?: string;
  /** Of `out`: the frame, its checksums complete. */
  bytes?: Uint8Array;
}

/** Virtual time that what is held gets after the last packet. */
const LONGEST_DRAIN_MICROSECONDS = 600e6;

/** Reasons of what goes out. */
const LEAVING: readonly string[] = ["routed", "switched", "flooded"];

const REASONS = new Map(STOP_REASONS.map((reason) => [reason.name, reason]));

export function* replay(
  packets: Iterable<CapturedPacket>,
  resolved: ResolvedPlan,
  options: ReplayOptions,
): Generator<ReplayEvent> {
  const virtual = new VirtualRouter(resolved, options);
  const routerMacs = options.routerMacs.map(parseMac);
  let first: CapturedPacket | undefined;
  for (const packet of packets) {
    first ??= packet;
    const at = Math.floor((packet.seconds - first.seconds) * 1e6 + (packet.nanoseconds - first.nanoseconds) / 1000);
    for (const happened of virtual.advance(at)) yield* told(happened, undefined);
    yield* enter(virtual, packet, options, routerMacs);
  }
  yield* drain(virtual);
}

function* enter(
  virtual: VirtualRouter,
  packet: CapturedPacket,
  options: ReplayOptions,
  routerMacs: readonly MacAddress[],
): Generator<ReplayEvent> {
  const isEthernet = packet.linkType === LinkType.ETHERNET;
  const isIpv4 = packet.linkType === LinkType.IPV4 || packet.linkType === LinkType.RAW;
  const skipped = (text: string): ReplayEvent => ({ at: virtual.now, kind: "skip", text });
  if (!isEthernet && !isIpv4) {
    yield skipped(`link type ${packet.linkType} is not supported, only Ethernet and raw IPv4`);
    return;
  }
  const entry = entryOf(virtual, options, packet, isEthernet ? packet.bytes : undefined);
  if ("why" in entry) {
    yield skipped(entry.why);
    return;
  }
  const { port } = entry;
  const bytes = isEthernet ? packet.bytes : withEthernet(packet.bytes, port);
  if (bytes.length > LARGEST_FRAME_BYTES) {
    yield skipped(`a frame of ${bytes.length} bytes: at most ${LARGEST_FRAME_BYTES} are supported`);
    return;
  }
  const cut = packet.bytes.length < packet.originalBytes ? ` [cut from ${packet.originalBytes} bytes]` : "";
  const { frame, vnetHeader } = prepared(bytes, port, routerMacs);
  yield { at: virtual.now, kind: "in", port: port.name, text: printBytes(frame) + cut };
  yield* told(virtual.send(port.name, frame, vnetHeader), port.name);
}

/** A frame for a packet that had none: from the port's host to the router. */
function withEthernet(packet: Uint8Array, port: VirtualPort): Uint8Array {
  const bytes = new Uint8Array(ETHERNET_HEADER_BYTES + packet.length);
  const memory = new DataView(bytes.buffer);
  const to = parseMac(port.interface.mac);
  const from = port.mac ?? { high: 0x0200, low: 1 };
  setMacs(memory, 0, to.high, to.low, from.high, from.low);
  setEtherType(memory, 0, EtherType.IPV4);
  bytes.set(packet, ETHERNET_HEADER_BYTES);
  return bytes;
}

/** The frame as it enters: to this router where it was to that one, with the vnet header that it seems to have had. */
function prepared(bytes: Uint8Array, port: VirtualPort, routerMacs: readonly MacAddress[]) {
  const slot = new Uint8Array(VNET_HEADER_BYTES + bytes.length);
  slot.set(bytes, VNET_HEADER_BYTES);
  const memory = new DataView(slot.buffer);
  if (bytes.length >= ETHERNET_HEADER_BYTES) {
    const high = memory.getUint16(VNET_HEADER_BYTES);
    const low = memory.getInt32(VNET_HEADER_BYTES + 2);
    if (routerMacs.some((mac) => mac.high === high && mac.low === low)) {
      const own = parseMac(port.interface.mac);
      memory.setUint16(VNET_HEADER_BYTES, own.high);
      memory.setInt32(VNET_HEADER_BYTES + 2, own.low);
    }
    guessVnetHeader(memory, VNET_HEADER_BYTES, bytes.length, port.interface.mtu);
  }
  return { frame: slot.subarray(VNET_HEADER_BYTES), vnetHeader: slot.subarray(0, VNET_HEADER_BYTES) };
}

/** What is still held gets its time. */
function* drain(virtual: VirtualRouter): Generator<ReplayEvent> {
  const { router } = virtual;
  const end = virtual.now + LONGEST_DRAIN_MICROSECONDS;
  while (virtual.now < end && (router.impairments.held > 0 || router.neighbours.parkedTotal > 0)) {
    for (const happened of virtual.advance(Math.min(end, virtual.now + 100_000))) yield* told(happened, undefined);
  }
}

/** `entered`: the port of the frame that this is about; without it, what the clock has made happen. */
function* told({ at, came, stops }: Happening, entered: string | undefined): Generator<ReplayEvent> {
  const port = entered === undefined ? {} : { port: entered };
  let isDropped = false;
  for (const each of came) yield outEvent(at, each);
  for (const name of stops) {
    if (REASONS.get(name)?.outcome !== "dropped") continue;
    isDropped = true;
    yield { at, kind: "drop", ...port, reason: name, text: `${name}: ${textOf(name)}` };
  }
  // The router's questions for neighbours are no way out.
  const isOut = came.some(({ bytes }) => !isArp(bytes));
  if (entered === undefined || isDropped || isOut || (came.length > 0 && !stops.includes("parked"))) return;
  yield { at, ...port, ...restOf(stops) };
}

/** What becomes of a packet that neither came out nor was dropped. */
function restOf(stops: readonly string[]): Pick<ReplayEvent, "kind" | "reason" | "text"> {
  if (stops.length === 0) return { kind: "held", text: "by the impairment of its port" };
  if (stops.some((name) => LEAVING.includes(name)))
    return { kind: "held", text: "by the impairment of the port that it leaves by" };
  const reason = stops.find((name) => name !== "local") ?? "local";
  return { kind: reason === "local" ? "local" : "held", reason, text: textOf(reason) };
}

function isArp(bytes: Uint8Array): boolean {
  return bytes.length >= ETHERNET_HEADER_BYTES && ((bytes[12] << 8) | bytes[13]) === EtherType.ARP;
}

function textOf(reason: string): string {
  return REASONS.get(reason)?.text ?? reason;
}

function outEvent(at: number, { port, bytes, vnetHeader }: Came): ReplayEvent {
  const slot = new Uint8Array(VNET_HEADER_BYTES + bytes.length);
  slot.set(vnetHeader);
  slot.set(bytes, VNET_HEADER_BYTES);
  const memory = new DataView(slot.buffer);
  completeChecksum(memory, VNET_HEADER_BYTES, bytes.length);
  clearVnetHeader(memory, VNET_HEADER_BYTES);
  const frame = slot.subarray(VNET_HEADER_BYTES);
  return { at, kind: "out", port, text: printBytes(frame), bytes: frame };
}

export function printBytes(bytes: Uint8Array): string {
  return printFrame(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.length);
}
