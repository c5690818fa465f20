/** Neighbour: the next hop's hardware address, and the port behind which it is; or the frame waits. */
import { FLOW_SHIFT, FlowFlag, FlowWord } from "../conntrack/flow_layout.ts";
import type { Frame } from "../packet/frame.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { sendArpRequest } from "./arp.ts";
import type { Interface } from "./interfaces.ts";
import type { Router } from "./router.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { CONTINUE: STOP_CONTINUE, NEIGHBOUR_QUEUE_FULL, PARKED, PORT_ISOLATED, PORT_UNUSABLE } = Stop;
const { STATUS } = FlowWord;
const { DESTINATION_NAT } = FlowFlag;

/** Egress port that stands for every port of the egress network but the ingress port. */
export const FLOOD = -2;

/** CONTINUE when the next hop's hardware address is known; else the frame is parked, and the neighbour asked. */
export function resolveNextHop(router: Router, frame: Frame): number {
  const { neighbours } = router;
  const neighbour = frame.neighbour;
  neighbours.used[neighbour] = 1;
  if (neighbours.isUsable(neighbour)) return STOP_CONTINUE;
  // Ask even where no frame may wait any more: the next one will find the answer.
  if (neighbours.startResolution(neighbour, router.now)) {
    sendArpRequest(router, neighbour);
    if (neighbours.isUsable(neighbour)) return STOP_CONTINUE;
  }
  return neighbours.park(neighbour, frame) ? PARKED : NEIGHBOUR_QUEUE_FULL;
}

/** Sets `egressPort`: an uplink's only port, or the port where the bridge has seen the next hop. */
export function chooseEgress(router: Router, frame: Frame): number {
  const egress = router.interfaces[frame.egressInterface] as Interface;
  if (!egress.isNetwork) {
    if (egress.ports.length === 0) return PORT_UNUSABLE;
    frame.egressPort = egress.ports[0];
    return STOP_CONTINUE;
  }
  const { neighbours, macs } = router;
  const neighbour = frame.neighbour;
  if (neighbours.portGeneration[neighbour] !== macs.generation) {
    const { macHigh, macLow } = neighbours;
    neighbours.port[neighbour] = macs.find(egress.index, macHigh[neighbour], macLow[neighbour], router.now);
    neighbours.portGeneration[neighbour] = macs.generation;
  }
  const port = neighbours.port[neighbour];
  if (egress.hasIsolatedPorts && isHairpinBetweenIsolated(router, frame, port)) return PORT_ISOLATED;
  frame.egressPort = port < 0 ? FLOOD : port;
  return STOP_CONTINUE;
}

/**
 * Isolated ports do not reach each other through the router either, but for published ports, which are there for
 * everybody. A port that is not known might be isolated.
 */
function isHairpinBetweenIsolated(router: Router, frame: Frame, port: number): boolean {
  if (frame.own !== 0 || frame.ingressInterface !== frame.egressInterface) return false;
  const { isolated } = router.ports;
  if (isolated[frame.ingressPort] === 0 || (port >= 0 && isolated[port] === 0)) return false;
  if (frame.reference < 0) return true;
  const status = router.flows.words[((frame.reference >> 1) << FLOW_SHIFT) + STATUS];
  return (status & DESTINATION_NAT) === 0;
}
