/** Limits: time to live (RFC 1812 5.3.1) and the egress MTU (5.2.6, RFC 1191). */
import { dataOffset } from "../packet/tcp.ts";
import { UDP_HEADER_BYTES } from "../packet/udp.ts";
import type { Frame } from "../packet/frame.ts";
import { Protocol, timeToLive } from "../packet/ipv4.ts";
import { Stop } from "../packet/stop_reasons.ts";
import type { Interface } from "./interfaces.ts";
import type { Router } from "./router.ts";

export function limits(router: Router, frame: Frame): number {
  if (timeToLive(router.memory, frame.ip) <= 1) return Stop.TTL_EXCEEDED;
  const mtu = (router.interfaces[frame.egressInterface] as Interface).mtu;
  if (frame.end - frame.ip <= mtu) return Stop.CONTINUE;
  if (frame.gsoSize !== 0 && segmentBytes(router.memory, frame) <= mtu) return Stop.CONTINUE;
  frame.nextHopMtu = mtu;
  return Stop.MTU_EXCEEDED;
}

/** Length of the largest IPv4 packet that a super-frame will be cut into. */
function segmentBytes(memory: DataView, frame: Frame): number {
  const l4Header = frame.protocol === Protocol.TCP ? dataOffset(memory, frame.l4) : UDP_HEADER_BYTES;
  return frame.l4 - frame.ip + l4Header + frame.gsoSize;
}
