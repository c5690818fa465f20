/**
 * Routes of the router. The router's own addresses and the broadcast addresses of its subnets come first, as in Linux's
 * table `local`; then the policy rules say which tables are asked (mostly: main alone). Connected routes follow from the
 * interfaces; all others come from the control process, a prefix at a time, and stay when the plan changes.
 */
import type { AddressType } from "../filter/rule_set.ts";
import type { Frame } from "../packet/frame.ts";
import { isMulticast, LIMITED_BROADCAST } from "../packet/ipv4.ts";
import { prefixMask } from "../packet/ipv4_address.ts";
import type { Asker, Links } from "../routing/choice.ts";
import type { Neighbours } from "../routing/neighbours.ts";
import { DEFAULT_POLICY, fits, isAnswer, Policy, type PolicyRule, TableId } from "../routing/policy.ts";
import { Route, RouteKind, type RouteOption, RouteSets } from "../routing/route_set.ts";
import { type ConnectedRoute, RouteTable } from "../routing/route_table.ts";
import { broadcastOf, type Interface } from "./interfaces.ts";
import type { AddressPool } from "./nat_table.ts";
import type { RouteChange, RoutePlan } from "./plan.ts";

export { Route, RouteKind } from "../routing/route_set.ts";

/** Tables that may hold routes at once. */
export const MOST_TABLES = 64;
/** Places for connected routes, besides the limit of those that are given. */
const CONNECTED_ROUTES = 4096;
/** Words for interfaces: their indexes are below. */
const MOST_INTERFACE_INDEXES = 256;

/** Where a route was found. */
export interface RoutePlace {
  table: number;
  /** Length of its prefix. */
  length: number;
}

export class Routes {
  readonly links: Links;
  private readonly capacity: number;
  private readonly sets = new RouteSets();
  private readonly tables = new Map<number, RouteTable>();
  private readonly main: RouteTable;
  private readonly locals = new Map<number, Route>();
  private policy = new Policy(DEFAULT_POLICY, false);
  /** The one question that is filled anew for each look-up. */
  private readonly asker: Asker = { destination: 0, hash: 0, kept: -1 };

  /** `capacity`: prefixes of a table that are given. */
  constructor(capacity: number, neighbours: Neighbours) {
    this.capacity = capacity;
    this.links = { up: new Uint8Array(MOST_INTERFACE_INDEXES), neighbours };
    this.main = this.tableOf(TableId.MAIN);
  }

  /** Number of prefixes in all tables, connected ones included. */
  get size(): number {
    let size = 0;
    for (const table of this.tables.values()) size += table.size;
    return size;
  }

  /** Whether neighbours that do not answer matter to a choice. */
  get hasSharedHops(): boolean {
    return this.sets.multipath > 0;
  }

  sharedHops(): Generator<Route> {
    return this.sets.sharedHops();
  }

  /** Takes the addresses of other interfaces and pools: later ones win, the interfaces' own over all. */
  takeAddresses(interfaces: readonly (Interface | undefined)[], pools: readonly AddressPool[]): void {
    const { locals } = this;
    const connected: ConnectedRoute[] = [];
    locals.clear();
    for (const each of interfaces) if (each !== undefined) this.takeSubnets(each, connected);
    // Addresses that source NAT takes are the router's own: it answers ARP for them.
    for (const { interface: owner, first, last } of pools) {
      const local = new Route(RouteKind.LOCAL, owner, 0);
      for (let address = first; ((address - last) | 0) <= 0; address = (address + 1) | 0) locals.set(address, local);
    }
    for (const each of interfaces) {
      if (each === undefined) continue;
      const local = new Route(RouteKind.LOCAL, each.index, 0);
      for (const { address } of each.addresses) locals.set(address, local);
    }
    this.main.setConnected(connected);
  }

  /** Forgets all routes that were given, and takes these. */
  replaceAll(plans: readonly RoutePlan[]): void {
    for (const table of this.tables.values()) table.clear();
    for (const { table = TableId.MAIN, to, ...option } of plans) {
      const into = this.tableOf(table);
      const before = into.given(to.address, to.length);
      into.set(to.address, to.length, [...before, option]);
    }
    this.takePolicy(this.policy.rules);
  }

  /**
   * Gives prefixes of a table other routes, or takes them away. All or nothing.
   * @throws RangeError when there is no room.
   */
  change({ table: id, sets, prefixes }: RouteChange): void {
    const table = this.tableOf(id);
    const before: (readonly RouteOption[])[] = [];
    try {
      for (let at = 0; at < prefixes.length; at += 3) {
        const options = prefixes[at + 2] < 0 ? [] : sets[prefixes[at + 2]];
        before.push(table.given(prefixes[at], prefixes[at + 1]));
        table.set(prefixes[at], prefixes[at + 1], options);
      }
    } catch (error) {
      for (let done = before.length - 1; done >= 0; done--)
        table.set(prefixes[done * 3], prefixes[done * 3 + 1], before[done]);
      throw error;
    }
    if (id === TableId.DEFAULT) this.takePolicy(this.policy.rules);
  }

