/**
 * The DHCP server of one network (RFC 2131 section 4.3) as a state machine that does nothing by itself: it is told the
 * time and the messages that came, and says what to answer.
 *
 *   DISCOVER   an address is held for the client for half a minute, and offered
 *   REQUEST    of the address that was offered, had before (INIT-REBOOT) or is to be kept (RENEWING, REBINDING):
 *              ACK, or NAK where the client's binding says otherwise; silence where there is no binding to say anything
 *   DECLINE    the address is kept from everybody for ten minutes
 *   RELEASE    the lease is over; the address stays the client's as long as nobody else needs it
 *   INFORM     what the network has to offer, without an address
 *
 * Who a client is: the port that it is behind, and its client identifier or hardware address. The container of a port
 * with `address` in the configuration, told by the port and its device's hardware address, is always given that one.
 * What cannot be granted is dropped and counted.
 */
import { bytesOf, DhcpOption, DhcpType, relayAddress, wordOf } from "../../packet/dhcp.ts";
import { LIMITED_BROADCAST } from "../../packet/ipv4.ts";
import { contains, prefixMask } from "../../packet/ipv4_address.ts";
import type { DhcpServerPlan } from "../configuration/build_network_services.ts";
import { type Binding, Bindings, isOver } from "./bindings.ts";
import { type Arrival, composeReply, hostNameOf, type Question, readQuestion } from "./question.ts";

const OFFER_MS = 30_000;
const QUARANTINE_MS = 600_000;
/** Fractions of the lease's time (RFC 2131 4.4.5). */
const T1_SHARE = 0.5;
const T2_SHARE = 0.875;
const BROADCAST_MAC = "ff:ff:ff:ff:ff:ff";

/** A message to be sent out of the port that the question came by. */
export interface ServerReply {
  type: number;
  message: Uint8Array;
  destination: number;
  mac: string;
  /** Whether it promises what has to be on disk before (RFC 2131 2.2): no address of the configuration. */
  isPromise: boolean;
}

/** What became of messages. */
export const SERVER_COUNTS = [
  "discover",
  "offer",
  "request",
  "ack",
  "nak",
  "decline",
  "release",
  "inform",
  /** Not DHCP, or not whole. */
  "malformed",
  /** For another server, by a relay, or about what is not known here. */
  "ignored",
  /** The port has as many leases as it may have. */
  "portLimit",
  /** The range is used up. */
  "noAddress",
] as const;
export type ServerCount = (typeof SERVER_COUNTS)[number];

export class DhcpServer {
  readonly counts = Object.fromEntries(SERVER_COUNTS.map((name) => [name, 0])) as Record<ServerCount, number>;
  readonly bindings: Bindings;
  /** Leases of ports with addresses of their own, by port: they take nothing from the range. */
  readonly fixed = new Map<string, Binding>();
  /** How often a lease has ended before its time: what is on disk is old then. */
  endings = 0;
  private plan: DhcpServerPlan;

  constructor(plan: DhcpServerPlan) {
    this.plan = plan;
    this.bindings = new Bindings(plan.pool);
  }

  /** Serves another plan; the leases that it has no place for. */
  setPlan(plan: DhcpServerPlan): Binding[] {
    this.plan = plan;
    for (const port of this.fixed.keys()) if (!plan.pool.ports.has(port)) this.fixed.delete(port);
    return this.bindings.setPool(plan.pool);
  }

  /** A UDP payload that came to the server's port. */
  receive(memory: DataView, arrival: Arrival, now: number): ServerReply | undefined {
    const question = readQuestion(memory, arrival, now);
    if (question === undefined) return this.note("malformed");
    if (relayAddress(memory, 0) !== 0) return this.note("ignored");
    switch (question.options.get(DhcpOption.MESSAGE_TYPE)?.[0]) {
      case DhcpType.DISCOVER:
        return this.discover(question);
      case DhcpType.REQUEST:
        return this.request(question);
      case DhcpType.DECLINE:
        return this.decline(question);
      case DhcpType.RELEASE:
        return this.release(question);
      case DhcpType.INFORM:
        return this.inform(question);
      default:
        return this.note("malformed");
    }
  }

