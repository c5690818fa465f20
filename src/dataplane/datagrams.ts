/**
 * Datagrams for the services of the router's own: its DHCP server (RFC 2131) and its DNS forwarder. The dataplane reads
 * none of them. It hands them to the control process, which answers by a request (`own_datagrams.ts`).
 *
 *   dhcp    broadcast on a network with a DHCP server, or sent to its gateway's port 67
 *   dns     sent to the gateway's port 53 of a network with a DNS forwarder
 *   answer  of a server that the router has asked: it belongs to a flow that the router has opened
 *
 * Theory of operation. What one port may hand over in a second is bounded, and so is what all may, by token buckets; and
 * nothing waits in this process: where the channel has no room the datagram is lost. All of that is counted. So a flood
 * costs the dataplane little, and the control process no more than the bound. Off the fast path: packets that go through
 * the router never come here.
 */
import { FLOW_SHIFT, FlowWord } from "../conntrack/flow_layout.ts";
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from "../packet/dhcp.ts";
import { EtherType } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import { LIMITED_BROADCAST, Protocol } from "../packet/ipv4.ts";
import { formatMac } from "../packet/mac_address.ts";
import { isL4ChecksumValid, parseIpv4 } from "../packet/parse.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { lengthBytes, UDP_HEADER_BYTES } from "../packet/udp.ts";
import { Counter } from "./counters.ts";
import type { Interface } from "./interfaces.ts";
import type { ReceivedDatagram } from "./messages.ts";
import type { Router } from "./router.ts";
import { fillBucket, MILLI } from "./token_bucket.ts";

export const DNS_PORT = 53;
const TO_DHCP_SERVER = (DHCP_CLIENT_PORT << 16) | DHCP_SERVER_PORT;
/** Longer ones are of no use to either service. */
const LONGEST_PAYLOAD_BYTES = 4096;

/** Datagrams in a second, and at once: of a network's port, of an uplink's, of all together. */
const RATES = { port: 200, uplink: 2_000, all: 4_000 };
const BURSTS = { port: 100, uplink: 500, all: 1_000 };

const WHO = {
  dhcp: "the network's DHCP server",
  dns: "the network's DNS forwarder",
  answer: "the DNS forwarder that has asked for it",
} as const;

/** Buckets of all ports, and one more that all share. */
export class DatagramGate {
  /** Takes a datagram, or refuses it for want of room; absent while nobody listens. */
  onDatagram: ((datagram: ReceivedDatagram) => boolean) | undefined = undefined;
  readonly credit: Float64Array;
  readonly filledAt: Int32Array;
  private readonly shared: number;

  constructor(portLimit: number, now: number) {
    this.shared = portLimit;
    this.credit = new Float64Array(portLimit + 1).fill(Infinity);
    this.filledAt = new Int32Array(portLimit + 1).fill(now);
  }

  /** Whether a port may hand over one more; takes it from both buckets if so. */
  takes(port: number, isUplink: boolean, now: number): boolean {
    const kind = isUplink ? "uplink" : "port";
    const own = fillBucket(this, port, RATES[kind], BURSTS[kind] * MILLI, now);
    const shared = fillBucket(this, this.shared, RATES.all, BURSTS.all * MILLI, now);
    if (own < MILLI || shared < MILLI) return false;
    this.credit[port] -= MILLI;
    this.credit[this.shared] -= MILLI;
    return true;
  }
}

/**
 * What the screen stops for its source or for its being a broadcast: `otherwise`, unless it is a message for the DHCP
 * server of the network that it came from.
 */
export function hearBroadcast(router: Router, frame: Frame, otherwise: number): number {
  const ingress = router.interfaces[frame.ingressInterface];
  if (ingress === undefined || !ingress.servesDhcp || frame.protocol !== Protocol.UDP || frame.ports !== TO_DHCP_SERVER)
    return otherwise;
  if (frame.destination !== LIMITED_BROADCAST || frame.fragment !== 0) return otherwise;
  if (!isL4ChecksumValid(router.memory, frame)) return Stop.L4_CHECKSUM;
  return hand(router, frame, "dhcp", ingress);
}

/** The same for a broadcast that the bridge chain is about to judge, which has not been parsed yet. */
export function hearBridged(router: Router, frame: Frame): void {
  if (frame.etherType !== EtherType.IPV4 || parseIpv4(router.memory, frame) !== Stop.CONTINUE) return;
  hearBroadcast(router, frame, Stop.CONTINUE);
}

/** A UDP packet that INPUT lets in to the router itself: what became of it, or CONTINUE where no service wants it. */
export function hearLocal(router: Router, frame: Frame): number {
  const ingress = router.interfaces[frame.ingressInterface];
  if (frame.reference < 0 || ingress === undefined) return Stop.CONTINUE;
  // The router has sent the first packet of the flow.
  if ((frame.reference & 1) !== 0) return hand(router, frame, "answer", ingress);
  const { words } = router.flows;
  const base = (frame.reference >> 1) << FLOW_SHIFT;
  // Where a rule has redirected it to the router, the reply tuple has its port there.
  if (!ingress.isNetwork || words[base + FlowWord.REPLY_SOURCE] !== ingress.address) return Stop.CONTINUE;
  const port = words[base + FlowWord.REPLY_PORTS] >>> 16;
  if (port === DNS_PORT && ingress.servesDns) return hand(router, frame, "dns", ingress);
  if (port === DHCP_SERVER_PORT && ingress.servesDhcp) return hand(router, frame, "dhcp", ingress);
  return Stop.CONTINUE;
}

function hand(router: Router, frame: Frame, service: ReceivedDatagram["service"], ingress: Interface): number {
  if (router.recorder !== undefined) router.recorder.handed(WHO[service]);
  // A rehearsal tells nobody.
  if (router.stage !== undefined) return Stop.LOCAL;
  const { datagrams } = router;
  const at = frame.l4 + UDP_HEADER_BYTES;
  const end = Math.min(frame.end, frame.l4 + lengthBytes(router.memory, frame.l4));
  const isTaken =
    datagrams.onDatagram !== undefined &&
    frame.gsoSize === 0 &&
    end >= at &&
    end - at <= LONGEST_PAYLOAD_BYTES &&
    datagrams.takes(frame.ingressPort, !ingress.isNetwork, router.now) &&
    datagrams.onDatagram({
      service,
      interface: frame.ingressInterface,
      port: frame.ingressPort,
      mac: formatMac(frame.sourceMacHigh, frame.sourceMacLow),
      source: frame.source,
      destination: frame.destination,
      sourcePort: frame.ports >>> 16,
      destinationPort: frame.ports & 0xffff,
      payload: Buffer.from(router.arena.bytes.subarray(at, end)).toString("base64"),
    });
  router.count(isTaken ? Counter.datagramsHanded : Counter.datagramsRefused);
  return isTaken ? Stop.LOCAL : Stop.SERVICE_LIMIT;
}