  takePolicy(rules: readonly PolicyRule[]): void {
    this.policy = new Policy(rules, (this.tables.get(TableId.DEFAULT)?.size ?? 0) > 0);
  }

  /** The router's own or a subnet's broadcast address, or undefined. */
  local(address: number): Route | undefined {
    return this.locals.get(address);
  }

  /** Where a destination would be looked for by a packet of no flow: no rules, no marks. */
  lookup(destination: number): Route | undefined {
    const local = this.locals.get(destination);
    return local ?? this.main.lookup(this.links, this.ask(destination, destination, -1));
  }

  /**
   * The route of a packet that goes to `destination`; `kept` is the neighbour that its flow has used so far, or -1.
   * LOCAL and BROADCAST come before all rules.
   */
  find(frame: Frame, destination: number, kept = -1): Route | undefined {
    const local = this.locals.get(destination);
    if (local !== undefined) return local;
    const { source, mark, ingressInterface, ingressPort, hash } = frame;
    const asker = this.ask(destination, hash, kept);
    if (this.policy.isPlain) return this.main.lookup(this.links, asker);
    return this.findByPolicy(source, mark, ingressInterface, ingressPort);
  }

  /** The route of a packet of the router's own. */
  findOwn(source: number, destination: number): Route | undefined {
    const local = this.locals.get(destination);
    if (local !== undefined) return local;
    const asker = this.ask(destination, source ^ destination, -1);
    return this.policy.isPlain ? this.main.lookup(this.links, asker) : this.findByPolicy(source, 0, -1, -1);
  }

  /** The rule by which a packet would find its route, for questions about one; undefined where none has a route. */
  ruleOf(source: number, destination: number, mark: number, ingress: number, port: number): PolicyRule | undefined {
    const asker = this.ask(destination, source ^ destination, -1);
    const packet = { source, destination, mark, ingressInterface: ingress, ingressPort: port };
    return this.policy.rules.find((rule, index) => fits(rule, packet) && isAnswer(this.answer(index, asker)));
  }

  /** Where a route that `find` gave comes from: its table, and the length of its prefix. Slow: for explanations. */
  placeOf(route: Route, destination: number): RoutePlace | undefined {
    for (const [table, each] of this.tables) {
      const length = each.prefixLengthOf(route, destination);
      if (length >= 0) return { table, length };
    }
    return undefined;
  }

  /** As Linux's inet_addr_type: what is neither the router's own nor for many is unicast. */
  addressTypeOf(address: number): AddressType {
    if (isMulticast(address)) return "MULTICAST";
    if (address >>> 24 === 0 || address === LIMITED_BROADCAST) return "BROADCAST";
    const kind = this.local(address)?.kind;
    if (kind === RouteKind.LOCAL) return "LOCAL";
    return kind === RouteKind.BROADCAST ? "BROADCAST" : "UNICAST";
  }

  private takeSubnets({ index, addresses }: Interface, connected: ConnectedRoute[]): void {
    for (const own of addresses) {
      const length = own.prefixLength;
      const address = own.address & prefixMask(length);
      if (connected.some((each) => each.address === address && each.length === length)) continue;
      connected.push({ address, length, option: { nextHops: [{ interface: index }] } });
      if (length >= 31) continue;
      this.locals.set(broadcastOf(own), new Route(RouteKind.BROADCAST, index, 0));
      this.locals.set(address, new Route(RouteKind.BROADCAST, index, 0));
    }
  }

  private findByPolicy(source: number, mark: number, ingress: number, port: number): Route | undefined {
    const { asker, policy } = this;
    const packet = {
      source,
      destination: asker.destination,
      mark,
      ingressInterface: ingress,
      ingressPort: port,
    };
    for (let index = 0; index < policy.rules.length; index++) {
      if (!fits(policy.rules[index], packet)) continue;
      const route = this.answer(index, asker);
      if (isAnswer(route)) return route;
    }
    return undefined;
  }

  /** What the rule at a place of the policy says. */
  private answer(index: number, asker: Asker): Route | undefined {
    const { action } = this.policy.rules[index];
    return "table" in action ? this.tables.get(action.table)?.lookup(this.links, asker) : this.policy.refusals[index];
  }

  private ask(destination: number, hash: number, kept: number): Asker {
    const { asker } = this;
    asker.destination = destination;
    asker.hash = hash;
    asker.kept = kept;
    return asker;
  }

  private tableOf(id: number): RouteTable {
    let table = this.tables.get(id);
    if (table !== undefined) return table;
    if (this.tables.size >= MOST_TABLES) throw new RangeError(`more than ${MOST_TABLES} routing tables`);
    table = new RouteTable(this.capacity + (id === TableId.MAIN ? CONNECTED_ROUTES : 0), this.sets);
    this.tables.set(id, table);
    return table;
  }
}