  private note(count: ServerCount): undefined {
    this.counts[count]++;
  }

  private discover(question: Question): ServerReply | undefined {
    this.counts.discover++;
    const { port, client, macText, now, options } = question;
    const fixed = this.fixedAddressOf(question);
    if (fixed !== undefined) return this.answer(question, DhcpType.OFFER, fixed);
    const requested = wordOf(options.get(DhcpOption.REQUESTED_ADDRESS));
    const found = this.bindings.obtain({ port: port.name, client, mac: macText }, requested, now);
    if ("refused" in found) return this.note(found.refused === "port-limit" ? "portLimit" : "noAddress");
    const binding = found as Binding;
    // A lease that runs is no offer: its client may have started anew, and goes on with it.
    if (isOver(binding, now) || binding.state === "offered") {
      binding.state = "offered";
      binding.until = now + OFFER_MS;
    }
    return this.answer(question, DhcpType.OFFER, binding.address);
  }

  private request(question: Question): ServerReply | undefined {
    this.counts.request++;
    const { options, clientAddress } = question;
    const server = wordOf(options.get(DhcpOption.SERVER_ID));
    const requested = wordOf(options.get(DhcpOption.REQUESTED_ADDRESS));
    const address = clientAddress !== 0 ? clientAddress : requested;
    if (address === undefined) return this.note("malformed");
    if (server !== undefined) return this.select(question, server, address);
    if (this.addressOf(question) !== undefined) return this.grant(question, address);
    // Another server may know it (RFC 2131 4.3.2), unless it is not of this network or somebody else's, or we alone are asked.
    const holder = this.bindings.at(address);
    const isTaken = holder !== undefined && !isOver(holder, question.now);
    const isOurs = !question.isBroadcast || isTaken || !contains(this.plan.subnet, address);
    return isOurs ? this.refuse(question) : this.note("ignored");
  }

  /** The client has chosen between offers. */
  private select(question: Question, server: number, address: number): ServerReply | undefined {
    if (server === this.plan.gateway) return this.grant(question, address);
    const offered = this.bindings.find(question.port.name, question.client);
    if (offered?.state === "offered") this.bindings.remove(offered);
    return this.note("ignored");
  }

  private grant(question: Question, address: number): ServerReply | undefined {
    if (this.addressOf(question) !== address) return this.refuse(question);
    const { port, client, macText, now, options } = question;
    const until = now + this.plan.leaseSeconds * 1000;
    const given = this.bindings.find(port.name, client);
    if (this.fixedAddressOf(question) === address) {
      const hostName = hostNameOf(options);
      this.fixed.set(port.name, { address, port: port.name, client, mac: macText, hostName, state: "bound", until });
    } else if (given !== undefined) {
      given.state = "bound";
      given.until = until;
      given.mac = macText;
      given.hostName = hostNameOf(options);
    }
    return this.answer(question, DhcpType.ACK, address);
  }

  private decline(question: Question): undefined {
    this.counts.decline++;
    const { port, client, options, now } = question;
    const binding = this.bindings.find(port.name, client);
    const declined = wordOf(options.get(DhcpOption.REQUESTED_ADDRESS));
    if (binding === undefined || binding.address !== declined) return;
    this.bindings.quarantine(binding, now + QUARANTINE_MS);
    this.endings++;
  }

  private release(question: Question): undefined {
    this.counts.release++;
    const { port, client, clientAddress, now } = question;
    for (const binding of [this.bindings.find(port.name, client), this.fixed.get(port.name)]) {
      if (binding?.client !== client || binding.address !== clientAddress || binding.state !== "bound") continue;
      binding.state = "over";
      binding.until = now;
      this.endings++;
    }
  }

