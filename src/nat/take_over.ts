/**
 * Taking over a port: where no port is free towards a destination, one container may have taken them all. A flow whose
 * ingress port holds few may then have the port of a flow that is not assured and whose ingress port holds many more.
 * Linux has no such thing: there, whoever comes second waits until the first one's flows have ended.
 */
import { isUnassured } from "../conntrack/early_drop.ts";
import { FLOW_SHIFT, FlowWord } from "../conntrack/flow_layout.ts";
import type { FlowId, FlowTable } from "../conntrack/flow_table.ts";
import { invertPorts, withSourceIdent } from "../conntrack/tuple.ts";

/** Ports that are looked at. */
const MOST_TRIES = 64;
/** How many times as many flows the other one's port must hold, */
const MANY_TIMES = 2;
/** and at least more than these: who holds few has not taken them all, and few ports run out as they do in Linux. */
const MANY = 64;

/**
 * Ends a flow that has one of the `size` ports (or identifiers) from `low` on, so that the flow at `base`, which is not
 * inserted yet, may have it; looks from a place on that `random` tells. Returns the port, or -1.
 */
export function takeOverPort(
  table: FlowTable,
  base: number,
  protocol: number,
  ports: number,
  low: number,
  size: number,
  random: number,
): number {
  const { shares } = table;
  const least = Math.max(MANY, shares.heldBy(table.portOf(base >> FLOW_SHIFT)) * MANY_TIMES);
  const tries = Math.min(size, MOST_TRIES);
  for (let i = 0; i < tries; i++) {
    const ident = low + ((random + i) % size);
    const other = flowWith(table, base, protocol, withSourceIdent(ports, ident));
    if (other < 0 || !isUnassured(table, other) || shares.heldBy(table.portOf(other)) <= least) continue;
    table.remove(other as FlowId);
    return ident;
  }
  return -1;
}

/** The flow that has the reply tuple which `ports` (of the original direction, translated) would give; -1: none. */
function flowWith(table: FlowTable, base: number, protocol: number, ports: number): number {
  const { words } = table;
  const source = words[base + FlowWord.REPLY_SOURCE];
  const destination = words[base + FlowWord.REPLY_DESTINATION];
  const inverted = invertPorts(protocol, ports);
  const hash = table.hash(source, destination, inverted, protocol);
  // As of the time when it began: what is over has been ended by the search that found nothing free.
  const reference = table.lookup(hash, source, destination, inverted, protocol, words[base + FlowWord.CREATED]);
  return reference < 0 ? -1 : reference >> 1;
}
