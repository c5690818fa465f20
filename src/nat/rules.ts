/** What NAT rules offer: the addresses and ports that a new flow may take as its source, and where its destination goes. */

/** First and last, both included. */
export interface Span {
  first: number;
  last: number;
}

/** What the source of a flow may become. */
export class SourceChoice {
  /** First address, and how many follow it; 0: the source keeps its own. */
  readonly address: number;
  readonly addresses: number;
  /** Ports or identifiers; `lastPort` 0 where any of the original's class will do. */
  readonly firstPort: number;
  readonly lastPort: number;
  readonly fullyRandom: boolean;

  constructor(addresses: Span | undefined, ports?: Span, fullyRandom = false) {
    this.address = addresses?.first ?? 0;
    this.addresses = addresses === undefined ? 0 : ((addresses.last - addresses.first) >>> 0) + 1;
    this.firstPort = ports?.first ?? 0;
    this.lastPort = ports?.last ?? 0;
    this.fullyRandom = fullyRandom;
  }

  /** The address for a flow from `source`; `hash` decides where there are several. */
  addressFor(hash: number, source: number): number {
    if (this.addresses <= 1) return this.addresses === 0 ? source : this.address;
    return (this.address + ((hash >>> 0) % this.addresses)) | 0;
  }

  /** Whether a flow from `source` that goes out as `address` and `port` could have got that from this rule. */
  allows(source: number, address: number, port: number, hasPort: boolean): boolean {
    const isAddress = this.addresses === 0 ? address === source : (address - this.address) >>> 0 < this.addresses;
    return isAddress && (!hasPort || this.holdsPort(port));
  }

  holdsPort(port: number): boolean {
    return this.lastPort === 0 || (port >= this.firstPort && port <= this.lastPort);
  }
}

/** Whose port a rule publishes: an interface with its address. */
export interface Publisher {
  interface: number;
  address: number;
}

/** What the destination of a flow becomes. */
export class DestinationChoice {
  /** First address, and how many follow it; 0: the destination stays. */
  readonly address: number;
  readonly addresses: number;
  /** Source of what comes from inside and goes back inside: the published address itself (RFC 4787 REQ-9). */
  readonly hairpin: SourceChoice | undefined;
  private readonly ports: Span | undefined;
  private readonly base: number | undefined;
  private readonly isRandom: boolean;
  /** The destination becomes the router's own address on the ingress interface. */
  readonly isRedirect: boolean;

  /** Ports go where the rule has them: each to the one as far from `ports.first` as it is from `base`. */
  constructor(
    addresses: Span | undefined,
    ports: Span | undefined,
    base: number | undefined,
    isRandom: boolean,
    publisher: Publisher | undefined,
    isRedirect = false,
  ) {
    this.isRedirect = isRedirect;
    this.address = addresses?.first ?? 0;
    this.addresses = addresses === undefined ? 0 : ((addresses.last - addresses.first) >>> 0) + 1;
    this.ports = ports;
    this.base = base;
    this.isRandom = isRandom;
    this.hairpin =
      publisher === undefined ? undefined : new SourceChoice({ first: publisher.address, last: publisher.address });
  }

  /** Whether FORWARD is open for its flows where no rule decides. */
  get isPublished(): boolean {
    return this.hairpin !== undefined;
  }

  addressFor(hash: number, destination: number): number {
    if (this.addresses <= 1) return this.addresses === 0 ? destination : this.address;
    return (this.address + ((hash >>> 0) % this.addresses)) | 0;
  }

  /** As Linux: a port that is in the range already stays, the others are spread by `hash`. */
  portFor(port: number, hash: number): number {
    const { ports, base } = this;
    if (ports === undefined) return port;
    const size = ports.last - ports.first + 1;
    if (base !== undefined) return ports.first + (((port - base) & 0xffff) % size);
    if (!this.isRandom && port >= ports.first && port <= ports.last) return port;
    return ports.first + ((hash >>> 0) % size);
  }

  /** Whether a flow to `destination` and `port` could have been led to `address` and `toPort`. */
  allows(destination: number, port: number, address: number, toPort: number): boolean {
    const isAddress = this.addresses === 0 ? address === destination : (address - this.address) >>> 0 < this.addresses;
    if (!isAddress && !this.isRedirect) return false;
    if (this.ports === undefined) return port === toPort;
    if (this.base !== undefined) return this.portFor(port, 0) === toPort;
    return toPort >= this.ports.first && toPort <= this.ports.last;
  }

  /** Whether flows of this rule may be answered from an address and port. */
  mayAnswerFrom(address: number, port: number): boolean {
    // Where the destination stays, so does everything that answers.
    if (this.addresses === 0 && this.ports === undefined) return false;
    if (this.addresses !== 0 && (address - this.address) >>> 0 >= this.addresses) return false;
    return this.ports === undefined || (port >= this.ports.first && port <= this.ports.last);
  }
}
