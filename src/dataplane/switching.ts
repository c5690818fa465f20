/**
 * Learn and switch: the bridge of a network (IEEE 802.1D 7.7, 7.8), and the door of an uplink.
 *
 * On a network, a frame for a known station goes to its port, one for an unknown station or a group goes to every
 * other port, and one for the gateway's own address goes up to the router. Broadcasts go both ways. An uplink has one
 * port and nobody to switch to: what is not for the router ends here.
 *
 * Ports with a guard take only their container's frames, and nobody's claims to the gateway's address are passed on.
 * Isolated ports of a network reach the others alone. Where the network is filtered, what is switched meets the bridge
 * chain. A network without any of these pays a flag for each.
 */
import { LearnResult } from "../bridge/mac_table.ts";
import { EtherType, isGroupMac, isReservedMulticast } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { filterSwitched } from "./bridge_filter.ts";
import { Counter } from "./counters.ts";
import { hearBridged } from "./datagrams.ts";
import { claimsGateway, guard } from "./guard.ts";
import type { Interface } from "./interfaces.ts";
import { FLOOD } from "./next_hop.ts";
import type { Router } from "./router.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const {
  ARP_SPOOFED,
  CONTINUE,
  FLOODED,
  NOT_FOR_ROUTER,
  PORT_ISOLATED,
  RESERVED_MULTICAST,
  SAME_PORT,
  SOURCE_MAC_INVALID,
  SWITCHED,
} = Stop;
const { FULL, MOVED, NEW } = LearnResult;

export function learn(router: Router, frame: Frame): number {
  const ingress = router.interfaces[frame.ingressInterface] as Interface;
  const high = frame.sourceMacHigh;
  const low = frame.sourceMacLow;
  if (isGroupMac(high) || (high === 0 && low === 0)) return SOURCE_MAC_INVALID;
  if (high === ingress.macHigh && low === ingress.macLow) return SOURCE_MAC_INVALID;
  if (!ingress.isNetwork) return CONTINUE;
  if (ingress.isGuarded) {
    const stop = guard(router, frame);
    if (stop !== CONTINUE) return stop;
  }
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
    return ingress.isNetwork ? switchGroup(router, frame, ingress) : CONTINUE;
  }
  if (!ingress.isNetwork) return NOT_FOR_ROUTER;
  if (claimsGateway(router, frame, ingress)) return ARP_SPOOFED;
  const port = router.macs.find(ingress.index, high, low, router.now);
  if (port === frame.ingressPort) return SAME_PORT;
  if (ingress.hasIsolatedPorts && port >= 0 && router.ports.areIsolated(frame.ingressPort, port)) return PORT_ISOLATED;
  frame.egressInterface = ingress.index;
  frame.egressPort = port < 0 ? FLOOD : port;
  const outcome = port < 0 ? FLOODED : SWITCHED;
  return ingress.isFiltered ? filterSwitched(router, frame, outcome) : outcome;
}

/** Whether a received frame is for somebody else in its network: then it is switched, and not the router's own. */
export function isForStation(router: Router, frame: Frame): boolean {
  const ingress = router.interfaces[frame.ingressInterface];
  if (ingress === undefined || !ingress.isNetwork) return false;
  return frame.destinationMacHigh !== ingress.macHigh || frame.destinationMacLow !== ingress.macLow;
}

/** Broadcasts and multicasts of a network go to its other ports, and up to the router. */
function switchGroup(router: Router, frame: Frame, ingress: Interface): number {
  if (claimsGateway(router, frame, ingress)) return ARP_SPOOFED;
  if (!ingress.isFiltered || frame.etherType === EtherType.ARP) {
    frame.flood = 1;
    return CONTINUE;
  }
  // The router itself has no use for any of the others, but for messages to its DHCP server.
  if (ingress.servesDhcp) hearBridged(router, frame);
  frame.egressInterface = ingress.index;
  frame.egressPort = FLOOD;
  return filterSwitched(router, frame, FLOODED);
}
