/**
 * The routes of one prefix, as packets use them: in the order of their metrics, each with its next hops. A table of a
 * million prefixes has few different sets, so a set is kept once and prefixes name it by its number, which is what
 * longest-prefix match gives. Sets live as long as a prefix names them.
 */
import { MAX_ROUTE_VALUE } from "./rib.ts";

/** What becomes of a packet. LOCAL and BROADCAST are addresses of the router's own and those of its subnets. */
export const RouteKind = {
  UNICAST: 0,
  LOCAL: 1,
  BROADCAST: 2,
  /** Dropped in silence. */
  BLACKHOLE: 3,
  /** Refused with ICMP 3/1. */
  UNREACHABLE: 4,
  /** Refused with ICMP 3/13. */
  PROHIBIT: 5,
  /** As if the table had no route: the next policy rule is asked. */
  THROW: 6,
} as const;
export type RouteKind = (typeof RouteKind)[keyof typeof RouteKind];

/** Where packets go: what a look-up gives. */
export class Route {
  readonly kind: number;
  /** Egress; -1 where packets go nowhere. */
  readonly interface: number;
  /** Next hop; 0 for an on-link route, where the destination itself is the neighbour. */
  readonly via: number;

  constructor(kind: number, interfaceIndex: number, via: number) {
    this.kind = kind;
    this.interface = interfaceIndex;
    this.via = via;
  }
}

export interface NextHopPlan {
  interface: number;
  /** Next hop; absent for an on-link route (the destination itself is the neighbour). */
  via?: number;
  /** Share of the flows among several next hops, 1 to 256. Default: 1. */
  weight?: number;
}

/** One route to a prefix, as plain data. */
export interface RouteOption {
  /** A `RouteKind`; default: UNICAST. */
  kind?: number;
  /** The lowest wins. Default: 0. */
  metric?: number;
  /** At least one for UNICAST, none for the others. */
  nextHops: readonly NextHopPlan[];
}

/** One route of a set. */
export class SetRoute {
  readonly hops: readonly Route[];
  readonly weights: readonly number[];
  /** Follows from an address of the router's own, not from what it was told. */
  readonly isConnected: boolean;
  readonly option: RouteOption;

  constructor(option: RouteOption, isConnected = false) {
    const { kind = RouteKind.UNICAST, nextHops } = option;
    this.option = option;
    this.isConnected = isConnected;
    const isUnicast = kind === RouteKind.UNICAST;
    this.hops = isUnicast
      ? nextHops.map((hop) => new Route(kind, hop.interface, hop.via ?? 0))
      : [new Route(kind, -1, 0)];
    this.weights = isUnicast ? nextHops.map((hop) => hop.weight ?? 1) : [1];
  }

  get metric(): number {
    return this.option.metric ?? 0;
  }
}

export class RouteSet {
  readonly number: number;
  readonly key: string;
  readonly routes: readonly SetRoute[];
  /** Prefixes that name it. */
  users = 0;

  constructor(number: number, key: string, routes: readonly SetRoute[]) {
    this.number = number;
    this.key = key;
    this.routes = routes;
  }
}

/** All sets of all tables. */
export class RouteSets {
  /** Sets with a route of several next hops: how often neighbours that do not answer matter. */
  multipath = 0;
  private readonly byKey = new Map<string, RouteSet>();
  private readonly byNumber: (RouteSet | undefined)[] = [];
  private readonly free: number[] = [];

  get(number: number): RouteSet {
    return this.byNumber[number] as RouteSet;
  }

  /** The set of these routes, in this order, with one user more. @throws RangeError when there are too many. */
  take(routes: readonly SetRoute[]): RouteSet {
    const key = JSON.stringify(routes.map(({ option, isConnected }) => [option, isConnected]));
    let set = this.byKey.get(key);
    if (set === undefined) {
      const number = this.free.pop() ?? this.byNumber.length;
      if (number > MAX_ROUTE_VALUE) {
        this.free.push(number);
        throw new RangeError(`more than ${MAX_ROUTE_VALUE + 1} different sets of next hops`);
      }
      set = new RouteSet(number, key, routes);
      this.byKey.set(key, set);
      this.byNumber[number] = set;
      if (isMultipath(set)) this.multipath++;
    }
    set.users++;
    return set;
  }

  /** A prefix names the set no more. */
  release(number: number): void {
    const set = this.get(number);
    if (--set.users > 0) return;
    this.byKey.delete(set.key);
    this.byNumber[number] = undefined;
    this.free.push(number);
    if (isMultipath(set)) this.multipath--;
  }

  /** Next hops that share their flows with others. */
  *sharedHops(): Generator<Route> {
    for (const set of this.byKey.values()) {
      for (const { hops } of set.routes) if (hops.length > 1) yield* hops;
    }
  }
}

function isMultipath({ routes }: RouteSet): boolean {
  return routes.some(({ hops }) => hops.length > 1);
}
