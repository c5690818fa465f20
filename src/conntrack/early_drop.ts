/**
 * Early drop: which flow gives way where another one is to be opened (Linux's early_drop in nf_conntrack_core.c).
 *
 * One that is over goes first. Of live ones, only those that are not assured give way; where several could, one of the
 * port that holds most, so that a flood ends its own flows and not those of others; then the one that was used least
 * lately. The search is bounded: it sees the entries next to where the new flow's hash would go.
 */
import { FLOW_SHIFT, FlowFlag, FlowWord } from "./flow_layout.ts";
import type { FlowId, FlowTable } from "./flow_table.ts";

/** Places of the index in which is looked: as many entries, about, as in Linux's eight chains. */
const PLACES = 32;

/**
 * Ends one flow to make room for one that `port` opens; false when there is none near `hash` that may be ended. Live ones
 * only where `mayEndLive`, and none of a port that holds fewer flows than `port`.
 */
export function evict(table: FlowTable, hash: number, now: number, mayEndLive: boolean, port: number): boolean {
  const { shares } = table;
  let victim = -1;
  let most = shares.heldBy(port);
  let least = Number.MAX_SAFE_INTEGER;
  for (let i = 0; i < PLACES; i++) {
    const flow = candidate(table, (hash + i) & table.index.mask, now, mayEndLive);
    if (flow < 0) continue;
    const left = remaining(table, flow, now);
    const held = left <= 0 ? Number.MAX_SAFE_INTEGER : shares.heldBy(table.portOf(flow));
    if (held < most || (held === most && left >= least)) continue;
    victim = flow;
    most = held;
    least = left;
  }
  if (victim >= 0) table.remove(victim as FlowId);
  return victim >= 0;
}

/** Whether a flow may be ended early: it is live, and not assured. */
export function isUnassured(table: FlowTable, flow: number): boolean {
  return (table.words[(flow << FLOW_SHIFT) + FlowWord.STATUS] & FlowFlag.ASSURED) === 0;
}

/** The flow at a place of the index that may be ended, or -1. */
function candidate(table: FlowTable, place: number, now: number, mayEndLive: boolean): number {
  const stored = table.index.slots[place * 2 + 1];
  if (stored === 0) return -1;
  const flow = (stored - 1) >> 1;
  return remaining(table, flow, now) <= 0 || (mayEndLive && isUnassured(table, flow)) ? flow : -1;
}

/** Milliseconds until a flow ends. */
function remaining(table: FlowTable, flow: number, now: number): number {
  return (table.words[(flow << FLOW_SHIFT) + FlowWord.DEADLINE] - now) | 0;
}
