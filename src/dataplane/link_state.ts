/**
 * Link state: what changes when an interface's device goes down or comes up again. Its routes leave, so that others to
 * the same places take over, by their metrics, or packets are told that there is no route; its neighbours are forgotten.
 * Its addresses stay the router's own, and its flows stay, for as long as their timeouts let them: they go on when the
 * device is back, unless they have found another way out meanwhile, which ends their source NAT binding. (Linux ends
 * masqueraded flows when their device is taken down, but not when only its carrier is lost.)
 */
import { NeighbourState } from "../routing/neighbours.ts";
import type { Router } from "./router.ts";
import { dropParked, noteLink } from "./routing.ts";

/** Takes down, or up, the interface of an index. Nothing happens where it is so already. */
export function setLinkState(router: Router, interfaceIndex: number, isUp: boolean): void {
  const { linkDown, interfaces } = router;
  const isDown = isUp ? 0 : 1;
  if (interfaces[interfaceIndex] === undefined || linkDown[interfaceIndex] === isDown) return;
  linkDown[interfaceIndex] = isDown;
  if (!isUp) forgetNeighbours(router, interfaceIndex);
  noteLink(router, interfaceIndex);
  router.raiseGeneration();
}

/** Those that are not permanent; what waits for them is lost. */
function forgetNeighbours(router: Router, interfaceIndex: number): void {
  const { neighbours } = router;
  for (const neighbour of neighbours.indexes()) {
    if (neighbours.interfaceOf[neighbour] !== interfaceIndex) continue;
    if (neighbours.state[neighbour] === NeighbourState.PERMANENT) continue;
    dropParked(router, neighbour);
    neighbours.remove(neighbour);
  }
}
