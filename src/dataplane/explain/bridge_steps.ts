/** The first steps of a walk: the guard of the port, what the bridge learns, and whom the frame is for. */
import { isGroupMac } from "../../packet/ethernet.ts";
import type { Frame } from "../../packet/frame.ts";
import { formatAddress } from "../../packet/ipv4_address.ts";
import { formatMac } from "../../packet/mac_address.ts";
import { Stop } from "../../packet/stop_reasons.ts";
import type { Interface } from "../interfaces.ts";
import { FLOOD } from "../next_hop.ts";
import type { Router } from "../router.ts";
import type { Step } from "./steps.ts";
import { describeMac, listOf, portName } from "./texts.ts";

/** Where the MAC table had the sender of a frame before it came; -1: nowhere. */
export interface SourceStation {
  port: number;
}

const GUARD_STOPS: readonly number[] = [Stop.MAC_SPOOFED, Stop.ADDRESS_SPOOFED, Stop.ARP_MALFORMED, Stop.ARP_SPOOFED];

/** Steps of a frame that `arrive` has ended with `stop`. */
export function bridgeSteps(router: Router, frame: Frame, stop: number, station: SourceStation | undefined): Step[] {
  const ingress = router.interfaces[frame.ingressInterface];
  if (ingress === undefined || station === undefined) return [];
  if (stop === Stop.SOURCE_MAC_INVALID) return [];
  if (!ingress.isNetwork) return [{ stage: "bridge", text: forUplink(frame, ingress) }];
  const steps: Step[] = [];
  const guard = router.ports.guards[frame.ingressPort];
  // What the guard refuses, the bridge does not learn.
  const isRefused = guard !== undefined && GUARD_STOPS.includes(stop) && frame.egressPort !== FLOOD;
  if (guard !== undefined) {
    const address = guard.hasAddress ? ` and ${formatAddress(guard.address)}` : "";
    const only = `${formatMac(guard.macHigh, guard.macLow)}${address}`;
    steps.push({ stage: "guard", text: `${portName(router, frame.ingressPort)} takes frames from ${only} alone` });
    if (isRefused) return steps;
  }
  steps.push({
    stage: "bridge",
    text: `${learned(router, frame, station)}; ${addressed(router, frame, ingress, stop)}`,
  });
  return steps;
}

function forUplink(frame: Frame, ingress: Interface): string {
  if (isGroupMac(frame.destinationMacHigh))
    return `to ${describeMac(frame.destinationMacHigh, frame.destinationMacLow)}`;
  const isOwn = frame.destinationMacHigh === ingress.macHigh && frame.destinationMacLow === ingress.macLow;
  return isOwn ? `to the router's own hardware address on ${ingress.name}` : "to another station on the uplink";
}

function learned(router: Router, frame: Frame, station: SourceStation): string {
  const mac = formatMac(frame.sourceMacHigh, frame.sourceMacLow);
  const port = portName(router, frame.ingressPort);
  if (station.port === frame.ingressPort) return `${mac} is behind ${port}, as known`;
  if (station.port >= 0) return `${mac} moves from ${portName(router, station.port)} to ${port}`;
  return `${mac} is new behind ${port}`;
}

function addressed(router: Router, frame: Frame, ingress: Interface, stop: number): string {
  const { destinationMacHigh: high, destinationMacLow: low } = frame;
  if (high === ingress.macHigh && low === ingress.macLow) return "for the gateway's hardware address: up to the router";
  const mac = describeMac(high, low);
  if (isGroupMac(high)) {
    if (stop === Stop.RESERVED_MULTICAST) return `${mac} is never forwarded`;
    return `${mac}: to every other port of ${ingress.name}, and up to the router`;
  }
  const port = router.macs.find(ingress.index, high, low, router.now);
  if (port === frame.ingressPort) return `${mac} is behind ${portName(router, port)} too`;
  if (port >= 0) return `${mac} is behind ${portName(router, port)}`;
  return `nobody has been heard of as ${mac}: to every other port of ${ingress.name}`;
}

/** Names of the ports that a frame leaves by: its egress port, or all that it is flooded to. */
export function egressPorts(router: Router, frame: Frame, isSwitched: boolean): string[] {
  if (frame.egressPort !== FLOOD) return [portName(router, frame.egressPort)];
  const ports = router.interfaces[frame.egressInterface]?.ports ?? new Int32Array(0);
  const except = isSwitched ? frame.ingressPort : -1;
  const isReached = (port: number): boolean =>
    port !== except && !(except >= 0 && router.ports.areIsolated(except, port));
  return [...ports].filter(isReached).map((port) => portName(router, port));
}

export function describePorts(router: Router, frame: Frame, names: readonly string[]): string {
  const egress = router.interfaces[frame.egressInterface];
  const of = egress?.isNetwork === true ? ` of ${egress.name}` : "";
  return `${listOf(names)}${of}`;
}
