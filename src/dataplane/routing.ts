/** Changes of routes, neighbours and links between two bursts: each reaches exactly the flows that it concerns. */
import { parseMac } from "../packet/mac_address.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { DEFAULT_POLICY, type PolicyRule } from "../routing/policy.ts";
import type { NatTable } from "./nat_table.ts";
import type { NeighbourPlan, RouteChange, RouterPlan } from "./plan.ts";
import type { Router } from "./router.ts";

/** What a plan says of routing. The router has taken its interfaces already. */
export function takeRouting(router: Router, plan: RouterPlan, nat: NatTable): void {
  const { interfaces, neighbours, routes } = router;
  if (plan.routes !== undefined) routes.replaceAll(plan.routes);
  routes.takeAddresses(interfaces, nat.pools);
  routes.takePolicy(plan.policy ?? DEFAULT_POLICY);
  neighbours.forgetPermanent();
  for (const neighbour of plan.neighbours ?? []) setNeighbour(router, neighbour);
  for (let index = 0; index < routes.links.up.length; index++) noteLink(router, index);
}

/** Gives prefixes other routes; flows that go elsewhere do not notice. All or nothing. */
export function changeRoutes(router: Router, change: RouteChange): void {
  router.routes.change(change);
  router.generation = (router.generation + 1) | 0;
  const { prefixes } = change;
  for (let at = 0; at < prefixes.length; at += 3) {
    router.epochs.change(prefixes[at], prefixes[at + 1], router.generation);
  }
}

export function setPolicy(router: Router, rules: readonly PolicyRule[]): void {
  router.routes.takePolicy(rules);
  router.raiseGeneration();
}

/** Says where a neighbour is, for good; frames that wait for it go on soon. @throws RangeError when there is no room. */
export function setNeighbour(router: Router, { interface: index, address, mac }: NeighbourPlan): void {
  const { high, low } = parseMac(mac);
  const neighbour = router.neighbours.obtain(index, address, router.now);
  if (neighbour < 0) throw new RangeError("no room for another neighbour");
  router.neighbours.makePermanent(neighbour, high, low);
  router.raiseGeneration();
}

/** Forgets a neighbour, permanent or not; false when there is none. */
export function removeNeighbour(router: Router, index: number, address: number): boolean {
  const neighbour = router.neighbours.find(index, address);
  if (neighbour < 0) return false;
  dropParked(router, neighbour);
  router.neighbours.remove(neighbour);
  router.raiseGeneration();
  return true;
}

/** Works out whether an interface's routes can be used: an uplink needs a device. */
export function noteLink(router: Router, index: number): void {
  const each = router.interfaces[index];
  const isUp = each !== undefined && router.linkDown[index] === 0 && (each.isNetwork || each.ports.length > 0);
  const { up } = router.routes.links;
  if (up[index] === Number(isUp)) return;
  up[index] = Number(isUp);
  router.raiseGeneration();
}

/** Drops the frames that wait for a neighbour. */
export function dropParked(router: Router, neighbour: number): void {
  const { arena, captures, counters, neighbours } = router;
  for (let slot = neighbours.takeParked(neighbour); slot >= 0; slot = neighbours.takeParked(neighbour)) {
    captures?.end(router, router.frames[slot], Stop.NEIGHBOUR_UNREACHABLE);
    counters.stops[Stop.NEIGHBOUR_UNREACHABLE]++;
    arena.release(slot);
  }
}
