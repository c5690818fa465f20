/**
 * Routes of the router: longest-prefix match over connected, configured and local routes. The router's own addresses
 * and the broadcast addresses of its subnets are routes of length 32, as in Linux's local table, so that one look-up
 * tells whether a destination is local.
 */
import type { AddressType } from "../filter/rule_set.ts";
import { isMulticast, LIMITED_BROADCAST } from "../packet/ipv4.ts";
import { LongestPrefixMatch } from "../routing/lpm.ts";
import { broadcastOf, type Interface } from "./interfaces.ts";
import type { AddressPool } from "./nat_table.ts";
import type { RoutePlan } from "./plan.ts";

export const RouteKind = { UNICAST: 0, LOCAL: 1, BROADCAST: 2 } as const;

/** Where packets go; one for all prefixes that share it, as a table of a million routes has few next hops. */
export class Route {
  readonly kind: number;
  readonly interface: number;
  /** Next hop; 0 for a connected route, where the destination itself is the neighbour. */
  readonly via: number;

  constructor(kind: number, interfaceIndex: number, via: number) {
    this.kind = kind;
    this.interface = interfaceIndex;
    this.via = via;
  }
}

export class Routes {
  private readonly match: LongestPrefixMatch;
  private readonly routes: Route[] = [];
  private readonly indexes = new Map<string, number>();

  /**
   * Longer and earlier routes win: local before connected before configured. Interfaces whose entry in `isDown` is 1
   * have no routes, but their addresses stay the router's own, as in Linux.
   */
  constructor(
    interfaces: readonly (Interface | undefined)[],
    configured: readonly RoutePlan[],
    pools: readonly AddressPool[],
    isDown: ArrayLike<number> = [],
  ) {
    const subnets = interfaces.reduce((sum, each) => sum + (each?.addresses.length ?? 0), 0);
    // Subnet, broadcast addresses and own address of each interface; a pool's addresses.
    const pooled = pools.reduce((sum, { first, last }) => sum + last - first + 1, 0);
    this.match = new LongestPrefixMatch({ capacity: configured.length + subnets * 4 + pooled + 1 });
    for (const route of byRisingPreference(configured)) {
      if (isDown[route.interface] === 1) continue;
      this.add(RouteKind.UNICAST, route.interface, route.via ?? 0, route.to.address, route.to.length);
    }
    for (const each of interfaces) {
      if (each !== undefined && isDown[each.index] !== 1) this.addSubnets(each);
    }
    // Addresses that source NAT takes are the router's own: it answers ARP for them.
    for (const { interface: owner, first, last } of pools) {
      for (let address = first; ((address - last) | 0) <= 0; address = (address + 1) | 0) {
        this.add(RouteKind.LOCAL, owner, 0, address, 32);
      }
    }
    for (const each of interfaces) {
      if (each === undefined) continue;
      for (const { address } of each.addresses) this.add(RouteKind.LOCAL, each.index, 0, address, 32);
    }
  }

  /** The route to a destination, or undefined. */
  lookup(destination: number): Route | undefined {
    const index = this.match.lookup(destination);
    return index < 0 ? undefined : this.routes[index];
  }

  /** As Linux's inet_addr_type: what is neither the router's own nor for many is unicast. */
  addressTypeOf(address: number): AddressType {
    if (isMulticast(address)) return "MULTICAST";
    if (address >>> 24 === 0 || address === LIMITED_BROADCAST) return "BROADCAST";
    const kind = this.lookup(address)?.kind;
    if (kind === RouteKind.LOCAL) return "LOCAL";
    return kind === RouteKind.BROADCAST ? "BROADCAST" : "UNICAST";
  }

  private addSubnets({ index, addresses }: Interface): void {
    // Of equal subnets the first wins: it is added last.
    for (const each of [...addresses].reverse()) {
      this.add(RouteKind.UNICAST, index, 0, each.address, each.prefixLength);
      if (each.prefixLength >= 31) continue;
      const broadcast = broadcastOf(each);
      this.add(RouteKind.BROADCAST, index, 0, broadcast, 32);
      this.add(RouteKind.BROADCAST, index, 0, broadcast & each.address, 32);
    }
  }

  private add(kind: number, interfaceIndex: number, via: number, address: number, length: number): void {
    const name = `${kind} ${interfaceIndex} ${via}`;
    let index = this.indexes.get(name);
    if (index === undefined) {
      index = this.routes.push(new Route(kind, interfaceIndex, via)) - 1;
      this.indexes.set(name, index);
    }
    this.match.insert(address, length, index);
  }
}

/** Of routes to one prefix, the one with the lowest metric last, and of equal ones the first. */
function byRisingPreference(routes: readonly RoutePlan[]): RoutePlan[] {
  return [...routes].reverse().sort((a, b) => (b.metric ?? 0) - (a.metric ?? 0));
}
