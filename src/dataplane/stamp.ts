/** Stamp: hardware addresses of the next hop, and one hop off the time to live of what passes through. */
import { setMacs } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import { decrementTtl } from "../packet/ipv4.ts";
import type { Interface } from "./interfaces.ts";
import type { Router } from "./router.ts";

export function stamp(router: Router, frame: Frame): void {
  const { neighbours, memory } = router;
  const egress = router.interfaces[frame.egressInterface] as Interface;
  const neighbour = frame.neighbour;
  setMacs(memory, frame.at, neighbours.macHigh[neighbour], neighbours.macLow[neighbour], egress.macHigh, egress.macLow);
  // Padding of the ingress link stays there.
  router.arena.slotLength[frame.slot] = frame.end - frame.at;
  if (frame.own === 0) decrementTtl(memory, frame.ip);
}
