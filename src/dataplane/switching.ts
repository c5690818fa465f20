/**
 * Learn and switch: the bridge of a network (IEEE 802.1D 7.7, 7.8), and the door of an uplink.
 *
 * On a network, a frame for a known station goes to its port, one for an unknown station or a group goes to every
 * other port, and one for the gateway's own address goes up to the router. Broadcasts go both ways. An uplink has one
 * port and nobody to switch to: what is not for the router ends here.
 */
import { LearnResult } from "../bridge/mac_table.ts";
import { isGroupMac, isReservedMulticast } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { Counter } from "./counters.ts";
import type { Interface } from "./interfaces.ts";
import { FLOOD } from "./next_hop.ts";
import type { Router } from "./router.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { CONTINUE, FLOODED, NOT_FOR_ROUTER, RESERVED_MULTICAST, SAME_PORT, SOURCE_MAC_INVALID, SWITCHED } = Stop;
const { FULL, MOVED, NEW } = LearnResult;

export function learn(router: Router, frame: Frame): number {
  const ingress = router.interfaces[frame.ingressInterface] as Interface;
  const high = frame.sourceMacHigh;
  const low = frame.sourceMacLow;
  if (isGroupMac(high) || (high === 0 && low === 0)) return SOURCE_MAC_INVALID;
  if (high === ingress.macHigh && low === ingress.macLow) return SOURCE_MAC_INVALID;
  if (!ingress.isNetwork) return CONTINUE;
  const result = router.macs.learn(ingress.index, high, low, frame.ingressPort, router.now);
  if (result > NEW) noteUnusual(router, result);
  return CONTINUE;
}

function noteUnusual(router: Router, result: number): void {
  if (result === MOVED) router.count(Counter.stationsMoved);
  else if (result === FULL) router.count(Counter.stationsOverflowed);
}

export function switchFrame(router: Router, frame: Frame): number {
  const ingress = router.interfaces[frame.ingressInterface] as Interface;
  const high = frame.destinationMacHigh;
  const low = frame.destinationMacLow;
  if (high === ingress.macHigh && low === ingress.macLow) return CONTINUE;
  if (isGroupMac(high)) {
    if (isReservedMulticast(high, low)) return RESERVED_MULTICAST;
    frame.flood = ingress.isNetwork ? 1 : 0;
    return CONTINUE;
  }
  if (!ingress.isNetwork) return NOT_FOR_ROUTER;
  const port = router.macs.find(ingress.index, high, low, router.now);
  if (port === frame.ingressPort) return SAME_PORT;
  frame.egressInterface = ingress.index;
  frame.egressPort = port < 0 ? FLOOD : port;
  return port < 0 ? FLOODED : SWITCHED;
}
