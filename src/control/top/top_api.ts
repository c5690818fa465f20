/**
 * `GET /v1/top`: everything that changes while a router runs, at one moment, as counters: who asks twice can tell rates.
 * While somebody asks, the dataplane times its stages.
 */
import { type Static, Type } from "typebox";
import { STAGE_NAMES } from "../../dataplane/counters.ts";
import type { StatsResult } from "../../dataplane/messages.ts";
import { ownVersion } from "../../io/package_root.ts";
import { STOP_REASONS } from "../../packet/stop_reasons.ts";
import { type ApiRoute, text } from "../api_route.ts";
import { CountersSchema, FlowSchema, PortSchema } from "../api_schemas.ts";
import { ExitCode, TapirError } from "../errors.ts";
import { tablesOf } from "../health.ts";
import { usageOf } from "../metrics/processes.ts";
import type { RunningRouter } from "../router.ts";
import { type FlowRate, FlowRates, MOST_FLOWS, ORDERS, type Order } from "./flow_rates.ts";

/** One burst in so many is timed while somebody watches. */
const TIMED_BURSTS = 16;
/** Who watches asks again within this time. */
const LONGEST_SECONDS = 3600;

const number = () => Type.Number();

const TopSchema = Type.Object({
  version: Type.String(),
  atMs: Type.Number({ description: "When this was, on a steady clock: for the time between two answers." }),
  uptimeSeconds: number(),
  ports: Type.Array(PortSchema),
  drops: Type.Array(Type.Object({ reason: Type.String(), count: number() })),
  counters: CountersSchema,
  tables: Type.Array(Type.Object({ name: Type.String(), used: number(), limit: number() })),
  stages: Type.Array(Type.Object({ name: Type.String(), nanoseconds: number(), frames: number() }), {
    description: "Stages of the bursts that were timed, and their frames.",
  }),
  burstFrames: Type.Array(number(), { description: "Bursts by their frames: up to 1, 2, 4, 8 …" }),
  burstNanoseconds: Type.Array(number(), { description: "Bursts by their time in the router: up to 1, 2, 4, 8 … ns." }),
  processes: Type.Array(Type.Object({ name: Type.String(), cpuSeconds: number(), residentBytes: number() })),
  flows: Type.Array(Type.Object({ packetsPerSecond: number(), bytesPerSecond: number(), flow: FlowSchema }), {
    description: "The busiest flows since somebody asked before; both directions.",
  }),
});
export type TopSample = Static<typeof TopSchema>;

/** Rates of each router's flows: they remember what was counted before. */
const rates = new WeakMap<RunningRouter, FlowRates>();

export const TOP_ROUTES: readonly ApiRoute[] = [
  {
    method: "GET",
    path: "/v1/top",
    summary: "All that changes while a router runs, at one moment.",
    query: {
      flows: text(`How many of the busiest flows: 0 to ${MOST_FLOWS}; 20 unless said.`),
      order: text("`packets` or `bytes`: what the busiest flows have most of."),
      seconds: text(`When it will be asked again: stages are timed for twice as long; 5 unless said.`),
    },
    answer: TopSchema,
    handle: (router, { query }) => sampleOf(router, query),
  },
];

async function sampleOf(router: RunningRouter, query: URLSearchParams): Promise<TopSample> {
  const most = read(query, "flows", 20, 0, MOST_FLOWS);
  const seconds = read(query, "seconds", 5, 0, LONGEST_SECONDS);
  const order = (query.get("order") ?? "packets") as Order;
  if (!ORDERS.includes(order)) throw new TapirError(`order: ${ORDERS.join(" or ")}`, ExitCode.USAGE);
  await router.timeStages(TIMED_BURSTS, Math.max(5, 2 * seconds) * 1000);
  const { counters } = (await router.show("stats")) as StatsResult;
  const ports = (await router.ports()) as TopSample["ports"];
  const atMs = performance.now();
  return {
    version: ownVersion(),
    atMs,
    uptimeSeconds: process.uptime(),
    ports,
    counters,
    tables: tablesOf(router.resolved.limits, counters),
    ...dataplaneOf(router),
    processes: processesOf(router),
    flows: most === 0 ? [] : await flowsOf(router, order, most, atMs),
  };
}

function read(query: URLSearchParams, name: string, preset: number, least: number, most: number): number {
  const value = Number(query.get(name) ?? preset);
  if (!(value >= least && value <= most))
    throw new TapirError(`${name}: a number from ${least} to ${most}`, ExitCode.USAGE);
  return value;
}

/** What the control process reads in the dataplane's counters itself. */
function dataplaneOf({
  counters,
}: RunningRouter): Pick<TopSample, "drops" | "stages" | "burstFrames" | "burstNanoseconds"> {
  return {
    drops: STOP_REASONS.flatMap(({ name, outcome }, index) =>
      outcome === "dropped" && counters.stops[index] > 0 ? { reason: name, count: counters.stops[index] } : [],
    ),
    stages: STAGE_NAMES.map((name, index) => ({
      name,
      nanoseconds: counters.stages[2 * index],
      frames: counters.stages[2 * index + 1],
    })),
    burstFrames: [...counters.burstFrames.buckets],
    burstNanoseconds: [...counters.burstNanoseconds.buckets],
  };
}

function processesOf({ dataplanePid }: RunningRouter): TopSample["processes"] {
  return Object.entries({ dataplane: dataplanePid, control: process.pid }).flatMap(([name, pid]) => {
    const usage = pid === undefined ? undefined : usageOf(pid);
    return usage === undefined ? [] : { name, cpuSeconds: usage.cpuSeconds, residentBytes: usage.residentBytes };
  });
}

function flowsOf(router: RunningRouter, order: Order, most: number, atMs: number): Promise<FlowRate[]> {
  let flowRates = rates.get(router);
  if (flowRates === undefined) {
    flowRates = new FlowRates(router.flows);
    rates.set(router, flowRates);
  }
  return flowRates.busiest(order, most, atMs);
}
