/**
 * Housekeeping: what the clock makes happen, a bounded piece at a time between two bursts: flows that are over,
 * neighbours to ask again, stations that have fallen silent.
 */
import { HeaderWord } from "../conntrack/flow_layout.ts";
import type { NeighbourEvents } from "../routing/neighbours.ts";
import { sendArpRequest } from "./arp.ts";
import { Counter } from "./counters.ts";
import { refuseParked, resumeParked, sendOwnFrames } from "./dispose.ts";
import type { Router } from "./router.ts";

const SWEEP_INTERVAL_MS = 10;
const NEIGHBOUR_INTERVAL_MS = 100;
/** A next hop that failed is asked again as often. */
const SHARED_HOPS_INTERVAL_MS = 1000;
/** Entries looked at in each sweep: a table of a million is gone through in about half a second. */
const FLOWS_PER_SWEEP = 16_384;
const STATIONS_PER_SWEEP = 64;

export class Housekeeping {
  private readonly router: Router;
  private readonly events: NeighbourEvents;
  private sweepAt: number;
  private neighboursAt: number;
  private hopsAt: number;

  constructor(router: Router) {
    this.router = router;
    this.sweepAt = router.now;
    this.neighboursAt = router.now;
    this.hopsAt = router.now;
    this.events = {
      solicit: (neighbour) => sendArpRequest(router, neighbour),
      unreachable: (neighbour) => this.loseNeighbour(neighbour),
      reachable: (neighbour) => resumeParked(router, neighbour),
    };
  }

  /** Does what is due at `router.now`; nothing most of the time. */
  run(): void {
    const { now, rejudge } = this.router;
    if (rejudge.isPending) rejudge.run();
    if (((now - this.sweepAt) | 0) >= 0) {
      this.sweepAt = (now + SWEEP_INTERVAL_MS) | 0;
      this.sweep();
    }
  }

  /** Flows that share several next hops leave one that does not answer. */
  private loseNeighbour(neighbour: number): void {
    const { router } = this;
    if (router.routes.hasSharedHops) router.raiseGeneration();
    refuseParked(router, neighbour);
  }

  /** Next hops that share flows are asked whether anybody uses them or not, so that a dead one comes back. */
  private watchSharedHops(): void {
    const { router } = this;
    const { neighbours, now, routes } = router;
    for (const { interface: index, via } of routes.sharedHops()) {
      if (via === 0 || routes.links.up[index] === 0) continue;
      const before = neighbours.generation;
      const neighbour = neighbours.obtain(index, via, now);
      if (neighbours.generation !== before) router.raiseGeneration();
      if (neighbour < 0) return;
      neighbours.used[neighbour] = 1;
      if (neighbours.startResolution(neighbour, now)) sendArpRequest(router, neighbour);
    }
  }

  private sweep(): void {
    const { router } = this;
    const { now, flows, macs, neighbours } = router;
    flows.header[HeaderWord.NOW] = now;
    router.counters.values[Counter.flowsExpired] += flows.sweep(now, FLOWS_PER_SWEEP);
    macs.expire(now, STATIONS_PER_SWEEP);
    if (((now - this.neighboursAt) | 0) < 0) return;
    this.neighboursAt = (now + NEIGHBOUR_INTERVAL_MS) | 0;
    router.counters.values[Counter.reassembliesExpired] += router.fragments.expire(now);
    const before = neighbours.generation;
    neighbours.tick(now, this.events);
    if (neighbours.generation !== before) router.raiseGeneration();
    if (router.routes.hasSharedHops && ((now - this.hopsAt) | 0) >= 0) {
      this.hopsAt = (now + SHARED_HOPS_INTERVAL_MS) | 0;
      this.watchSharedHops();
    }
    sendOwnFrames(router);
  }
}
