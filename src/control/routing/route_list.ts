/**
 * All routes that are given: configured, added by hand, followed; by table and prefix, with the rules of Linux for what
 * replaces what (fib_table_insert). The dataplane holds the same in a form for look-ups. What differs between the two
 * is kept as a list of changed prefixes, from which pieces of a bounded size are taken to be sent.
 *
 * Prefixes that have the same routes share one list of them: a full Internet table has a million prefixes and few next
 * hops. Lists are never changed in place.
 */
import type { RouteChange } from "../../dataplane/plan.ts";
import type { RouteOption } from "../../routing/route_set.ts";
import { TapirError } from "../errors.ts";

/** A route as the control process holds it. */
export interface HeldRoute {
  option: RouteOption;
  /** Who made it, as in /etc/iproute2/rt_protos: 3 boot, 4 static, 12 bird. */
  protocol: number;
  /** `configuration`, `command`, or whose routes are followed. */
  owner: string;
}

export interface RoutePlace {
  table: number;
  address: number;
  length: number;
}

export const RouteErrors = {
  EXISTS: "RTNETLINK answers: File exists",
  MISSING: "RTNETLINK answers: No such process",
  NO_FILE: "RTNETLINK answers: No such file or directory",
} as const;

export type RouteVerb = "add" | "replace" | "change" | "append" | "prepend";

type Prefixes = Map<number, readonly HeldRoute[]>;

export class RouteList {
  private readonly tables = new Map<number, Prefixes>();
  /** What changed prefixes had when the dataplane was told last. */
  private readonly changed = new Map<number, Prefixes>();
  private readonly limit: number;
  private readonly shared = new Map<string, readonly HeldRoute[]>();

  /** `limit`: prefixes of a table. */
  constructor(limit: number) {
    this.limit = limit;
  }

  get tableNumbers(): number[] {
    return [...this.tables.keys()].sort((left, right) => left - right);
  }

  /** Number of prefixes in a table. */
  sizeOf(table: number): number {
    return this.tables.get(table)?.size ?? 0;
  }

  /** Routes of exactly this prefix, in the order in which they are asked. */
  routesAt(place: RoutePlace): readonly HeldRoute[] {
    return this.tables.get(place.table)?.get(keyOf(place.address, place.length)) ?? NONE;
  }

  /** Routes of a table by address, of equal ones the longer prefix first, as the kernel's dump has them. */
  *entries(table: number): Generator<{ place: RoutePlace; routes: readonly HeldRoute[] }> {
    const prefixes = this.tables.get(table);
    if (prefixes === undefined) return;
    const byLength = (key: number): number => key - (key % 64) + 32 - (key % 64);
    for (const order of Float64Array.from(prefixes.keys(), byLength).sort()) {
      const key = byLength(order);
      const routes = prefixes.get(key);
      if (routes !== undefined) yield { place: placeOf(table, key), routes };
    }
  }

  /** All routes of some owners, with their places. */
  ownedBy(owners: readonly string[]): [RoutePlace, HeldRoute][] {
    return this.tableNumbers.flatMap((table) =>
      [...this.entries(table)].flatMap(({ place, routes }) =>
        routes.filter(({ owner }) => owners.includes(owner)).map((route): [RoutePlace, HeldRoute] => [place, route]),
      ),
    );
  }

  /** Puts a route where Linux would. @throws TapirError in iproute2's words. */
  put(verb: RouteVerb, place: RoutePlace, route: HeldRoute): void {
    const before = this.routesAt(place);
    const metric = route.option.metric ?? 0;
    const same = before.findIndex((each) => (each.option.metric ?? 0) === metric);
    if (verb === "add" && same >= 0) throw new TapirError(RouteErrors.EXISTS);
    if (verb === "change" && same < 0) throw new TapirError(RouteErrors.NO_FILE);
    if ((verb === "append" || verb === "prepend") && before.some((each) => isSame(each, route))) {
      throw new TapirError(RouteErrors.EXISTS);
    }
    const after = [...before];
    if ((verb === "replace" || verb === "change") && same >= 0) after[same] = route;
    else after.splice(placeFor(before, metric, verb === "prepend"), 0, route);
    this.write(place, after);
  }

  /** Takes the first route away that fits. @throws TapirError where none does. */
  remove(place: RoutePlace, doesFit: (route: HeldRoute) => boolean = () => true): void {
    const before = this.routesAt(place);
    const index = before.findIndex(doesFit);
    if (index < 0) throw new TapirError(RouteErrors.MISSING);
    this.write(place, [...before.slice(0, index), ...before.slice(index + 1)]);
  }

  /** Takes all routes away that fit; returns how many. */
  removeAll(doesFit: (route: HeldRoute, place: RoutePlace) => boolean, tables = this.tableNumbers): number {
    let removed = 0;
    for (const table of tables) {
      for (const [key, routes] of this.tables.get(table) ?? []) {
        const place = placeOf(table, key);
        const kept = routes.filter((route) => !doesFit(route, place));
        if (kept.length === routes.length) continue;
        removed += routes.length - kept.length;
        this.write(place, kept);
      }
    }
    return removed;
  }

