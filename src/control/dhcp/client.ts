/**
 * A DHCP client (RFC 2131 section 4.4, figure 5) as a state machine that does nothing by itself: it is told the time and
 * the messages that came, says what to send, and when it wants to be woken.
 *
 *   INIT --DISCOVER--> SELECTING --REQUEST--> REQUESTING --ACK--> BOUND --T1--> RENEWING --T2--> REBINDING
 *     ^                 (first offer)            | NAK, silence    ^---------ACK---+-----ACK--------+  |
 *     +------------------------------------------+<------------------------------NAK, end of the lease-+
 *
 * Invariants: `lease` is there in BOUND, RENEWING and REBINDING, and only there. Messages with another transaction, for
 * another hardware address, or of a type that the state does not wait for change nothing. Times are milliseconds of one
 * monotonic clock.
 *
 * Left out: leases are not remembered over a reboot (INIT-REBOOT), and the address is not probed by ARP before it is
 * used (DECLINE).
 */
import * as dhcp from "../../packet/dhcp.ts";
import { bytesOf, DhcpOption, DhcpType } from "../../packet/dhcp.ts";
import { LIMITED_BROADCAST } from "../../packet/ipv4.ts";
import type { MacAddress } from "../../packet/mac_address.ts";
import { type Lease, readLease } from "./lease.ts";

export type DhcpState = "init" | "selecting" | "requesting" | "bound" | "renewing" | "rebinding";

/** A message to be sent from `source`, by IPv4. */
export interface Sending {
  message: Uint8Array;
  source: number;
  destination: number;
}

export interface SavedBinding {
  lease: Lease;
  expiresAt: number;
  /** When it was asked for. */
  sentAt: number;
}

/** Doubled each time up to the largest, and varied by a second (RFC 2131 4.1). */
const FIRST_WAIT_MS = 4_000;
const LARGEST_WAIT_MS = 64_000;
const VARIATION_MS = 1_000;
/** So often a REQUEST is sent for an offer; then the search begins anew. */
const MOST_REQUESTS = 4;
/** Between requests of a lease that is there (RFC 2131 4.4.5). */
const LEAST_RENEWAL_MS = 60_000;
/** A server that refuses what it offers is not asked without a pause. */
const PAUSE_MS = 10_000;

const PARAMETERS = Uint8Array.of(
  DhcpOption.SUBNET_MASK,
  DhcpOption.ROUTER,
  DhcpOption.DNS,
  DhcpOption.DOMAIN,
  DhcpOption.LEASE_SECONDS,
  DhcpOption.T1_SECONDS,
  DhcpOption.T2_SECONDS,
  DhcpOption.CLASSLESS_ROUTES,
);

export class DhcpClient {
  state: DhcpState = "init";
  /** When `wake` wants to be called; Infinity for never. */
  wakeAt = 0;
  lease: Lease | undefined;
  /** When the lease ends. */
  expiresAt = Infinity;
  private readonly mac: MacAddress;
  private readonly random: () => number;
  private transaction = 0;
  private offer: Lease | undefined;
  /** When the present exchange began, and its last message was sent. */
  private startedAt = 0;
  private sentAt = 0;
  private attempts = 0;

  /** `random` is from 0 to below 1. */
  constructor(mac: MacAddress, random: () => number) {
    this.mac = mac;
    this.random = random;
  }

  /** What a process that goes on with the lease has to know; undefined without one. */
  get saved(): SavedBinding | undefined {
    const { lease, expiresAt, sentAt } = this;
    return lease === undefined ? undefined : { lease, expiresAt, sentAt };
  }

  /** Goes on with a lease that an earlier process on this machine, with the same clock, was given. */
  resume({ lease, expiresAt, sentAt }: SavedBinding): void {
    this.state = "bound";
    this.lease = lease;
    this.expiresAt = expiresAt;
    this.sentAt = sentAt;
    this.wakeAt = sentAt + lease.t1Seconds * 1000;
  }

  /** Whether an answer may come. */
  get isListening(): boolean {
    return this.state !== "init" && this.state !== "bound";
  }

  /** The time has come, or may have. */
  wake(now: number): Sending | undefined {
    if (now < this.wakeAt) return undefined;
    if (this.lease !== undefined && now >= this.expiresAt) this.restart(now);
    switch (this.state) {
      case "init":
        this.begin("selecting", now);
        return this.discover(now);
      case "selecting":
        return this.discover(now);
      case "requesting":
        if (this.attempts < MOST_REQUESTS) return this.request(now);
        this.begin("selecting", now);
        return this.discover(now);
      default:
        return this.renew(now);
    }
  }

  /** A UDP payload that came to the client's port. */
  receive(memory: DataView, at: number, length: number, now: number): Sending | undefined {
    if (!this.isListening || !dhcp.isWellFormed(memory, at, length)) return undefined;
    if (dhcp.operation(memory, at) !== dhcp.DhcpOperation.REPLY) return undefined;
    if (dhcp.transaction(memory, at) !== this.transaction) return undefined;
    const { high, low } = dhcp.clientMac(memory, at);
    if (high !== this.mac.high || low !== this.mac.low) return undefined;
    const options = dhcp.readOptions(memory, at, length);
    if (options === undefined) return undefined;
    const type = options.get(DhcpOption.MESSAGE_TYPE)?.[0];
    const server = dhcp.wordOf(options.get(DhcpOption.SERVER_ID));
    if (type === DhcpType.NAK) {
      this.refused(server, now);
      return undefined;
    }
    const lease = readLease(dhcp.yourAddress(memory, at), options);
    if (lease === undefined) return undefined;
    if (type === DhcpType.OFFER && this.state === "selecting") {
      this.offer = lease;
      this.state = "requesting";
      this.attempts = 0;
      return this.request(now);
    }
    if (type === DhcpType.ACK) this.granted(lease);
    return undefined;
  }

