/**
 * An uplink over raw sockets: it shares the host's own address, and the host's kernel is its next hop.
 *
 * Theory of operation. The dataplane sees a TAP: one end of a pair of sequenced sockets that carry a vnet header and a
 * frame in each message. The other end is here. What comes from the dataplane is cut and summed in software (raw sockets take no
 * offloads) and sent with its own IPv4 header; what the raw sockets hear is sorted, and what is Tapir's goes to the
 * dataplane as a frame. The peer's hardware address is made up: nothing is asked by ARP on such an interface.
 *
 * Limits. At most `MOST_SENDING` packets wait for the raw socket; while so many do, nothing more is read, and the
 * dataplane drops (and counts as TX_FULL) what its end does not take. A frame that its end does not take in turn is
 * dropped here. So a slow control process costs packets of this uplink alone.
 */
import { native } from "../../../io/native.ts";
import { ETHERNET_HEADER_BYTES, EtherType, setEtherType, setMacs } from "../../../packet/ethernet.ts";
import { Protocol } from "../../../packet/ipv4.ts";
import { formatAddress } from "../../../packet/ipv4_address.ts";
import { parseMac } from "../../../packet/mac_address.ts";
import { describePacket, forEachPacket } from "../../../packet/super_frame.ts";
import type { RawPlan } from "../../configuration/devices.ts";
import { belongsToRouter, mayLeave } from "./belongs.ts";
import { installGuard, removeGuard } from "./guard.ts";
import { openReceiver, openSender, type RawSocket } from "./socket.ts";

const VNET_HEADER_BYTES = 10;
const MOST_SENDING = 512;
const READ_AT_ONCE = 64;
/** The longest message between the two ends. */
const MESSAGE_BYTES = 64 << 10;
/** Hardware address of the kernel's side, which nothing but the frames between the two ends ever sees. */
const PEER = parseMac("02:00:00:00:00:01");

/** What was lost here, beside what the dataplane counts. */
export interface RawCounters {
  /** Packets that the kernel would not send. */
  sendErrors: number;
  /** Frames that were none, or had the host's own ports. */
  refused: number;
  /** Packets that the dataplane did not take. */
  receiveFull: number;
}

export class RawUplink {
  /** The dataplane's end. */
  readonly fd: number;
  readonly counters: RawCounters = { sendErrors: 0, refused: 0, receiveFull: 0 };
  private readonly plan: RawPlan;
  private readonly mtu: number;
  private readonly ownFd: number;
  private readonly receivers: RawSocket[] = [];
  private readonly sender: RawSocket;
  private readonly stopWatching: () => void;
  private readonly message = new Uint8Array(MESSAGE_BYTES);
  private readonly view = new DataView(this.message.buffer);
  private sending = 0;
  private isPaused = false;
  private isClosed = false;

  /** `mac` is the router's own on the interface. All or nothing: what was made is gone when it throws. */
  constructor(plan: RawPlan, mac: string, mtu: number) {
    this.plan = plan;
    this.mtu = mtu;
    installGuard(plan);
    const opened: RawSocket[] = [];
    try {
      this.sender = openSender();
      opened.push(this.sender);
      for (const protocol of [Protocol.ICMP, Protocol.TCP, Protocol.UDP]) {
        const receiver = openReceiver(protocol);
        opened.push(receiver);
        this.receivers.push(receiver);
      }
    } catch (error) {
      for (const socket of opened) socket.close();
      removeGuard(plan);
      throw error;
    }
    [this.fd, this.ownFd] = native().socketPair();
    const own = parseMac(mac);
    setMacs(this.view, VNET_HEADER_BYTES, own.high, own.low, PEER.high, PEER.low);
    setEtherType(this.view, VNET_HEADER_BYTES, EtherType.IPV4);
    for (const receiver of this.receivers) {
      receiver.on("message", (packet) => this.receive(packet));
      // Errors of earlier packets that ICMP has told of; nobody waits for them.
      receiver.on("error", () => {});
    }
    this.sender.on("error", () => {});
    this.stopWatching = native().watchReadable(this.ownFd, () => this.pump());
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.stopWatching();
    for (const socket of [this.sender, ...this.receivers]) socket.close();
    native().closeDescriptor(this.ownFd);
    removeGuard(this.plan);
  }

  /** From the kernel to the dataplane. */
  private receive(packet: Buffer): void {
    const at = VNET_HEADER_BYTES;
    const ip = at + ETHERNET_HEADER_BYTES;
    if (this.isClosed || ip + packet.length > MESSAGE_BYTES) return;
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
    if (!belongsToRouter(this.plan, view, 0, packet.length)) return;
    this.message.set(packet, ip);
    describePacket(this.view, at, this.mtu);
    try {
      if (native().sendMessage(this.ownFd, this.message.subarray(0, ip + packet.length), [])) return;
    } catch {
      // The dataplane has closed its end: the port is about to go.
    }
    this.counters.receiveFull++;
  }

  /** From the dataplane to the kernel. */
  private pump(): void {
    for (let left = READ_AT_ONCE; left > 0 && !this.isClosed; left--) {
      if (this.sending >= MOST_SENDING) {
        this.isPaused = true;
        return;
      }
      const received = this.read();
      if (received === null) return;
      this.sendFrame(received);
    }
  }

  private read(): Uint8Array | null {
    try {
      const received = native().receiveMessage(this.ownFd);
      return received === null || received === "closed" ? null : received.bytes;
    } catch {
      this.counters.refused++;
      return null;
    }
  }

  private sendFrame(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const isWhole =
      bytes.length >= VNET_HEADER_BYTES &&
      forEachPacket(view, VNET_HEADER_BYTES, bytes.length - VNET_HEADER_BYTES, (packet) => this.sendPacket(packet));
    if (!isWhole) this.counters.refused++;
  }

  private sendPacket(packet: Uint8Array): void {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
    if (!mayLeave(this.plan, view)) {
      this.counters.refused++;
      return;
    }
    this.sending++;
    this.sender.send(packet, 0, packet.length, formatAddress(view.getInt32(16)), (error) => {
      this.sending--;
      if (error !== null) this.counters.sendErrors++;
      if (!this.isPaused || this.sending > MOST_SENDING / 2) return;
      this.isPaused = false;
      setImmediate(() => this.pump());
    });
  }
}
