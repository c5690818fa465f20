/**
 * The DHCP servers of all networks, as the router has them: messages come from the dataplane and go back to it, leases are
 * kept in a file.
 *
 * What a client is promised is on disk before it is told (RFC 2131 2.2). Writes are gathered, so that a client that asks
 * in a loop has the file written ten times in a second and no more often. A file that cannot be written is logged once,
 * and leases are then promised without it.
 */

import type { ReceivedDatagram, SentDatagram } from "../../dataplane/messages.ts";
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from "../../packet/dhcp.ts";
import { LIMITED_BROADCAST } from "../../packet/ipv4.ts";
import { formatAddress } from "../../packet/ipv4_address.ts";
import type { DhcpServerPlan } from "../configuration/build_network_services.ts";
import { TapirError } from "../errors.ts";
import { type Binding, isOver } from "./bindings.ts";
import { type KeptLease, type LeasesFile, loadLeases, saveLeases, wordOfAddress } from "./lease_file.ts";
import { DhcpServer, type ServerCount } from "./server.ts";

/** Between two writes of the file. */
const SAVE_MS = 100;
/** And so many times as long as the last one took. */
const SAVE_PAUSE = 10;
/** Answers that may wait for it. */
const MOST_WAITING = 1024;

export interface DhcpHost {
  send(datagram: SentDatagram): void;
  log(level: "info" | "warn", message: string): void;
  /** Milliseconds of a monotonic clock, and those since 1970. */
  now(): number;
  wallClock(): number;
}

/** As the API shows it. */
export interface GivenLease {
  network: string;
  address: string;
  mac: string;
  port: string;
  hostName: string | null;
  state: "fixed" | "bound" | "offered" | "declined" | "over";
  /** Until the state ends; null where it has. */
  expiresSeconds: number | null;
}

interface Served {
  plan: DhcpServerPlan;
  server: DhcpServer;
}

export class DhcpService {
  private readonly host: DhcpHost;
  private readonly served = new Map<string, Served>();
  private file: string | undefined;
  private readonly waiting: SentDatagram[] = [];
  private isChanged = false;
  private timer: NodeJS.Timeout | undefined;
  private nextSaveAt = -Infinity;
  private hasFailed = false;

  constructor(host: DhcpHost) {
    this.host = host;
  }

  /** Serves these networks from now on. Networks that stay keep their leases. */
  follow(plans: readonly DhcpServerPlan[], file: string): void {
    const saved = plans.length > 0 && file !== this.file ? load(file) : undefined;
    if (saved !== undefined) this.file = file;
    for (const name of this.served.keys()) if (!plans.some(({ network }) => network === name)) this.served.delete(name);
    for (const plan of plans) {
      const present = this.served.get(plan.network);
      if (present === undefined) {
        const server = new DhcpServer(plan);
        this.served.set(plan.network, { plan, server });
        this.restore(server, (saved ?? this.loadAgain()).networks[plan.network] ?? []);
      } else {
        present.plan = plan;
        for (const lost of present.server.setPlan(plan)) this.tellLost(plan.network, lost);
      }
    }
  }

  /** A datagram for a network's server. */
  receive(datagram: ReceivedDatagram): void {
    const served = [...this.served.values()].find(({ plan }) => plan.interface === datagram.interface);
    const port = served?.plan.ports.find(({ index }) => index === datagram.port);
    if (served === undefined || port === undefined) return;
    const bytes = Buffer.from(datagram.payload, "base64");
    const memory = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const arrival = { port, isBroadcast: datagram.destination === LIMITED_BROADCAST };
    const { endings } = served.server;
    const reply = served.server.receive(memory, arrival, this.host.now());
    if (served.server.endings !== endings) this.change();
    if (reply === undefined) return;
    const sent: SentDatagram = {
      interface: datagram.interface,
      port: datagram.port,
      mac: reply.mac,
      source: served.plan.gateway,
      destination: reply.destination,
      sourcePort: DHCP_SERVER_PORT,
      destinationPort: DHCP_CLIENT_PORT,
      payload: Buffer.from(reply.message).toString("base64"),
    };
    if (!reply.isPromise) this.host.send(sent);
    else if (this.waiting.length < MOST_WAITING) {
      this.waiting.push(sent);
      this.change();
    }
  }

  /** All that is known, in the order of the addresses of each network. */
  view(): GivenLease[] {
    const now = this.host.now();
    return [...this.served].flatMap(([network, { server }]) => {
      const fixed = [...server.fixed.values()];
      const all = [...fixed, ...server.bindings.all()].sort(
        (one, other) => (one.address >>> 0) - (other.address >>> 0),
      );
      return all.map((binding) => rowOf(network, binding, fixed.includes(binding), now));
    });
  }

