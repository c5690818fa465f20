/** The DNS forwarders of all networks, as the router has them: datagrams come from the dataplane and go back to it. */
import { randomInt } from "node:crypto";
import type { OwnSocket, ReceivedDatagram, SentDatagram, ServerQuestion } from "../../dataplane/messages.ts";
import type { DnsPlan } from "../configuration/build_network_services.ts";
import type { DnsCount } from "./counts.ts";
import { Forwarder, type ForwarderHost } from "./forwarder.ts";
import type { LeaseNames } from "./zone.ts";

const DNS_PORT = 53;
/** Ids have 16 bits. */
const IDS = 0x10000;

export interface DnsHost {
  send(datagram: SentDatagram): void;
  ask(question: ServerQuestion): Promise<OwnSocket>;
  forget(socket: OwnSocket): void;
  /** Milliseconds of a monotonic clock. */
  now(): number;
  readonly leases: LeaseNames;
}

interface Served {
  plan: DnsPlan;
  forwarder: Forwarder;
}

export class DnsService {
  private readonly host: DnsHost;
  private readonly served = new Map<string, Served>();
  private timer: NodeJS.Timeout | undefined;

  constructor(host: DnsHost) {
    this.host = host;
  }

  /** Serves these networks from now on. What is under way goes on. */
  follow(plans: readonly DnsPlan[]): void {
    for (const [name, { forwarder }] of this.served) {
      if (plans.some(({ network }) => network === name)) continue;
      forwarder.close();
      this.served.delete(name);
    }
    for (const plan of plans) {
      const present = this.served.get(plan.network);
      if (present === undefined) {
        this.served.set(plan.network, { plan, forwarder: new Forwarder(plan, this.forwarderHost()) });
      } else {
        present.plan = plan;
        present.forwarder.setPlan(plan);
      }
    }
    this.setTimer();
  }

  /** A question of a client's, or an answer of a server's. */
  receive(datagram: ReceivedDatagram): void {
    const bytes = Buffer.from(datagram.payload, "base64");
    if (datagram.service === "dns") {
      const served = [...this.served.values()].find(({ plan }) => plan.interface === datagram.interface);
      served?.forwarder.ask(datagram, bytes, this.host.now());
      this.setTimer();
      return;
    }
    // Its question may have been told to be sent by a promise that has not been heard yet.
    setImmediate(() => {
      for (const { forwarder } of this.served.values()) if (forwarder.take(datagram, bytes, this.host.now())) break;
      this.setTimer();
    });
  }

  counts(): Map<string, Record<DnsCount, number>> {
    return new Map([...this.served].map(([network, { forwarder }]) => [network, forwarder.counts]));
  }

  stop(): void {
    clearTimeout(this.timer);
    for (const { forwarder } of this.served.values()) forwarder.close();
    this.served.clear();
  }

  private setTimer(): void {
    clearTimeout(this.timer);
    const wakeAt = Math.min(Infinity, ...[...this.served.values()].map(({ forwarder }) => forwarder.wakeAt));
    if (wakeAt === Infinity) return;
    this.timer = setTimeout(() => this.wake(), Math.max(1, Math.ceil(wakeAt - this.host.now())));
  }

  private wake(): void {
    for (const { forwarder } of this.served.values()) forwarder.wake(this.host.now());
    this.setTimer();
  }

  private forwarderHost(): ForwarderHost {
    const { host } = this;
    return {
      ask: (server, message) =>
        host.ask({ destination: server, destinationPort: DNS_PORT, payload: message.toString("base64") }),
      forget: (socket) => host.forget(socket),
      answer: (asker, message) =>
        host.send({
          interface: asker.interface,
          port: asker.port,
          mac: asker.mac,
          source: asker.destination,
          destination: asker.source,
          sourcePort: asker.destinationPort,
          destinationPort: asker.sourcePort,
          payload: message.toString("base64"),
        }),
      drawId: () => randomInt(IDS),
      leases: host.leases,
    };
  }
}
