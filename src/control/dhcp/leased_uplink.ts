/**
 * The DHCP client of one uplink on its device: a packet socket of the control process's own, which is open only while an
 * answer may come (it sees all frames of the device), and a timer.
 */
import { readSync } from "node:fs";
import { native } from "../../io/native.ts";
import { LIMITED_BROADCAST } from "../../packet/ipv4.ts";
import { formatAddress } from "../../packet/ipv4_address.ts";
import { type MacAddress, parseMac } from "../../packet/mac_address.ts";
import type { DevicePlan } from "../configuration/devices.ts";
import { DhcpClient, type SavedBinding, type Sending } from "./client.ts";
import { composeDatagram, findMessage } from "./datagram.ts";
import type { Lease } from "./lease.ts";

const BROADCAST: MacAddress = { high: 0xffff, low: -1 };
/** Frames between two looks at other work. */
const READ_AT_ONCE = 64;
const LONGEST_FRAME_BYTES = 4096;
/** Of `setTimeout`; waking too early does no harm. */
const LONGEST_TIMER_MS = 1 << 30;

export interface LeaseHost {
  /** The lease is another one, or gone. */
  changed(uplink: LeasedUplink, before: Lease | undefined): void;
  log(level: "info" | "warn", message: string): void;
}

/** As the API shows it. */
export interface LeaseView {
  state: string;
  address: string | null;
  server: string | null;
  /** Of the lease; null for none, and for one that never ends. */
  expiresSeconds: number | null;
}

export interface SavedLease {
  plan: DevicePlan;
  /** A `SavedBinding` as JSON; JSON has no Infinity. */
  binding: string;
}

const foreverAsText = (_: string, value: unknown): unknown => (value === Infinity ? "forever" : value);
const foreverAsNumber = (_: string, value: unknown): unknown => (value === "forever" ? Infinity : value);

function bindingOf({ binding }: SavedLease): SavedBinding {
  return JSON.parse(binding, foreverAsNumber) as SavedBinding;
}

/** The lease that has been saved. */
export function leaseOf(saved: SavedLease): Lease {
  return bindingOf(saved).lease;
}

export class LeasedUplink {
  readonly plan: DevicePlan;
  private readonly host: LeaseHost;
  private readonly client: DhcpClient;
  private readonly mac: MacAddress;
  private socket: { fd: number; stopWatching: () => void } | undefined;
  private timer: NodeJS.Timeout | undefined;
  /** Who answers for the server: itself, or the relay on this segment. */
  private serverMac: MacAddress = BROADCAST;
  /** The one that is looked at; of longer ones, which are not for us, the beginning. */
  private readonly frame = new Uint8Array(LONGEST_FRAME_BYTES);
  private isClosed = false;

  constructor(plan: DevicePlan, host: LeaseHost) {
    this.plan = plan;
    this.host = host;
    this.mac = parseMac(plan.mac);
    this.client = new DhcpClient(this.mac, Math.random);
  }

  get lease(): Lease | undefined {
    return this.client.lease;
  }

  /** What the next process needs to go on with the lease. */
  get saved(): SavedLease | undefined {
    const { saved } = this.client;
    return saved === undefined ? undefined : { plan: this.plan, binding: JSON.stringify(saved, foreverAsText) };
  }

  /** Goes on with a lease of an earlier process. */
  resume(saved: SavedLease): void {
    this.client.resume(bindingOf(saved));
  }

  start(): void {
    this.step((now) => this.client.wake(now));
  }

  linkIsBack(): void {
    this.step((now) => this.client.linkIsBack(now));
  }

  /** Gives the address back. */
  close(): void {
    if (this.isClosed) return;
    clearTimeout(this.timer);
    const sending = this.client.release(native().monotonicMilliseconds());
    if (sending !== undefined) this.send(sending);
    this.isClosed = true;
    this.closeSocket();
  }

  view(): LeaseView {
    const { state, lease, expiresAt } = this.client;
    const left = Math.max(0, Math.round((expiresAt - native().monotonicMilliseconds()) / 1000));
    return {
      state,
      address: lease === undefined ? null : `${formatAddress(lease.address)}/${lease.prefixLength}`,
      server: lease === undefined ? null : formatAddress(lease.server),
      expiresSeconds: lease === undefined || left === Infinity ? null : left,
    };
  }

  /** One event: what the client makes of it is done. */
  private step(event: (now: number) => Sending | undefined): void {
    if (this.isClosed) return;
    const before = this.client.lease;
    const now = native().monotonicMilliseconds();
    const sending = event(now);
    if (sending !== undefined) this.send(sending);
    if (!this.client.isListening) this.closeSocket();
    clearTimeout(this.timer);
    const waitMs = Math.max(0, Math.min(LONGEST_TIMER_MS, Math.ceil(this.client.wakeAt - now)));
    this.timer = setTimeout(() => this.start(), waitMs);
    if (this.client.lease !== before) this.host.changed(this, before);
  }

  private send(sending: Sending): void {
    const to = sending.destination === LIMITED_BROADCAST ? BROADCAST : this.serverMac;
    try {
      const { fd } = this.openSocket();
      native().sendMessage(fd, composeDatagram(sending, this.mac, to), []);
    } catch {
      // The device is down or gone, which the uplink says; it is sent again later.
      this.closeSocket();
    }
  }

  private openSocket(): { fd: number } {
    if (this.socket !== undefined) return this.socket;
    const { netns, ifname } = this.plan;
    const { fd } = native().openPacketSocket({ device: ifname, ...(netns === undefined ? {} : { netns }) });
    this.socket = { fd, stopWatching: native().watchReadable(fd, () => this.read()) };
    return this.socket;
  }

  private closeSocket(): void {
    const { socket } = this;
    if (socket === undefined) return;
    this.socket = undefined;
    socket.stopWatching();
    native().closeDescriptor(socket.fd);
  }

  private read(): void {
    for (let left = READ_AT_ONCE; left > 0 && this.socket !== undefined; left--) {
      const bytes = this.readFrame(this.socket.fd);
      if (bytes === undefined) return;
      const memory = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const found = findMessage(memory, this.mac);
      if (found === undefined) continue;
      const before = this.lease;
      this.step((now) => {
        const sending = this.client.receive(memory, found.at, found.length, now);
        if (this.client.lease !== before) this.serverMac = found.sender;
        return sending;
      });
    }
  }

  private readFrame(fd: number): Uint8Array | undefined {
    const { frame } = this;
    try {
      // Packet sockets refuse the flags of `receiveMessage`.
      return frame.subarray(0, readSync(fd, frame));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") this.closeSocket();
      return undefined;
    }
  }
}

/** In words, for the log. */
export function describeLease({ address, prefixLength, server, seconds, routes }: Lease, mac: string): string {
  const gateway = routes.find(({ to }) => to.length === 0);
  const through = gateway === undefined ? "no default route" : `gateway ${formatAddress(gateway.via)}`;
  const time = seconds === Infinity ? "without end" : `for ${seconds} s`;
  return `${formatAddress(address)}/${prefixLength} from ${formatAddress(server)} ${time}, ${through} (as ${mac})`;
}
