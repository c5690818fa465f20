/**
 * Follows a kernel's routing table: a namespace where BIRD, FRR or an administrator puts routes, which this router takes
 * over as they come and go.
 *
 * Theory of operation. A netlink socket in that namespace is subscribed to changes of routes; then all routes are dumped.
 * Changes that come while the dump runs wait, and are applied after it: what the dump has already is the same twice.
 * When the kernel could not tell of every change (ENOBUFS: changes came faster than they were read), or a dump was
 * interrupted by one, all is dumped again, and what differs is changed. So the table here is, in the end, always that of
 * the kernel. A namespace that goes takes its routes with it; the follower waits for its return.
 *
 * A next hop is usable when it is on a subnet of this router's; other routes are passed over and counted. Which device
 * the kernel would use does not matter: its names are those of another namespace.
 */
import { statSync } from "node:fs";
import type { InterfacePlan } from "../../dataplane/plan.ts";
import { native } from "../../io/native.ts";
import { type NextHopPlan, RouteKind } from "../../routing/route_set.ts";
import type { FollowPlan } from "../configuration/build_routing.ts";
import type { SystemError } from "../errors.ts";
import { interfaceOnLink } from "./on_link.ts";
import type { HeldRoute, RouteList, RoutePlace } from "./route_list.ts";
import { dumpRequest, IPV4_ROUTES_GROUP, type KernelRoute, KernelType, readMessages } from "./rtnetlink.ts";

const LOOK_MS = 1000;
/** Reads of the socket before others get a turn: each brings up to 32 KiB. */
const READS_AT_ONCE = 64;
/** RTPROT_KERNEL: what the kernel made itself, of the addresses of its devices. */
const KERNEL_PROTOCOL = 2;

const KINDS = new Map<number, number>([
  [KernelType.UNICAST, RouteKind.UNICAST],
  [KernelType.BLACKHOLE, RouteKind.BLACKHOLE],
  [KernelType.UNREACHABLE, RouteKind.UNREACHABLE],
  [KernelType.PROHIBIT, RouteKind.PROHIBIT],
  [KernelType.THROW, RouteKind.THROW],
]);

export interface FollowerEvents {
  change(edit: (routes: RouteList) => void): Promise<void>;
  log(level: "info" | "warn" | "error", message: string): void;
  interfaces(): readonly InterfacePlan[];
}

export interface FollowState {
  name: string;
  table: number;
  into: number;
  state: "in sync" | "reading" | "waiting";
  /** Why it waits. */
  reason?: string;
  routes: number;
  /** Routes whose next hop is on no subnet of this router's. */
  unusable: number;
  resynchronised: number;
}

interface RouteEvent {
  isGone: boolean;
  replaces: boolean;
  route: KernelRoute;
}

export class Follower {
  readonly plan: FollowPlan;
  readonly owner: string;
  private readonly events: FollowerEvents;
  private socket: { fd: number; stop: () => void; inode: number } | undefined;
  private sequence = 0;
  /** The dump that is being read, and the one that is to be applied. */
  private dumping: KernelRoute[] | undefined;
  private dumped: readonly KernelRoute[] | undefined;
  private waiting: RouteEvent[] = [];
  private isApplying = false;
  private hasLost = false;
  private reason: string | undefined;
  private unusable = 0;
  private count = 0;
  private resynchronised = 0;
  private readonly timer: NodeJS.Timeout;

  constructor(plan: FollowPlan, events: FollowerEvents) {
    this.plan = plan;
    this.owner = `follow ${plan.netns} ${plan.table}`;
    this.events = events;
    this.timer = setInterval(() => this.look(), LOOK_MS);
    this.timer.unref();
  }

  start(): void {
    this.look();
  }

  /** Subnets of this router have changed: other next hops may be usable. */
  review(): void {
    if (this.socket !== undefined) this.requestDump();
  }