  /** Up to `most` prefixes of a table that the dataplane does not know of yet; undefined when there are none. */
  takeChange(most: number): { change: RouteChange; undo: () => void } | undefined {
    const [next] = this.changed;
    if (next === undefined) return undefined;
    const [table, prefixes] = next;
    const sets = new Map<readonly HeldRoute[], number>();
    const change: RouteChange = { table, sets: [], prefixes: [] };
    const taken: [number, readonly HeldRoute[]][] = [];
    for (const [key, before] of prefixes) {
      if (taken.length >= most) break;
      prefixes.delete(key);
      const { address, length } = placeOf(table, key);
      const routes = this.tables.get(table)?.get(key) ?? NONE;
      if (routes === before) continue;
      taken.push([key, before]);
      change.prefixes.push(address, length, numberOf(routes, sets, change.sets));
    }
    if (prefixes.size === 0) this.changed.delete(table);
    const undo = (): void => {
      for (const [key, before] of taken) this.store(table, key, before);
    };
    return { change, undo };
  }

  /** The routes with several next hops, in no particular order. */
  *withSeveralHops(): Generator<{ place: RoutePlace; option: RouteOption }> {
    for (const [table, prefixes] of this.tables) {
      for (const [key, routes] of prefixes) {
        for (const { option } of routes) if (option.nextHops.length > 1) yield { place: placeOf(table, key), option };
      }
    }
  }

  /** All routes as changes of at most so many prefixes. */
  *asChanges(most: number): Generator<RouteChange> {
    for (const [table, prefixes] of this.tables) {
      let sets = new Map<readonly HeldRoute[], number>();
      let change: RouteChange = { table, sets: [], prefixes: [] };
      for (const [key, routes] of prefixes) {
        const { address, length } = placeOf(table, key);
        change.prefixes.push(address, length, numberOf(routes, sets, change.sets));
        if (change.prefixes.length < most * 3) continue;
        yield change;
        sets = new Map();
        change = { table, sets: [], prefixes: [] };
      }
      if (change.prefixes.length > 0) yield change;
    }
  }

  /** Forgets what the dataplane has not been told: all is as it was. */
  undoChanges(): void {
    for (const [table, prefixes] of this.changed) {
      for (const [key, before] of prefixes) this.store(table, key, before);
    }
    this.changed.clear();
  }

  private write(place: RoutePlace, routes: HeldRoute[]): void {
    const { table, address, length } = place;
    const key = keyOf(address, length);
    const before = this.routesAt(place);
    if (before.length === 0 && this.sizeOf(table) >= this.limit) {
      throw new TapirError(`the routing table ${table} is full: ${this.limit} prefixes (limits.routes)`);
    }
    let changed = this.changed.get(table);
    if (changed === undefined) {
      changed = new Map();
      this.changed.set(table, changed);
    }
    if (!changed.has(key)) changed.set(key, before);
    this.store(table, key, routes.length === 0 ? NONE : this.share(routes));
  }

  private store(table: number, key: number, routes: readonly HeldRoute[]): void {
    let prefixes = this.tables.get(table);
    if (routes.length === 0) {
      prefixes?.delete(key);
      if (prefixes?.size === 0) this.tables.delete(table);
      return;
    }
    if (prefixes === undefined) {
      prefixes = new Map();
      this.tables.set(table, prefixes);
    }
    prefixes.set(key, routes);
  }

  /** The one list that is equal to this one. */
  private share(routes: HeldRoute[]): readonly HeldRoute[] {
    const key = JSON.stringify(routes);
    const known = this.shared.get(key);
    if (known !== undefined) return known;
    // Lists that nobody uses any more are let go now and then.
    if (this.shared.size >= MOST_SHARED) this.shared.clear();
    this.shared.set(key, routes);
    return routes;
  }
}

const NONE: readonly HeldRoute[] = [];
const MOST_SHARED = 10_000;

/** The place of a list of routes in a message. */
function numberOf(
  routes: readonly HeldRoute[],
  sets: Map<readonly HeldRoute[], number>,
  into: RouteOption[][],
): number {
  if (routes.length === 0) return -1;
  let number = sets.get(routes);
  if (number === undefined) {
    number = into.push(routes.map(({ option }) => option)) - 1;
    sets.set(routes, number);
  }
  return number;
}

/** Behind those of the same metric, or before them. */
function placeFor(routes: readonly HeldRoute[], metric: number, isFirst: boolean): number {
  const index = routes.findIndex(({ option }) => {
    const other = option.metric ?? 0;
    return isFirst ? other >= metric : other > metric;
  });
  return index < 0 ? routes.length : index;
}

function isSame(left: HeldRoute, right: HeldRoute): boolean {
  return left.protocol === right.protocol && JSON.stringify(left.option) === JSON.stringify(right.option);
}

function keyOf(address: number, length: number): number {
  return (address >>> 0) * 64 + length;
}

function placeOf(table: number, key: number): RoutePlace {
  return { table, address: Math.floor(key / 64) | 0, length: key % 64 };
}