  /** The device is up again, and may lead to another network: any server is asked whether the lease still holds. */
  linkIsBack(now: number): Sending | undefined {
    if (this.lease === undefined) {
      if (this.state !== "init") this.restart(now);
      return this.wake(now);
    }
    this.begin("rebinding", now);
    return this.renew(now);
  }

  /** Gives the address back; the client is at an end. */
  release(now: number): Sending | undefined {
    const { lease } = this;
    if (lease === undefined || now >= this.expiresAt) return undefined;
    this.begin("init", now);
    this.wakeAt = Infinity;
    this.lease = undefined;
    const options = [[DhcpOption.SERVER_ID, bytesOf(lease.server)]] as const;
    return this.compose(DhcpType.RELEASE, now, lease.address, options, lease.server);
  }

  private granted(lease: Lease): void {
    const wanted = this.state === "requesting" ? this.offer : this.lease;
    if (wanted === undefined || lease.address !== wanted.address) return;
    if (this.state === "requesting" && lease.server !== wanted.server) return;
    this.state = "bound";
    this.lease = lease;
    this.offer = undefined;
    // The time runs from the request (RFC 2131 4.4.1).
    this.expiresAt = this.sentAt + lease.seconds * 1000;
    this.wakeAt = this.sentAt + lease.t1Seconds * 1000;
  }

  private refused(server: number | undefined, now: number): void {
    if (this.state === "selecting") return;
    if (this.state === "requesting" && server !== this.offer?.server) return;
    const isOwnOffer = this.state === "requesting";
    this.restart(now);
    if (isOwnOffer) this.wakeAt = now + this.random() * PAUSE_MS;
  }

  private restart(now: number): void {
    this.state = "init";
    this.lease = undefined;
    this.offer = undefined;
    this.expiresAt = Infinity;
    this.wakeAt = now;
  }

  /** A new exchange, with a transaction of its own. */
  private begin(state: DhcpState, now: number): void {
    this.state = state;
    this.offer = undefined;
    this.attempts = 0;
    this.startedAt = now;
    this.transaction = (this.random() * 0x1_0000_0000) | 0;
  }

  private discover(now: number): Sending {
    this.backOff(now);
    return this.compose(DhcpType.DISCOVER, now, 0, [[DhcpOption.PARAMETERS, PARAMETERS]], LIMITED_BROADCAST);
  }

  private request(now: number): Sending {
    const { address, server } = this.offer as Lease;
    this.backOff(now);
    this.sentAt = now;
    const options = [
      [DhcpOption.REQUESTED_ADDRESS, bytesOf(address)],
      [DhcpOption.SERVER_ID, bytesOf(server)],
      [DhcpOption.PARAMETERS, PARAMETERS],
    ] as const;
    return this.compose(DhcpType.REQUEST, now, 0, options, LIMITED_BROADCAST);
  }

  /** Asks for more time: the server, and from T2 on any. */
  private renew(now: number): Sending {
    const { address, server, seconds, t2Seconds } = this.lease as Lease;
    const t2At = this.expiresAt - (seconds - t2Seconds) * 1000;
    if (this.state === "bound") this.begin("renewing", now);
    if (this.state === "renewing" && now >= t2At) this.begin("rebinding", now);
    const isRebinding = this.state === "rebinding";
    const end = isRebinding ? this.expiresAt : t2At;
    this.wakeAt = Math.min(end, now + Math.max(LEAST_RENEWAL_MS, (end - now) / 2));
    if (this.wakeAt === Infinity) this.wakeAt = now + LEAST_RENEWAL_MS;
    this.sentAt = now;
    const destination = isRebinding ? LIMITED_BROADCAST : server;
    return this.compose(DhcpType.REQUEST, now, address, [[DhcpOption.PARAMETERS, PARAMETERS]], destination);
  }

  private backOff(now: number): void {
    const wait = Math.min(FIRST_WAIT_MS << this.attempts, LARGEST_WAIT_MS);
    this.attempts = Math.min(this.attempts + 1, 8);
    this.wakeAt = now + wait + (2 * this.random() - 1) * VARIATION_MS;
  }

  private compose(
    type: number,
    now: number,
    clientAddress: number,
    options: readonly (readonly [number, Uint8Array])[],
    destination: number,
  ): Sending {
    const message = dhcp.composeMessage({
      operation: dhcp.DhcpOperation.REQUEST,
      transaction: this.transaction,
      seconds: Math.floor((now - this.startedAt) / 1000),
      clientAddress,
      yourAddress: 0,
      mac: this.mac,
      options: [[DhcpOption.MESSAGE_TYPE, Uint8Array.of(type)], ...options],
    });
    return { message, source: clientAddress, destination };
  }
}
