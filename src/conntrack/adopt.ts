/**
 * Adopting a flow table: another process filled the memory, and has ended, perhaps between two stores.
 *
 * Theory of operation. An entry counts from its CONFIRMED on, which is written when all else is, and ends with its STATUS
 * set to 0, before anything else of it is written. A process stores in the order of its program, and what it has stored
 * is there when it has ended: so a kill leaves each entry whole, or not confirmed. Words that a packet changes (deadline,
 * state, TCP's window) are right one by one; only the halves of a counter belong together, and those stand in the header
 * while they are written (`CARRY_AT`). What a fault of another kind has written is found by `isWhole` and dropped.
 *
 * All that is derived is made anew (but which port opened a flow, which nobody knows any more): the index, the list of free entries, `due`, the count, and with `claim` whatever else
 * the caller keeps by flows. Nothing of the old header is touched before all that is done, and a dropped entry is dropped
 * for good: a process that ends in the middle of adopting leaves memory that can be adopted again.
 */

import { isWhole } from "./flow_check.ts";
import {
  ANY_ADMITTED,
  FLOW_LAYOUT_VERSION,
  FLOW_SHIFT,
  FlowFlag,
  FlowWord,
  HeaderWord,
  TUPLE_WORDS,
} from "./flow_layout.ts";
import { type FlowId, FlowTable } from "./flow_table.ts";

const { CAPACITY, CARRY_AT, CARRY_BYTES, CARRY_HIGH, CARRY_PACKETS, COUNT, FREE, HIGH_WATER, SEED } = HeaderWord;

/** What of STATUS belongs to a tuple. */
const PROTOCOL_AND_KIND = 0xff | FlowFlag.BRIDGED;
/** What others note of a flow, and note again. */
const DERIVED = ANY_ADMITTED | FlowFlag.SOURCE_INDEXED | FlowFlag.HOST_COUNTED;
/** No path, and a neighbour that is none: the table of them never holds so many. */
const NO_ROUTE = 0xffff;
/** A free entry comes up in the sweep a week later. */
const FREE_MS = 0x24000000;

export interface Adoption {
  /** Flows that go on. */
  kept: number;
  /** Entries that were no whole flow. */
  torn: number;
  /** Why nothing was adopted. */
  refused?: string;
}

/** Takes what the caller keeps by a flow; false where it cannot be. `status` is as it was left, derived flags included. */
export type Claim = (flow: FlowId, status: number) => boolean;

/**
 * A table over memory that another process has filled: empty until its entries are adopted. The hash keeps its seed, so
 * that what was chosen by it is chosen again; `seed` is for memory that is not adopted.
 */
export function tableToAdopt(memory: ArrayBuffer, capacity: number, seed: number): FlowTable {
  const former = new Int32Array(memory, 0, HeaderWord.WORDS);
  const isForeign = foreignness(former, capacity) !== undefined;
  return new FlowTable(memory, capacity, isForeign ? seed : former[SEED], new Int32Array(HeaderWord.WORDS));
}

/** Why memory with this header holds no table that can be adopted; undefined when it does. */
function foreignness(header: Int32Array, capacity: number): string | undefined {
  const version = header[HeaderWord.LAYOUT_VERSION];
  if (version !== FLOW_LAYOUT_VERSION) return `its layout is version ${version}, not ${FLOW_LAYOUT_VERSION}`;
  if (header[CAPACITY] !== capacity) return `it has room for ${header[CAPACITY]} flows, not ${capacity}`;
  return undefined;
}

/** The header that the other process has left, as long as the entries are not adopted. */
export function formerHeader(table: FlowTable): Int32Array {
  return new Int32Array(table.words.buffer as ArrayBuffer, 0, HeaderWord.WORDS);
}

