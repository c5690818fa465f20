/**
 * What may grow without anybody's wanting it, measured while nothing happens: descriptors, mappings and memory of both
 * processes, entries of the router's tables, slots, captures, namespaces. Two measures are compared: numbers of things have
 * to be the same, memory may grow by a margin (heaps breathe).
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { MOST_HELD } from "../../src/io/message_memory.ts";
import { openFiles, type SoakRouter } from "./router.ts";
import { namespacesLeft } from "./world.ts";

export interface Measure {
  /** Have to be the same again. */
  counts: Record<string, number>;
  /** KiB; may grow by a margin. */
  memory: Record<string, number>;
  violations: string[];
}

/** Memory may grow by so much, and by this part. */
const MARGIN_KIB = 24_576;
const MARGIN_PART = 0.25;
/** Mappings come and go with the allocator's arenas and V8's pages. */
const MAPPINGS_STEP = 64;
/** Long messages travel in memories of which each sender makes as many as it needs at a time, and keeps some. */
const MESSAGES = "tapir-message";
/** In the place of a memfd's name: files that may be on huge pages have none. */
const HUGE = "on huge pages";
const HUGE_FILE = /\/#\d+ \(deleted\)$/;
const SETTLE_TRIES = 40;
const SETTLED_IN_A_ROW = 3;
const SETTLE_MS = 500;

function statusOf(pid: number): Record<string, number> {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0);
  return { anonymous: field("RssAnon"), shared: field("RssShmem") };
}

function mappingsOf(pid: number, name: string): number {
  const isIt = name === HUGE ? HUGE_FILE : new RegExp(`/memfd:${name} `);
  return readFileSync(`/proc/${pid}/maps`, "utf8")
    .split("\n")
    .filter((line) => isIt.test(line)).length;
}

/** What a descriptor is, without what tells it from others of its kind. */
function kindOf(file: string): string {
  return file
    .replace(/:\[\d+\]$/, "")
    .replace(/^\/memfd:(\S+) .*$/, "memory $1")
    .replace(HUGE_FILE, `memory ${HUGE}`);
}

function count(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

/** Memory that is shared by name of the memfd: each mapping is one more than it should be, if it is left behind. */
const MEMFDS = ["tapir-flows", "tapir-counters", "tapir-flow-events", MESSAGES, HUGE];

export async function measure(router: SoakRouter): Promise<Measure> {
  const { api, controlPid, dataplanePid } = router;
  if (dataplanePid === undefined) throw new Error("there is no dataplane");
  const counts: Record<string, number> = {};
  const memory: Record<string, number> = {};
  for (const [name, pid] of [
    ["control", controlPid],
    ["dataplane", dataplanePid],
  ] as const) {
    for (const file of openFiles(pid).map(kindOf)) count(counts, `${name}: descriptors of ${file}`);
    for (const memfd of MEMFDS) counts[`${name}: mappings of ${memfd}`] = mappingsOf(pid, memfd);
    const maps = readFileSync(`/proc/${pid}/maps`, "utf8").split("\n").length;
    memory[`${name}: mappings / ${MAPPINGS_STEP}`] = Math.round(maps / MAPPINGS_STEP);
    for (const [kind, kib] of Object.entries(statusOf(pid))) memory[`${name}: ${kind} memory`] = kib;
  }
  const stats = await api.ask<Record<string, number>>("GET", "/v1/stats");
  const invariants = await api.ask<{ flows: number; violations: string[] }>("GET", "/v1/invariants");
  counts.flows = invariants.flows;
  counts["slots held"] = stats.slotsHeld;
  counts.ports = (await api.ask<unknown[]>("GET", "/v1/ports")).length;
  counts.routes = (await api.ask<unknown[]>("GET", "/v1/routes")).length;
  counts["rules of iptables"] =
    (await api.ask<{ text: string }>("GET", "/v1/iptables/save")).text.split("\n-A").length - 1;
  counts.namespaces = namespacesLeft().length;
  return { counts, memory, violations: invariants.violations };
}

/**
 * Measures until as many in a row have the same counts, flows ended before: what is still on its way comes to rest. With
 * `isFine`, until it says so: a connection may take its time to end.
 */
export async function settled(router: SoakRouter, isFine?: (measure: Measure) => boolean): Promise<Measure> {
  let last = "";
  let same = 0;
  for (let attempt = 0; ; attempt++) {
    await router.api.ask("DELETE", "/v1/flows?quiet=1");
    const present = await measure(router);
    const text = JSON.stringify(present.counts);
    same = text === last ? same + 1 : 1;
    const isSettled = isFine === undefined ? same >= SETTLED_IN_A_ROW : isFine(present);
    if (isSettled || attempt >= SETTLE_TRIES) return present;
    last = text;
    await sleep(SETTLE_MS);
  }
}

/** What is wrong with `after`, seen from `before`; empty when nothing is. */
export function compare(before: Measure, after: Measure): string[] {
  const problems = after.violations.map((violation) => `an invariant does not hold: ${violation}`);
  for (const name of new Set([...Object.keys(before.counts), ...Object.keys(after.counts)])) {
    const [former, present] = [before.counts[name] ?? 0, after.counts[name] ?? 0];
    if (name.endsWith(MESSAGES) && present <= MOST_HELD) continue;
    if (former !== present) problems.push(`${name}: ${former} before, ${present} after`);
  }
  for (const [name, size] of Object.entries(after.memory)) {
    const former = before.memory[name];
    const margin = name.includes("memory") ? MARGIN_KIB : 1;
    if (size > former * (1 + MARGIN_PART) + margin) problems.push(`${name}: ${former} before, ${size} after`);
  }
  return problems;
}
