/**
 * What the router offers the containers of its networks: DHCP servers and DNS forwarders, which are no part of the
 * dataplane: it hands their datagrams over, and sends what they answer.
 */
import type { OwnSocket, ReceivedDatagram, SentDatagram, ServerQuestion } from "../dataplane/messages.ts";
import type { NetworkServicesPlan } from "./configuration/build_network_services.ts";
import { DhcpService } from "./dhcp/dhcp_service.ts";
import type { DnsService } from "./dns/dns_service.ts";

export interface NetworkServicesHost {
  sendDatagram(datagram: SentDatagram): void;
  askServer(question: ServerQuestion): Promise<OwnSocket>;
  forgetServer(socket: OwnSocket): void;
  log(level: "info" | "warn", message: string): void;
}

/** What became of messages, by network. */
export interface ServiceCounts {
  dhcp: ReadonlyMap<string, Readonly<Record<string, number>>>;
  dns: ReadonlyMap<string, Readonly<Record<string, number>>>;
}

export class NetworkServices {
  readonly dhcp: DhcpService;
  private dns: DnsService | undefined;
  private readonly host: NetworkServicesHost;
  private readonly now: () => number;

  /** `now`: milliseconds of a monotonic clock. */
  constructor(host: NetworkServicesHost, now: () => number) {
    this.host = host;
    this.now = now;
    this.dhcp = new DhcpService({
      send: (datagram) => host.sendDatagram(datagram),
      log: (level, message) => host.log(level, message),
      now,
      wallClock: () => Date.now(),
    });
  }

  get counts(): ServiceCounts {
    return { dhcp: this.dhcp.counts(), dns: this.dns?.counts() ?? new Map() };
  }

  /** Does from now on what the configuration says. Nothing has changed when it throws. */
  async follow({ dhcp, dns, leases }: NetworkServicesPlan): Promise<void> {
    if (dns.length > 0) this.dns ??= await this.startDns();
    this.dhcp.follow(dhcp, leases);
    this.dns?.follow(dns);
  }

  take(datagram: ReceivedDatagram): void {
    if (datagram.service === "dhcp") this.dhcp.receive(datagram);
    else this.dns?.receive(datagram);
  }

  stop(): void {
    this.dhcp.stop();
    this.dns?.stop();
  }

  /** The codec is loaded by routers that need it. */
  private async startDns(): Promise<DnsService> {
    const { DnsService } = await import("./dns/dns_service.ts");
    const { host, dhcp, now } = this;
    return new DnsService({
      send: (datagram) => host.sendDatagram(datagram),
      ask: (question) => host.askServer(question),
      forget: (socket) => host.forgetServer(socket),
      now,
      leases: dhcp,
    });
  }
}
