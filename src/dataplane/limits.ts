/** Limits: time to live (RFC 1812 5.3.1) and the egress MTU (5.2.6, RFC 1191). */

import type { Frame } from "../packet/frame.ts";
import { Fragment, fragmentField, Protocol, timeToLive } from "../packet/ipv4.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { dataOffset } from "../packet/tcp.ts";
import { UDP_HEADER_BYTES } from "../packet/udp.ts";
import type { Interface } from "./interfaces.ts";
import type { Router } from "./router.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { CONTINUE, MTU_EXCEEDED, TTL_EXCEEDED } = Stop;
const { TCP } = Protocol;
const { DONT: FRAGMENT_DONT } = Fragment;

export function limits(router: Router, frame: Frame): number {
  if (timeToLive(router.memory, frame.ip) <= 1) return TTL_EXCEEDED;
  frame.fragmentTo = 0;
  const mtu = (router.interfaces[frame.egressInterface] as Interface).mtu;
  const isWhole = frame.largestFragment === 0;
  if (frame.end - frame.ip <= mtu && isWhole) return CONTINUE;
  if (frame.gsoSize !== 0 && segmentBytes(router.memory, frame) <= mtu) return CONTINUE;
  return isWhole ? cut(router, frame, mtu) : cutAgain(router, frame, mtu);
}

/** A packet that came whole is cut where it may be. A super-frame is not ours to cut. */
function cut(router: Router, frame: Frame, mtu: number): number {
  const mayCut = (fragmentField(router.memory, frame.ip) & FRAGMENT_DONT) === 0 && frame.gsoSize === 0;
  if (mayCut) {
    frame.fragmentTo = mtu;
    return CONTINUE;
  }
  frame.nextHopMtu = mtu;
  return MTU_EXCEEDED;
}

/** A datagram that came in fragments leaves in fragments no larger; with DF set they must have fitted as they came. */
function cutAgain(router: Router, frame: Frame, mtu: number): number {
  const largest = frame.largestFragment;
  if (largest > mtu && (fragmentField(router.memory, frame.ip) & FRAGMENT_DONT) !== 0) {
    frame.nextHopMtu = mtu;
    return MTU_EXCEEDED;
  }
  const limit = Math.min(largest, mtu);
  if (frame.end - frame.ip > limit) frame.fragmentTo = limit;
  return CONTINUE;
}

/** Length of the largest IPv4 packet that a super-frame will be cut into. */
function segmentBytes(memory: DataView, frame: Frame): number {
  const l4Header = frame.protocol === TCP ? dataOffset(memory, frame.l4) : UDP_HEADER_BYTES;
  return frame.l4 - frame.ip + l4Header + frame.gsoSize;
}