  state(): FollowState {
    const { name, table, into } = this.plan;
    const isReading =
      this.dumping !== undefined || this.dumped !== undefined || this.isApplying || this.waiting.length > 0;
    return {
      name,
      table,
      into,
      state: this.socket === undefined ? "waiting" : isReading ? "reading" : "in sync",
      ...(this.reason === undefined ? {} : { reason: this.reason }),
      routes: this.count,
      unusable: this.unusable,
      resynchronised: this.resynchronised,
    };
  }

  close(): void {
    clearInterval(this.timer);
    this.closeSocket();
    this.forget();
  }

  /** What has been read, but not applied. */
  private forget(): void {
    this.dumping = undefined;
    this.dumped = undefined;
    this.waiting = [];
  }

  /** Opens the namespace when it is there, and lets go of one that is gone or another's by now. */
  private look(): void {
    let inode = -1;
    try {
      inode = statSync(this.plan.netns).ino;
    } catch {
      // It is not there.
    }
    if (this.socket !== undefined && this.socket.inode !== inode) this.lose();
    if (this.socket === undefined && inode >= 0) this.open(inode);
    if (inode < 0) this.wait("the namespace is not there");
  }

  private open(inode: number): void {
    try {
      const fd = native().openRouteNetlink({ groups: IPV4_ROUTES_GROUP, netns: this.plan.netns });
      this.socket = { fd, stop: native().watchReadable(fd, () => this.read()), inode };
      this.reason = undefined;
      this.requestDump();
    } catch (error) {
      this.closeSocket();
      this.wait((error as Error).message);
    }
  }

  private wait(reason: string): void {
    if (this.reason === reason) return;
    this.reason = reason;
    this.events.log("warn", `routes of ${this.plan.name} are not followed: ${reason}`);
  }

  private lose(): void {
    this.closeSocket();
    this.forget();
    this.dumped = [];
    this.apply();
  }

  private closeSocket(): void {
    if (this.socket === undefined) return;
    this.socket.stop();
    native().closeDescriptor(this.socket.fd);
    this.socket = undefined;
  }

  private requestDump(): void {
    if (this.socket === undefined) return;
    this.hasLost = false;
    this.forget();
    this.dumping = [];
    this.sequence = (this.sequence + 1 + (Date.now() & 0xffffff)) & 0x7fffffff;
    try {
      if (native().sendMessage(this.socket.fd, dumpRequest(this.sequence), [])) return;
      throw new Error("the kernel takes no question now");
    } catch (error) {
      // `look` opens it again.
      this.closeSocket();
      this.wait((error as Error).message);
    }
  }

  private read(): void {
    for (let reads = 0; reads < READS_AT_ONCE && this.socket !== undefined; reads++) {
      try {
        const received = native().receiveMessage(this.socket.fd);
        if (received === null || received === "closed") break;
        for (const message of readMessages(received.bytes)) {
          if (message.kind === "route") this.take(message, message.sequence);
          else if (message.sequence === this.sequence) this.endDump(message.error !== 0 || message.isInterrupted);
        }
      } catch (error) {
        if ((error as SystemError).code !== "ENOBUFS") {
          this.closeSocket();
          this.wait((error as Error).message);
          return;
        }
        this.hasLost = true;
      }
    }
    if (this.hasLost) {
      this.resynchronised++;
      this.requestDump();
    }
    this.apply();
  }

  private take(event: RouteEvent, sequence: number): void {
    if (event.route.table !== this.plan.table) return;
    if (sequence === this.sequence && !event.isGone) this.dumping?.push(event.route);
    else this.waiting.push(event);
  }

  private endDump(hasFailed: boolean): void {
    if (hasFailed) this.hasLost = true;
    else this.dumped = this.dumping;
    this.dumping = undefined;
  }

