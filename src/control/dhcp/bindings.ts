/**
 * The addresses that a network's DHCP server gives away, and who has which.
 *
 * Theory of operation. A binding ties an address to a client behind a port: to the port, too, so that nobody takes over or
 * gives back what was given to a client behind another port, whatever it says it is. A binding that is over is kept, so
 * that its client is given the same address again, until somebody else needs the room: fresh addresses go first, then
 * those that have been over for the longest time, then those of ports that the network has no more.
 *
 * Limits. A port has at most `leasesPerPort` bindings, live or over; for another one its oldest that is over gives way, then
 * its oldest offer. An address that a client has declined counts against the client's port, so that declining everything
 * takes no address from others. All there is fits the range; nothing else is kept. Times are milliseconds of one monotonic
 * clock.
 */

/** `offered`: nobody has asked for it yet. `declined`: somebody else was found to have it. `over`: expired or released. */
export type BindingState = "offered" | "bound" | "declined" | "over";

export interface Binding {
  address: number;
  /** Name of the port, and what the client is called (see `clientKeyOf`). */
  port: string;
  client: string;
  mac: string;
  hostName: string;
  state: BindingState;
  /** When the offer, the lease or the quarantine ends or has ended. */
  until: number;
}

/** What can be given away: addresses from `first` to `last` that nobody has by the configuration. */
export interface Pool {
  first: number;
  last: number;
  taken: ReadonlySet<number>;
  /** Names of the network's ports. */
  ports: ReadonlySet<string>;
  leasesPerPort: number;
}

export type Choice = { address: number } | { refused: "port-limit" | "no-address" };

export class Bindings {
  private pool: Pool;
  private readonly byAddress = new Map<number, Binding>();
  private readonly byClient = new Map<string, Binding>();
  private readonly byPort = new Map<string, Set<Binding>>();
  /** Where the search for a fresh address goes on. */
  private next: number;

  constructor(pool: Pool) {
    this.pool = pool;
    this.next = pool.first >>> 0;
  }

  get size(): number {
    return this.byAddress.size;
  }

  all(): IterableIterator<Binding> {
    return this.byAddress.values();
  }

  /** Takes another pool; what is outside of it is forgotten, and returned. */
  setPool(pool: Pool): Binding[] {
    this.pool = pool;
    const outside = [...this.byAddress.values()].filter(({ address }) => !this.isOfPool(address));
    for (const binding of outside) this.remove(binding);
    return outside;
  }

  find(port: string, client: string): Binding | undefined {
    return this.byClient.get(keyOf(port, client));
  }

  at(address: number): Binding | undefined {
    return this.byAddress.get(address);
  }

  ofPort(port: string): Iterable<Binding> {
    return this.byPort.get(port) ?? [];
  }

  /** Takes a binding that was saved; false where the address, the client or the port's room is taken. */
  restore(binding: Binding): boolean {
    const { address, port, client } = binding;
    const hasRoom = (this.byPort.get(port)?.size ?? 0) < this.pool.leasesPerPort;
    if (!this.isOfPool(address) || this.byAddress.has(address) || !hasRoom) return false;
    if (this.find(port, client) !== undefined) return false;
    this.add(binding);
    return true;
  }

  /**
   * The binding of a client: the one that it has, or a new one with the address that it asks for or any other.
   * A new one is an offer that is over already: the caller says what it is.
   */
  obtain(who: Pick<Binding, "port" | "client" | "mac">, requested: number | undefined, now: number): Binding | Choice {
    const known = this.find(who.port, who.client);
    if (known !== undefined) return known;
    const choice = this.choose(who.port, requested, now);
    if ("refused" in choice) return choice;
    const { address } = choice;
    const former = this.byAddress.get(address);
    if (former !== undefined) this.remove(former);
    const binding: Binding = { ...who, address, hostName: "", state: "over", until: now };
    this.add(binding);
    return binding;
  }

  remove(binding: Binding): void {
    this.byAddress.delete(binding.address);
    this.forgetClient(binding);
    const own = this.byPort.get(binding.port);
    own?.delete(binding);
    if (own?.size === 0) this.byPort.delete(binding.port);
  }

  /** Keeps the address from everybody until `until`; its client may have another one. */
  quarantine(binding: Binding, until: number): void {
    this.forgetClient(binding);
    binding.state = "declined";
    binding.until = until;
  }

  private choose(port: string, requested: number | undefined, now: number): Choice {
    const room = this.makeRoom(port, now);
    if (room === "none") return { refused: "port-limit" };
    if (requested !== undefined && this.isOfPool(requested)) {
      const holder = this.byAddress.get(requested);
      if (holder === undefined || isOver(holder, now)) return { address: requested };
    }
    const address = room ?? this.findFresh() ?? this.findOver(now);
    return address === undefined ? { refused: "no-address" } : { address };
  }

  /** Sees to it that a port may have one more: the address that one of its own has given way with, if one had to. */
  private makeRoom(port: string, now: number): number | undefined | "none" {
    const own = this.byPort.get(port);
    if (own === undefined || own.size < this.pool.leasesPerPort) return undefined;
    const victim = oldestOf(own, (each) => isOver(each, now)) ?? oldestOf(own, ({ state }) => state === "offered");
    if (victim === undefined) return "none";
    this.remove(victim);
    return victim.address;
  }

  /** An address that nobody has had. */
  private findFresh(): number | undefined {
    const first = this.pool.first >>> 0;
    const last = this.pool.last >>> 0;
    const count = last - first + 1;
    if (this.next < first || this.next > last) this.next = first;
    for (let tried = 0; tried < count; tried++) {
      const address = this.next | 0;
      this.next = this.next === last ? first : this.next + 1;
      if (!this.byAddress.has(address) && this.isOfPool(address)) return address;
    }
    return undefined;
  }

  private findOver(now: number): number | undefined {
    const bindings = [...this.byAddress.values()];
    const victim =
      oldestOf(bindings, (each) => isOver(each, now)) ?? oldestOf(bindings, ({ port }) => !this.pool.ports.has(port));
    return victim?.address;
  }

  private isOfPool(address: number): boolean {
    const { first, last, taken } = this.pool;
    return address >>> 0 >= first >>> 0 && address >>> 0 <= last >>> 0 && !taken.has(address);
  }

  private add(binding: Binding): void {
    const { address, port, client } = binding;
    this.byAddress.set(address, binding);
    this.byClient.set(keyOf(port, client), binding);
    const own = this.byPort.get(port);
    if (own === undefined) this.byPort.set(port, new Set([binding]));
    else own.add(binding);
  }

  private forgetClient(binding: Binding): void {
    const key = keyOf(binding.port, binding.client);
    if (this.byClient.get(key) === binding) this.byClient.delete(key);
  }
}

export function isOver({ state, until }: Binding, now: number): boolean {
  return state === "over" || until <= now;
}

function oldestOf(bindings: Iterable<Binding>, isMeant: (binding: Binding) => boolean): Binding | undefined {
  let oldest: Binding | undefined;
  for (const each of bindings) {
    if (isMeant(each) && (oldest === undefined || each.until < oldest.until)) oldest = each;
  }
  return oldest;
}

/** Names of ports have no spaces. */
function keyOf(port: string, client: string): string {
  return `${port} ${client}`;
}
