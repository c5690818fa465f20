/**
 * Routing as the control process holds it: routes, policy rules, permanent neighbours, and what is followed. Changes
 * reach the dataplane as messages of their own, one after the other; a plan is sent only for what else changes. Routes
 * that were added by hand stay when the configuration is read again, as they would in the kernel; of configured ones,
 * those change that the configuration has changed.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { NeighbourPlan, RouteChange, RoutePlan, RouterPlan } from "../../dataplane/plan.ts";
import { type PolicyRule, TableId } from "../../routing/policy.ts";
import type { ResolvedPlan } from "../configuration/configuration.ts";
import { Follower, type FollowState } from "./follower.ts";
import { RouteProtocol } from "./names.ts";
import { addressesOf } from "./on_link.ts";
import { type HeldRoute, RouteList, type RoutePlace } from "./route_list.ts";

/** Between two looks at whether all has been read. */
const LOOK_MS = 5;

/** Prefixes of one message: the dataplane takes them in well under a millisecond. */
const PREFIXES_AT_ONCE = 256;

type RoutingRequest =
  | { type: "change-routes"; change: RouteChange }
  | { type: "set-policy"; rules: PolicyRule[] }
  | { type: "set-neighbour"; neighbour: NeighbourPlan }
  | { type: "remove-neighbour"; interface: number; address: number };

export interface SavedRouting {
  routes: [RoutePlace, HeldRoute][];
  rules: PolicyRule[];
  neighbours: NeighbourPlan[];
}

export interface RoutingDataplane {
  request(message: RoutingRequest): Promise<unknown>;
  log(level: "info" | "warn" | "error", message: string): void;
  interfaces(): RouterPlan["interfaces"];
}

export class Routing {
  readonly routes: RouteList;
  rules: readonly PolicyRule[];
  neighbours: readonly NeighbourPlan[];
  private configured: { routes: RoutePlan[]; policy: PolicyRule[]; neighbours: NeighbourPlan[] };
  private followers: Follower[] = [];
  private subnets: string | undefined;
  private readonly dataplane: RoutingDataplane;
  private last: Promise<unknown> = Promise.resolve();

  constructor({ plan, limits }: ResolvedPlan, dataplane: RoutingDataplane) {
    this.routes = new RouteList(limits.routes);
    this.dataplane = dataplane;
    this.configured = { routes: [], policy: plan.policy, neighbours: plan.neighbours };
    this.rules = plan.policy;
    this.neighbours = plan.neighbours;
  }

  /** What a plan says of routing apart from routes, which the dataplane keeps. */
  planned(): Pick<RouterPlan, "policy" | "neighbours"> {
    return { policy: [...this.rules], neighbours: [...this.neighbours] };
  }

  /** Tells a dataplane that knows no routes all of them, a piece at a time. */
  async tellAll(request: RoutingDataplane["request"]): Promise<void> {
    const told: Promise<unknown>[] = [];
    for (const change of this.routes.asChanges(PREFIXES_AT_ONCE)) told.push(request({ type: "change-routes", change }));
    await Promise.all(told);
  }

  /** Some of the routes with several next hops: which way adopted flows have gone is told by these, before all are told. */
  sharedRoutes(): RoutePlan[] {
    const shared: RoutePlan[] = [];
    for (const { place, option } of this.routes.withSeveralHops()) {
      if (shared.push({ ...option, table: place.table, to: place }) >= PREFIXES_AT_ONCE) break;
    }
    return shared;
  }

  /** What the next control process needs to go on; what is followed, it reads again. */
  get saved(): SavedRouting {
    const routes = this.routes.ownedBy(["configuration", "command"]);
    return { routes, rules: [...this.rules], neighbours: [...this.neighbours] };
  }

  /** Goes on where an earlier control process was, with the same configuration. To be followed by `configure`. */
  resume({ routes, rules, neighbours }: SavedRouting, { plan }: ResolvedPlan): void {
    for (const [place, route] of routes) this.routes.put("append", place, route);
    this.rules = rules;
    this.neighbours = neighbours;
    this.configured = { routes: plan.routes, policy: plan.policy, neighbours: plan.neighbours };
  }

  /** Returns once all that is followed has been read, or so much time has passed. */
  async untilFollowed(mostMs: number): Promise<void> {
    const end = performance.now() + mostMs;
    while (this.followed().some(({ state }) => state === "reading") && performance.now() < end) await sleep(LOOK_MS);
  }

  /** Runs one change after the other, and tells the dataplane. When it throws, nothing has changed. */
  change<T>(edit: () => T): Promise<T> {
    const run = this.last.then(async () => {
      try {
        const result = edit();
        await this.send();
        return result;
      } catch (error) {
        this.routes.undoChanges();
        throw error;
      }
    });
    this.last = run.catch(() => {});
    return run;
  }

  async setRules(edit: (rules: readonly PolicyRule[]) => PolicyRule[]): Promise<void> {
    await this.ordered(async () => {
      const rules = edit(this.rules).sort((left, right) => left.priority - right.priority);
      await this.dataplane.request({ type: "set-policy", rules });
      this.rules = rules;
    });
  }

  async setNeighbour(neighbour: NeighbourPlan): Promise<void> {
    await this.ordered(async () => {
      await this.dataplane.request({ type: "set-neighbour", neighbour });
      this.neighbours = [...this.neighbours.filter((each) => !isAt(each, neighbour)), neighbour];
    });
  }

  /** False where there is no such neighbour. */
  removeNeighbour(place: { interface: number; address: number }): Promise<boolean> {
    return this.ordered(async () => {
      this.neighbours = this.neighbours.filter((each) => !isAt(each, place));
      return (await this.dataplane.request({ type: "remove-neighbour", ...place })) as boolean;
    });
  }