  /** Changes the routes here; what comes meanwhile waits for the next time, or for the end of the dump. */
  private apply(): void {
    const { dumped, waiting } = this;
    const isIdle = dumped === undefined && waiting.length === 0;
    if (this.isApplying || this.dumping !== undefined || isIdle) return;
    this.isApplying = true;
    this.dumped = undefined;
    this.waiting = [];
    this.events
      .change((routes) => {
        if (dumped !== undefined) this.applyDump(routes, dumped);
        for (const event of waiting) this.applyEvent(routes, event);
      })
      .catch((error: Error) => this.events.log("error", `routes of ${this.plan.name}: ${error.message}`))
      .finally(() => {
        this.isApplying = false;
        this.apply();
      });
  }

  private applyDump(routes: RouteList, dump: readonly KernelRoute[]): void {
    const wanted = new Map<string, { place: RoutePlace; held: HeldRoute }>();
    this.unusable = 0;
    for (const route of dump) {
      const held = this.heldOf(route);
      if (held === undefined) {
        if (protocolCounts(route)) this.unusable++;
        continue;
      }
      const place = this.placeOf(route);
      wanted.set(keyOf(place, held), { place, held });
    }
    routes.removeAll(
      (held, place) => held.owner === this.owner && !wanted.delete(keyOf(place, held)),
      [this.plan.into],
    );
    for (const { place, held } of wanted.values()) routes.put("append", place, held);
    this.count = countOf(routes, this.plan.into, this.owner);
  }

  private applyEvent(routes: RouteList, { isGone, replaces, route }: RouteEvent): void {
    const place = this.placeOf(route);
    const isOwn = (held: HeldRoute): boolean => held.owner === this.owner && (held.option.metric ?? 0) === route.metric;
    const before = routes.routesAt(place).filter(isOwn);
    const held = this.heldOf(route);
    if (isGone || replaces) {
      const same = before.find((each) => held !== undefined && keyOf(place, each) === keyOf(place, held));
      const gone = isGone ? (same ?? before[0]) : before[0];
      if (gone !== undefined) {
        routes.remove(place, (each) => each === gone);
        this.count--;
      }
    }
    if (held === undefined && protocolCounts(route)) this.unusable = Math.max(0, this.unusable + (isGone ? -1 : 1));
    if (
      held === undefined ||
      isGone ||
      routes.routesAt(place).some((each) => keyOf(place, each) === keyOf(place, held))
    )
      return;
    routes.put("append", place, held);
    this.count++;
  }

  private placeOf({ address, length }: KernelRoute): RoutePlace {
    return { table: this.plan.into, address, length };
  }

  /** The route as this router has it; undefined for one that is of no use here. */
  private heldOf({ type, hops, metric, protocol }: KernelRoute): HeldRoute | undefined {
    const kind = KINDS.get(type);
    if (kind === undefined) return undefined;
    const nextHops: NextHopPlan[] = [];
    if (kind === RouteKind.UNICAST) {
      for (const { gateway, weight } of hops) {
        const found = gateway === 0 ? undefined : interfaceOnLink(this.events.interfaces(), gateway);
        if (found !== undefined)
          nextHops.push({ interface: found.index, via: gateway, ...(weight === 1 ? {} : { weight }) });
      }
      if (nextHops.length === 0) return undefined;
    }
    const option = {
      ...(kind === RouteKind.UNICAST ? {} : { kind }),
      ...(metric === 0 ? {} : { metric }),
      nextHops,
    };
    return { option, protocol, owner: this.owner };
  }
}

/** Whether a route that is of no use here is worth a mention: not the subnets and addresses of that namespace itself. */
function protocolCounts({ protocol, type }: KernelRoute): boolean {
  return protocol !== KERNEL_PROTOCOL && KINDS.has(type);
}

function keyOf({ address, length }: RoutePlace, { option, protocol, owner }: HeldRoute): string {
  return JSON.stringify([address, length, option, protocol, owner]);
}

function countOf(routes: RouteList, table: number, owner: string): number {
  let count = 0;
  for (const { routes: held } of routes.entries(table)) for (const each of held) if (each.owner === owner) count++;
  return count;
}
