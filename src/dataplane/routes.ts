/**
 * Routes of the router: longest-prefix match over connected, configured and local routes. The router's own addresses
 * and the broadcast addresses of its subnets are routes of length 32, as in Linux's local table, so that one look-up
 * tells whether a destination is local.
 */
import { LongestPrefixMatch } from "../routing/lpm.ts";
import type { Interface } from "./interfaces.ts";
import type { RoutePlan, SourceNatPlan } from "./plan.ts";

export const RouteKind = { UNICAST: 0, LOCAL: 1, BROADCAST: 2 } as const;

export class Route {
  readonly kind: number;
  readonly interface: number;
  /** Next hop; 0 for a connected route, where the destination itself is the neighbour. */
  readonly via: number;
  readonly prefix: number;
  readonly length: number;

  constructor(kind: number, interfaceIndex: number, via: number, prefix: number, length: number) {
    this.kind = kind;
    this.interface = interfaceIndex;
    this.via = via;
    this.prefix = prefix;
    this.length = length;
  }
}

export class Routes {
  private readonly match = new LongestPrefixMatch();
  private readonly routes: Route[] = [];

  /** Longer and earlier routes win: local before connected before configured. */
  constructor(
    interfaces: readonly (Interface | undefined)[],
    configured: readonly RoutePlan[],
    sourceNat: readonly SourceNatPlan[],
  ) {
    for (const route of configured) {
      this.add(new Route(RouteKind.UNICAST, route.interface, route.via ?? 0, route.to.address, route.to.length));
    }
    for (const each of interfaces) {
      if (each === undefined) continue;
      this.add(new Route(RouteKind.UNICAST, each.index, 0, each.address, each.prefixLength));
      if (each.prefixLength < 31) {
        this.add(new Route(RouteKind.BROADCAST, each.index, 0, each.broadcast, 32));
        this.add(new Route(RouteKind.BROADCAST, each.index, 0, each.broadcast & each.address, 32));
      }
    }
    // Addresses that source NAT takes are the router's own: it answers ARP for them.
    for (const { out, to } of sourceNat) {
      for (
        let address = to?.first ?? 0;
        to !== undefined && ((address - to.last) | 0) <= 0;
        address = (address + 1) | 0
      ) {
        this.add(new Route(RouteKind.LOCAL, out, 0, address, 32));
      }
    }
    for (const each of interfaces) {
      if (each !== undefined) this.add(new Route(RouteKind.LOCAL, each.index, 0, each.address, 32));
    }
  }

  /** The route to a destination, or undefined. */
  lookup(destination: number): Route | undefined {
    const index = this.match.lookup(destination);
    return index < 0 ? undefined : this.routes[index];
  }

  private add(route: Route): void {
    this.match.insert(route.prefix, route.length, this.routes.length);
    this.routes.push(route);
  }
}
