/**
 * NAT rules, made ready to be asked: which addresses and ports a new flow may take as its source, and where a flow to
 * a published port goes. They are asked for new flows only, and again when they have changed.
 */
import { Protocol } from "../packet/ipv4.ts";
import { prefixMask } from "../packet/ipv4_address.ts";

/** First and last, both included. */
export interface Span {
  first: number;
  last: number;
}

/** What the source of a flow may become. */
export class SourceChoice {
  /** First address, and how many follow it. */
  readonly address: number;
  readonly addresses: number;
  /** Ports or identifiers; `lastPort` 0 where any of the original's class will do. */
  readonly firstPort: number;
  readonly lastPort: number;
  readonly fullyRandom: boolean;

  constructor(addresses: Span, ports?: Span, fullyRandom = false) {
    this.address = addresses.first;
    this.addresses = ((addresses.last - addresses.first) >>> 0) + 1;
    this.firstPort = ports?.first ?? 0;
    this.lastPort = ports?.last ?? 0;
    this.fullyRandom = fullyRandom;
  }

  /** The address for a flow; `hash` decides where there are several. */
  addressFor(hash: number): number {
    return this.addresses === 1 ? this.address : (this.address + ((hash >>> 0) % this.addresses)) | 0;
  }

  /** Whether a flow that goes out as `address` and `port` could have got that from this rule. */
  allows(address: number, port: number, hasPort: boolean): boolean {
    if ((address - this.address) >>> 0 >= this.addresses) return false;
    return !hasPort || this.holdsPort(port);
  }

  holdsPort(port: number): boolean {
    return this.lastPort === 0 || (port >= this.firstPort && port <= this.lastPort);
  }
}

export interface SourceRule {
  from: { address: number; length: number };
  out: number;
  choice: SourceChoice;
}

/** What a published port becomes. */
export class Published {
  readonly to: number;
  /** Interface whose address is published. */
  readonly interface: number;
  /** Source of what comes from inside and goes back inside: the published address itself (RFC 4787 REQ-9). */
  readonly hairpin: SourceChoice;
  private readonly firstPort: number;
  private readonly toPort: number;

  constructor(address: number, interfaceIndex: number, ports: Span, to: number, toPort: number | undefined) {
    this.to = to;
    this.interface = interfaceIndex;
    this.firstPort = ports.first;
    this.toPort = toPort ?? ports.first;
    this.hairpin = new SourceChoice({ first: address, last: address });
  }

  portFor(port: number): number {
    return port - this.firstPort + this.toPort;
  }
}

interface PublishedPorts {
  protocol: number;
  address: number;
  ports: Span;
  target: Published;
}

export class NatRules {
  private readonly sources: readonly SourceRule[];
  private readonly rules: readonly PublishedPorts[];
  private readonly byPort = new Map<number, PublishedPorts[]>();

  constructor(sources: readonly SourceRule[] = [], published: readonly PublishedPorts[] = []) {
    this.sources = sources;
    this.rules = published;
    for (const rule of published) {
      for (let port = rule.ports.first; port <= rule.ports.last; port++) this.addPort(keyOf(rule.protocol, port), rule);
    }
  }

  get hasPublished(): boolean {
    return this.rules.length > 0;
  }

  /** What new flows from `source` out of an interface may take as their source; undefined: they keep it. */
  sourceChoice(source: number, egressInterface: number): SourceChoice | undefined {
    const { sources } = this;
    for (let i = 0; i < sources.length; i++) {
      const { from, out, choice } = sources[i];
      if (out === egressInterface && ((source ^ from.address) & prefixMask(from.length)) === 0) return choice;
    }
    return undefined;
  }

  /** What is published at an address and port. */
  publishedAt(protocol: number, address: number, port: number): Published | undefined {
    if (this.rules.length === 0 || !hasPorts(protocol)) return undefined;
    return this.byPort.get(keyOf(protocol, port))?.find((rule) => rule.address === address)?.target;
  }

  /** Whether what comes from `source` and `port` would be the answer of a published port. */
  isPublishedSource(protocol: number, source: number, port: number): boolean {
    if (this.rules.length === 0 || !hasPorts(protocol)) return false;
    return this.rules.some(({ protocol: published, ports, target }) => {
      const first = target.portFor(ports.first);
      return (
        published === protocol && target.to === source && port >= first && port <= first + ports.last - ports.first
      );
    });
  }

  private addPort(key: number, rule: PublishedPorts): void {
    const others = this.byPort.get(key);
    if (others === undefined) this.byPort.set(key, [rule]);
    else others.push(rule);
  }
}

function hasPorts(protocol: number): boolean {
  return protocol === Protocol.TCP || protocol === Protocol.UDP;
}

function keyOf(protocol: number, port: number): number {
  return (protocol << 16) | port;
}
