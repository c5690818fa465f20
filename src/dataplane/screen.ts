/**
 * Screen: what a router refuses before it asks for a flow (RFC 1812 5.3.4, 5.3.7), and the hash of the tuple. A
 * fragment is copied into its datagram; the datagram goes on when it is whole.
 */
import { FragmentResult } from "../conntrack/fragments.ts";
import { isGroupMac } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import { isMartianDestination, isMartianSource, isMulticast } from "../packet/ipv4.ts";
import { Stop } from "../packet/stop_reasons.ts";
import type { Router } from "./router.ts";

export function screen(router: Router, frame: Frame): number {
  if (isMartianSource(frame.source)) return Stop.MARTIAN_SOURCE;
  if (isMulticast(frame.destination)) return Stop.MULTICAST;
  if (isGroupMac(frame.destinationMacHigh)) return Stop.L2_BROADCAST;
  if (isMartianDestination(frame.destination)) return Stop.MARTIAN_DESTINATION;
  if (frame.fragment !== 0) return collect(router, frame);
  frame.hash = router.flows.hash(frame.source, frame.destination, frame.ports, frame.protocol);
  return Stop.CONTINUE;
}

function collect(router: Router, frame: Frame): number {
  const result = router.fragments.add(frame, router.now);
  if (result >= 0) router.reassembled.push(result);
  return result === FragmentResult.REFUSED || result === FragmentResult.DUPLICATE ? Stop.FRAGMENT : Stop.FRAGMENT_HELD;
}