  /** Takes another configuration's routes, rules and neighbours, which the dataplane's plan has already. */
  async configure({ plan, follows }: ResolvedPlan): Promise<void> {
    const kept = new Set(plan.interfaces.map(({ index }) => index));
    await this.change(() => {
      this.routes.removeAll(({ option }) => option.nextHops.some((hop) => !kept.has(hop.interface)));
      const before = new Map(this.configured.routes.map((route) => [JSON.stringify(route), route]));
      const after = new Map(plan.routes.map((route) => [JSON.stringify(route), route]));
      for (const [key, route] of before) if (!after.has(key)) this.removeConfigured(route);
      for (const [key, route] of after) if (!before.has(key)) this.addConfigured(route);
    });
    this.configured = plan;
    await this.follow(follows);
    this.reviewFollowed(plan);
  }

  /**
   * Rules and neighbours with a changed configuration: what was changed by hand stays where the file did not change.
   * Returns how to go back.
   */
  takePlan({ plan }: ResolvedPlan): () => void {
    const { rules, neighbours } = this;
    const kept = new Set(plan.interfaces.map(({ index }) => index));
    this.rules = merged(this.rules, this.configured.policy, plan.policy)
      .filter(({ iif }) => iif === undefined || !("interface" in iif) || kept.has(iif.interface))
      .sort((left, right) => left.priority - right.priority);
    this.neighbours = merged(this.neighbours, this.configured.neighbours, plan.neighbours).filter((each) =>
      kept.has(each.interface),
    );
    return () => {
      this.rules = rules;
      this.neighbours = neighbours;
    };
  }

  /** How the tables that are followed do. */
  followed(): FollowState[] {
    return this.followers.map((follower) => follower.state());
  }

  close(): void {
    for (const follower of this.followers.splice(0)) follower.close();
  }

  private async follow(follows: ResolvedPlan["follows"]): Promise<void> {
    const wanted = new Map(follows.map((plan) => [JSON.stringify(plan), plan]));
    const kept = this.followers.filter(({ plan }) => wanted.delete(JSON.stringify(plan)));
    const gone = this.followers.filter((follower) => !kept.includes(follower));
    this.followers = kept;
    for (const follower of gone) {
      follower.close();
      await this.change(() => this.routes.removeAll(({ owner }) => owner === follower.owner));
    }
    for (const plan of wanted.values()) {
      const follower = new Follower(plan, {
        change: (edit) => this.change(() => edit(this.routes)),
        log: (level, message) => this.dataplane.log(level, message),
        interfaces: () => this.dataplane.interfaces(),
      });
      this.followers.push(follower);
      follower.start();
    }
  }

  /** Other next hops may be usable when the router has other subnets. */
  private reviewFollowed(plan: RouterPlan): void {
    const subnets = JSON.stringify(plan.interfaces.map((each) => [each.index, addressesOf(each)]));
    if (this.subnets !== undefined && this.subnets !== subnets) for (const each of this.followers) each.review();
    this.subnets = subnets;
  }

  private addConfigured(route: RoutePlan): void {
    const held: HeldRoute = { option: optionOf(route), protocol: RouteProtocol.STATIC, owner: "configuration" };
    const place = placeOf(route);
    const same = this.routes.routesAt(place).some(({ option }) => (option.metric ?? 0) === (route.metric ?? 0));
    this.routes.put(same ? "replace" : "add", place, held);
  }

  /** It may have been deleted by hand. */
  private removeConfigured(route: RoutePlan): void {
    const text = JSON.stringify(optionOf(route));
    const isIt = (held: HeldRoute): boolean => held.owner === "configuration" && JSON.stringify(held.option) === text;
    if (this.routes.routesAt(placeOf(route)).some(isIt)) this.routes.remove(placeOf(route), isIt);
  }

  /** Tells the dataplane what it does not know yet, a piece at a time; it forwards in between. */
  private async send(): Promise<void> {
    for (let piece = this.routes.takeChange(PREFIXES_AT_ONCE); piece !== undefined; ) {
      try {
        if (piece.change.prefixes.length > 0) {
          await this.dataplane.request({ type: "change-routes", change: piece.change });
        }
      } catch (error) {
        piece.undo();
        throw error;
      }
      piece = this.routes.takeChange(PREFIXES_AT_ONCE);
    }
  }

  private ordered<T>(run: () => Promise<T>): Promise<T> {
    const result = this.last.then(run);
    this.last = result.catch(() => {});
    return result;
  }
}

function isAt(neighbour: NeighbourPlan, place: { interface: number; address: number }): boolean {
  return neighbour.interface === place.interface && neighbour.address === place.address;
}

function placeOf({ table = TableId.MAIN, to }: RoutePlan): RoutePlace {
  return { table, address: to.address, length: to.length };
}

function optionOf({ kind, metric, nextHops }: RoutePlan): HeldRoute["option"] {
  return {
    ...(kind === undefined ? {} : { kind }),
    ...(metric === undefined ? {} : { metric }),
    nextHops,
  };
}

/** `present` with what has changed from `before` to `after`. */
function merged<T>(present: readonly T[], before: readonly T[], after: readonly T[]): T[] {
  const old = new Set(before.map((each) => JSON.stringify(each)));
  const wanted = new Set(after.map((each) => JSON.stringify(each)));
  const kept = present.filter((each) => !old.has(JSON.stringify(each)) || wanted.has(JSON.stringify(each)));
  return [...kept, ...after.filter((each) => !old.has(JSON.stringify(each)))];
}