  /** Addresses that clients behind a port have now; those of the latest lease first. */
  addressesOf(network: string, port: string): number[] {
    const bindings = [...(this.served.get(network)?.server.bindings.ofPort(port) ?? [])];
    const live = bindings.filter((each) => this.isLive(each));
    return live.sort((one, other) => other.until - one.until).map(({ address }) => address);
  }

  /** The port behind which a client has an address now. */
  portOf(network: string, address: number): string | undefined {
    const binding = this.served.get(network)?.server.bindings.at(address);
    return binding !== undefined && this.isLive(binding) ? binding.port : undefined;
  }

  counts(): Map<string, Record<ServerCount, number>> {
    return new Map([...this.served].map(([network, { server }]) => [network, server.counts]));
  }

  stop(): void {
    if (this.timer !== undefined) this.commit();
    this.served.clear();
    this.file = undefined;
  }

  /** Whether an address is given away, offered or declined: nothing else should get it. */
  isTaken(network: string, address: number): boolean {
    const binding = this.served.get(network)?.server.bindings.at(address);
    return binding !== undefined && !isOver(binding, this.host.now());
  }

  /** Its client does not know before it asks for more time. */
  private tellLost(network: string, binding: Binding): void {
    if (!this.isLive(binding)) return;
    const { address, port, mac } = binding;
    const who = `${mac} behind ${port}`;
    this.host.log("warn", `network ${network}: ${formatAddress(address)} is leased to ${who}, and no longer to give`);
  }

  private isLive(binding: Binding): boolean {
    return binding.state === "bound" && !isOver(binding, this.host.now());
  }

  private change(): void {
    this.isChanged = true;
    this.timer ??= setTimeout(() => this.commit(), Math.max(0, this.nextSaveAt - this.host.now()));
  }

  /** Writes the file, then tells the clients. */
  private commit(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.isChanged) this.save();
    for (const each of this.waiting.splice(0)) this.host.send(each);
  }

  private save(): void {
    this.isChanged = false;
    const startedAt = this.host.now();
    this.write();
    const endedAt = this.host.now();
    this.nextSaveAt = endedAt + Math.max(SAVE_MS, (endedAt - startedAt) * SAVE_PAUSE);
  }

  private write(): void {
    if (this.file === undefined) return;
    try {
      saveLeases(this.file, this.describe());
      this.hasFailed = false;
    } catch (error) {
      if (!this.hasFailed) this.host.log("warn", `control.leases: ${(error as Error).message}: leases are not kept`);
      this.hasFailed = true;
    }
  }

  private describe(): LeasesFile {
    const now = this.host.now();
    const wallClock = this.host.wallClock();
    const networks = [...this.served].map(([network, { server }]) => {
      const kept = [...server.bindings.all()].filter(({ state }) => state === "bound" || state === "over");
      return [network, kept.map((binding) => saved(binding, now, wallClock))] as const;
    });
    return { version: 1, networks: Object.fromEntries(networks) };
  }

  private restore(server: DhcpServer, leases: readonly KeptLease[]): void {
    const now = this.host.now();
    const wallClock = this.host.wallClock();
    for (const { address, port, client, mac, hostName, isBound, ends } of leases) {
      const until = now + ends * 1000 - wallClock;
      const state = isBound ? "bound" : "over";
      server.bindings.restore({ address: wordOfAddress(address), port, client, mac, hostName, state, until });
    }
  }

  /** For a network that is served anew while the router runs; what it left is in the file, if anything. */
  private loadAgain(): LeasesFile {
    return this.file === undefined ? { version: 1, networks: {} } : load(this.file);
  }
}

function load(file: string): LeasesFile {
  try {
    return loadLeases(file);
  } catch (error) {
    throw new TapirError(`control.leases: ${(error as Error).message}`);
  }
}

function saved({ address, port, client, mac, hostName, state, until }: Binding, now: number, wallClock: number) {
  const ends = Math.round((wallClock + until - now) / 1000);
  return { address: formatAddress(address), port, client, mac, hostName, isBound: state === "bound", ends };
}

function rowOf(network: string, binding: Binding, isFixed: boolean, now: number): GivenLease {
  const { address, mac, port, hostName, state, until } = binding;
  const hasEnded = isOver(binding, now);
  return {
    network,
    address: formatAddress(address),
    mac,
    port,
    hostName: hostName || null,
    state: hasEnded ? "over" : isFixed ? "fixed" : state,
    expiresSeconds: hasEnded ? null : Math.ceil((until - now) / 1000),
  };
}
