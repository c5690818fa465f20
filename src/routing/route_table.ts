/**
 * A routing table: longest-prefix match whose values are sets of routes. Where no next hop of the longest prefix is on a
 * link that is up, the next shorter one is asked, as in Linux; that is found in the exact routes, and is slow (up to
 * 32 probes), but happens only while a link is down.
 *
 * Connected routes follow from the router's addresses, all others are given; a prefix that has both has one set of both.
 */
import { prefixMask } from "../packet/ipv4_address.ts";
import { type Asker, chooseRoute, type Links } from "./choice.ts";
import { LongestPrefixMatch } from "./lpm.ts";
import type { Route, RouteOption, RouteSets } from "./route_set.ts";
import { SetRoute } from "./route_set.ts";

/** Connected routes of a prefix. */
export interface ConnectedRoute {
  address: number;
  length: number;
  option: RouteOption;
}

export class RouteTable {
  private readonly match: LongestPrefixMatch;
  private readonly sets: RouteSets;
  private connected: readonly ConnectedRoute[] = [];

  constructor(capacity: number, sets: RouteSets) {
    this.match = new LongestPrefixMatch({ capacity });
    this.sets = sets;
  }

  /** Number of prefixes. */
  get size(): number {
    return this.match.size;
  }

  /** The next hop for a flow; undefined when no route has one that is up. */
  lookup(links: Links, asker: Asker): Route | undefined {
    const number = this.match.lookup(asker.destination);
    if (number < 0) return undefined;
    return chooseRoute(this.sets.get(number), links, asker) ?? this.lookupShorter(links, asker);
  }

  /** The routes of exactly this prefix that were given, by metric. */
  given(address: number, length: number): readonly RouteOption[] {
    return this.routesOf(address, length).flatMap(({ isConnected, option }) => (isConnected ? [] : [option]));
  }

  /** Gives a prefix its routes, lowest metric first; none removes it. @throws RangeError when the table is full. */
  set(address: number, length: number, options: readonly RouteOption[]): void {
    this.put(
      address,
      length,
      this.routesOf(address, length).filter(({ isConnected }) => isConnected),
      options.map((option) => new SetRoute(option)),
    );
  }

  /** Takes other connected routes; the given ones stay. */
  setConnected(connected: readonly ConnectedRoute[]): void {
    const before = this.connected;
    this.connected = connected;
    for (const { address, length } of [...before, ...connected]) {
      const own = connected.filter((each) => each.address === address && each.length === length);
      this.put(
        address,
        length,
        own.map(({ option }) => new SetRoute(option, true)),
        this.routesOf(address, length).filter(({ isConnected }) => !isConnected),
      );
    }
  }

  clear(): void {
    for (const { value } of this.match.entries()) this.sets.release(value);
    this.match.clear();
    this.connected = [];
  }

  /** Length of the longest prefix of `destination` that has this very route; -1 where none has. Slow. */
  prefixLengthOf(route: Route, destination: number): number {
    for (let length = 32; length >= 0; length--) {
      const number = this.match.get(destination & prefixMask(length), length);
      if (number >= 0 && this.sets.get(number).routes.some(({ hops }) => hops.includes(route))) return length;
    }
    return -1;
  }

  private routesOf(address: number, length: number): readonly SetRoute[] {
    const number = this.match.get(address, length);
    return number < 0 ? [] : this.sets.get(number).routes;
  }

  private put(address: number, length: number, connected: readonly SetRoute[], given: readonly SetRoute[]): void {
    const before = this.match.get(address, length);
    const routes = [...connected, ...given].sort((left, right) => left.metric - right.metric);
    if (routes.length === 0) {
      this.match.remove(address, length);
    } else {
      const { number } = this.sets.take(routes);
      try {
        this.match.insert(address, length, number);
      } catch (error) {
        this.sets.release(number);
        throw error;
      }
    }
    if (before >= 0) this.sets.release(before);
  }

  private lookupShorter(links: Links, asker: Asker): Route | undefined {
    let isFirst = true;
    for (let length = 32; length >= 0; length--) {
      const number = this.match.get(asker.destination & prefixMask(length), length);
      if (number < 0) continue;
      // The longest has been asked.
      const found = isFirst ? undefined : chooseRoute(this.sets.get(number), links, asker);
      if (found !== undefined) return found;
      isFirst = false;
    }
    return undefined;
  }
}