/** Goes through all entries of a table that `tableToAdopt` has made; afterwards it is one like any other. */
export function adoptEntries(table: FlowTable, now: number, claim: Claim): Adoption {
  const former = formerHeader(table);
  const refused = foreignness(former, table.capacity);
  if (refused !== undefined) return adoptNothing(table, refused);
  const { header, words } = table;
  finishCarry(former, words);
  table.index.clear();
  const adoption = { kept: 0, torn: 0 };
  const end = highWaterOf(former, table.capacity);
  header[FREE] = 0;
  for (let flow = (end - 1) as FlowId; flow >= 0; flow--) {
    const status = words[(flow << FLOW_SHIFT) + FlowWord.STATUS];
    const isUsed = (status & FlowFlag.CONFIRMED) !== 0;
    if (isUsed && adoptEntry(table, flow, now, claim)) {
      adoption.kept++;
      continue;
    }
    if (isUsed) adoption.torn++;
    table.abandon(flow);
    table.due[flow] = (now + FREE_MS) | 0;
  }
  header[HIGH_WATER] = end;
  header[COUNT] = adoption.kept;
  header[HeaderWord.NOW] = now;
  former.set(header);
  table.header = former;
  return adoption;
}

/** Begins with an empty table in the place of the one that was left, and says why. */
export function adoptNothing(table: FlowTable, refused: string): Adoption {
  const former = formerHeader(table);
  // First of all: whoever finds the memory half cleared is to have no use for it either.
  former.fill(0);
  table.words.fill(0);
  table.index.clear();
  table.due.fill(0);
  former.set(table.header);
  table.header = former;
  return { kept: 0, torn: 0, refused };
}

/** All entries, where the header is not to be believed. */
function highWaterOf(header: Int32Array, capacity: number): number {
  const end = header[HIGH_WATER];
  return end >= 0 && end <= capacity ? end : capacity;
}

/** Writes the counter that was about to be written. */
function finishCarry(former: Int32Array, words: Int32Array): void {
  const at = former[CARRY_AT] - 1;
  if (at < 0 || at + 2 >= words.length) return;
  words[at] = former[CARRY_PACKETS];
  words[at + 1] = former[CARRY_BYTES];
  words[at + 2] = former[CARRY_HIGH];
  former[CARRY_AT] = 0;
}

function adoptEntry(table: FlowTable, flow: FlowId, now: number, claim: Claim): boolean {
  const { words, index } = table;
  const base = flow << FLOW_SHIFT;
  const status = words[base + FlowWord.STATUS];
  if (!isWhole(words, base, now) || isHeld(table, base, 0) || isHeld(table, base, 1)) return false;
  words[base + FlowWord.STATUS] = status & ~DERIVED;
  words[base + FlowWord.GENERATION] = 0;
  if ((status & FlowFlag.BRIDGED) === 0) {
    words[base + FlowWord.ROUTE] = NO_ROUTE;
    words[base + FlowWord.REPLY_ROUTE] = NO_ROUTE;
  } else {
    words[base + FlowWord.DIFFERENCE] = 0;
    words[base + FlowWord.REPLY_DIFFERENCE] = 0;
  }
  if (!claim(flow, status)) return false;
  index.insert(table.hashOf(base, 0), flow << 1);
  index.insert(table.hashOf(base, 1), (flow << 1) | 1);
  table.due[flow] = words[base + FlowWord.DEADLINE];
  table.shares.take(table.portOf(flow));
  return true;
}

/** Whether another flow has the tuple of a direction already. */
function isHeld(table: FlowTable, base: number, direction: number): boolean {
  const { words } = table;
  const { slots, mask } = table.index;
  const own = base + direction * TUPLE_WORDS;
  const hash = table.hashOf(base, direction);
  for (let position = hash & mask; ; position = (position + 1) & mask) {
    const stored = slots[position * 2 + 1];
    if (stored === 0) return false;
    if (slots[position * 2] !== hash) continue;
    const other = ((stored - 1) >> 1) << FLOW_SHIFT;
    const tuple = other + ((stored - 1) & 1) * TUPLE_WORDS;
    const differs = (words[other + FlowWord.STATUS] ^ words[base + FlowWord.STATUS]) & PROTOCOL_AND_KIND;
    if (
      differs === 0 &&
      words[tuple] === words[own] &&
      words[tuple + 1] === words[own + 1] &&
      words[tuple + 2] === words[own + 2]
    )
      return true;
  }
}
