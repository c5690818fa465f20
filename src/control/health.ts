/**
 * A running router watched for a moment: what its tables hold, what it dropped meanwhile, and how quickly its two
 * processes answer. The dataplane is asked twice, and stopped for the check of its invariants only.
 */
import type { IncomingMessage } from "node:http";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import type { Invariants } from "../dataplane/invariants.ts";
import type { DropRow, ShowTable, StatsResult } from "../dataplane/messages.ts";
import type { LimitsPlan } from "../dataplane/plan.ts";
import { ownVersion } from "../io/package_root.ts";
import { ExitCode, TapirError } from "./errors.ts";
import { type Confinement, confinementOf } from "./privilege.ts";

/** What is asked of a `RunningRouter`. */
export interface HealthSource {
  resolved: { limits: LimitsPlan };
  readonly dataplanePid: number | undefined;
  show(table: ShowTable): Promise<unknown>;
  ports(): Promise<object[]>;
}

/** A row of `RunningRouter.ports()`, as far as health is concerned. */
export interface PortHealth {
  name: string;
  state: string;
  /** Frames that the device did not take, or that were malformed, while it was watched. */
  txFull: number;
  txErrors: number;
  rxErrors: number;
}

export interface Health {
  version: string;
  pid: number;
  uptimeSeconds: number;
  /** How long it was watched. */
  observedSeconds: number;
  /** The longest time that the dataplane took to answer, and that the control process's event loop stood still. */
  dataplaneMs: number;
  eventLoopLagMs: number;
  /** Entries of each table, and how many it can hold. */
  tables: { name: string; used: number; limit: number }[];
  /** Frames that were dropped since the start (`count`) and while it was watched (`during`), by reason. */
  drops: { reason: string; text: string; count: number; during: number }[];
  ports: PortHealth[];
  framesReceived: number;
  /** What the dataplane's process may do, as the kernel sees it. */
  confinement?: Confinement;
  /** Absent where the flows are so many that the check would hold the dataplane up. */
  invariants?: Invariants;
}

const DEFAULT_SECONDS = 1;
const MOST_SECONDS = 10;
/** The check of the invariants stops the dataplane for about 50 ns a flow. */
const MOST_CHECKED_FLOWS = 200_000;
const LAG_RESOLUTION_MS = 10;

interface Sample {
  counters: Record<string, number>;
  drops: DropRow[];
  ports: PortHealth[];
  dataplaneMs: number;
}

/** Answers `GET /v1/health?seconds=N`. */
export function healthOf(router: HealthSource, request: IncomingMessage): Promise<Health> {
  const asked = new URL(request.url ?? "/", "http://router").searchParams.get("seconds");
  const seconds = asked === null ? DEFAULT_SECONDS : Number(asked);
  if (!(seconds >= 0 && seconds <= MOST_SECONDS)) {
    throw new TapirError(`seconds: a number from 0 to ${MOST_SECONDS}`, ExitCode.USAGE);
  }
  return watchHealth(router, seconds);
}

export async function watchHealth(router: HealthSource, seconds: number): Promise<Health> {
  const delays = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  delays.enable();
  const startedAt = performance.now();
  const before = await take(router);
  await sleep(seconds * 1000);
  const after = await take(router);
  delays.disable();
  const observedSeconds = (performance.now() - startedAt) / 1000;
  const confinement = router.dataplanePid === undefined ? undefined : confinementOf(router.dataplanePid);
  const isSmall = after.counters.flows <= MOST_CHECKED_FLOWS;
  return {
    version: ownVersion(),
    pid: process.pid,
    uptimeSeconds: Math.floor(process.uptime()),
    observedSeconds,
    dataplaneMs: Math.max(before.dataplaneMs, after.dataplaneMs),
    // The histogram holds what lies between two ticks: their distance is no lag.
    eventLoopLagMs: Math.max(0, delays.max / 1e6 - LAG_RESOLUTION_MS),
    tables: tablesOf(router.resolved.limits, after.counters),
    drops: dropsOf(before.drops, after.drops),
    ports: portsOf(before.ports, after.ports),
    framesReceived: after.counters.framesReceived - before.counters.framesReceived,
    ...(confinement === undefined ? {} : { confinement }),
    ...(isSmall ? { invariants: (await router.show("invariants")) as Invariants } : {}),
  };
}

async function take(router: HealthSource): Promise<Sample> {
  const askedAt = performance.now();
  const { counters } = (await router.show("stats")) as StatsResult;
  const dataplaneMs = performance.now() - askedAt;
  const drops = (await router.show("drops")) as DropRow[];
  return { counters, drops, ports: (await router.ports()) as PortHealth[], dataplaneMs };
}

/** `counters`: those of `StatsResult`. */
export function tablesOf(limits: LimitsPlan, counters: Record<string, number>): Health["tables"] {
  return [
    { name: "flows", used: counters.flows, limit: counters.flowLimit },
    { name: "macs", used: counters.stations, limit: limits.macs },
    { name: "neighbours", used: counters.neighbours, limit: limits.neighbours },
    { name: "frame slots", used: counters.slotsHeld, limit: counters.slotLimit },
  ];
}

function dropsOf(before: readonly DropRow[], after: readonly DropRow[]): Health["drops"] {
  return after
    .filter(({ outcome, count }) => outcome === "dropped" && count > 0)
    .map(({ reason, text, count }) => {
      const earlier = before.find((row) => row.reason === reason)?.count ?? 0;
      return { reason, text, count, during: count - earlier };
    });
}

/** A port that has failed, or was attached meanwhile, has no counters in one of the samples. */
function portsOf(before: readonly PortHealth[], after: readonly PortHealth[]): PortHealth[] {
  return after.map((port) => {
    const earlier = before.find(({ name }) => name === port.name);
    const since = (counter: "txFull" | "txErrors" | "rxErrors"): number =>
      Math.max(0, (port[counter] ?? 0) - (earlier?.[counter] ?? 0));
    const { name, state } = port;
    return { name, state, txFull: since("txFull"), txErrors: since("txErrors"), rxErrors: since("rxErrors") };
  });
}