  private inform(question: Question): ServerReply | undefined {
    this.counts.inform++;
    if (!contains(this.plan.subnet, question.clientAddress)) return this.note("ignored");
    return this.answer(question, DhcpType.ACK, 0);
  }

  /** The one address that a client may have; undefined where nothing is known of it. */
  private addressOf(question: Question): number | undefined {
    const fixed = this.fixedAddressOf(question);
    return fixed ?? this.bindings.find(question.port.name, question.client)?.address;
  }

  private fixedAddressOf({ port, macText }: Question): number | undefined {
    return macText === port.mac ? port.address : undefined;
  }

  private refuse(question: Question): ServerReply {
    this.counts.nak++;
    const { gateway } = this.plan;
    const why = new TextEncoder().encode("this address is not yours");
    const message = composeReply(question, { type: DhcpType.NAK, address: 0, isBroadcast: true }, [
      [DhcpOption.SERVER_ID, bytesOf(gateway)],
      [DhcpOption.MESSAGE, why],
    ]);
    // The client may be in another subnet by its address: it is told by broadcast (RFC 2131 4.3.2).
    return { type: DhcpType.NAK, message, destination: LIMITED_BROADCAST, mac: BROADCAST_MAC, isPromise: false };
  }

  /** An offer or an acknowledgement of `address`; 0: of none, to a client that has one. */
  private answer(question: Question, type: number, address: number): ServerReply {
    const { clientAddress, wantsBroadcast, macText } = question;
    this.counts[type === DhcpType.OFFER ? "offer" : "ack"]++;
    const isBroadcast = clientAddress === 0 && wantsBroadcast;
    const options = [
      [DhcpOption.SERVER_ID, bytesOf(this.plan.gateway)] as const,
      ...(address === 0 ? [] : timesOf(this.plan.leaseSeconds)),
      ...this.parametersFor(question.options.get(DhcpOption.PARAMETERS)),
    ];
    return {
      type,
      message: composeReply(question, { type, address, isBroadcast }, options),
      destination: isBroadcast ? LIMITED_BROADCAST : clientAddress || address,
      mac: isBroadcast ? BROADCAST_MAC : macText,
      isPromise: type === DhcpType.ACK && address !== 0 && this.fixedAddressOf(question) === undefined,
    };
  }

  /** What the client wants to know of the network; all of it where it does not say, its mask in any case. */
  private parametersFor(wanted: Uint8Array | undefined): (readonly [number, Uint8Array])[] {
    const { gateway, subnet, dns, domain, mtu } = this.plan;
    const mask = prefixMask(subnet.length);
    const all: (readonly [number, Uint8Array])[] = [
      [DhcpOption.SUBNET_MASK, bytesOf(mask)],
      [DhcpOption.ROUTER, bytesOf(gateway)],
      [DhcpOption.DNS, Uint8Array.from(dns.flatMap((server) => [...bytesOf(server)]))],
      [DhcpOption.DOMAIN, new TextEncoder().encode(domain ?? "")],
      [DhcpOption.INTERFACE_MTU, Uint8Array.of(mtu >>> 8, mtu)],
      [DhcpOption.BROADCAST_ADDRESS, bytesOf(subnet.address | ~mask)],
    ];
    const isTold = (code: number): boolean =>
      code === DhcpOption.SUBNET_MASK || wanted === undefined || wanted.includes(code);
    return all.filter(([code, value]) => value.length > 0 && isTold(code));
  }
}

function timesOf(seconds: number): (readonly [number, Uint8Array])[] {
  return [
    [DhcpOption.LEASE_SECONDS, bytesOf(seconds)],
    [DhcpOption.T1_SECONDS, bytesOf(Math.floor(seconds * T1_SHARE))],
    [DhcpOption.T2_SECONDS, bytesOf(Math.floor(seconds * T2_SHARE))],
  ];
}
