/**
 * Screen: what a router refuses before it asks for a flow (RFC 1812 5.3.4, 5.3.7), and the hash of the tuple. A
 * fragment is copied into its datagram; the datagram goes on when it is whole. Of what is refused here, the DHCP server
 * of a network hears the messages that hosts without an address broadcast.
 */
import { FragmentResult } from "../conntrack/fragments.ts";
import { isGroupMac } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import { isMartianDestination, isMartianSource, isMulticast } from "../packet/ipv4.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { Counter } from "./counters.ts";
import { hearBroadcast } from "./datagrams.ts";
import type { Router } from "./router.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { CONTINUE, FRAGMENT, FRAGMENT_HELD, L2_BROADCAST, MARTIAN_DESTINATION, MARTIAN_SOURCE, MULTICAST } = Stop;
const { DUPLICATE, REFUSED } = FragmentResult;

export function screen(router: Router, frame: Frame): number {
  if (isMartianSource(frame.source)) return hearBroadcast(router, frame, MARTIAN_SOURCE);
  if (isMulticast(frame.destination)) return MULTICAST;
  if (isGroupMac(frame.destinationMacHigh)) return hearBroadcast(router, frame, L2_BROADCAST);
  if (isMartianDestination(frame.destination)) return MARTIAN_DESTINATION;
  if (frame.fragment !== 0) return collect(router, frame);
  frame.hash = router.flows.hash(frame.source, frame.destination, frame.ports, frame.protocol);
  return CONTINUE;
}

/** Puts a fragment into its datagram. */
export function collect(router: Router, frame: Frame): number {
  const { fragments } = router;
  const displaced = fragments.displaced;
  const result = fragments.add(frame, router.now);
  if (fragments.displaced !== displaced) router.count(Counter.reassembliesDisplaced);
  if (result >= 0) router.reassembled.push(result);
  if (router.recorder !== undefined) router.recorder.collected(frame, result);
  return result === REFUSED || result === DUPLICATE ? FRAGMENT : FRAGMENT_HELD;
}
