/**
 * The flows over HTTP. What a query asks for is a filter by the names of conntrack(8)'s long options (`src`, `dst`,
 * `reply-src`, `reply-dst`, `proto`, `sport`, `dport`, `reply-port-src`, `reply-port-dst`, `state`, `status`, `mark`,
 * `src-nat`, `dst-nat`, `any-nat`, `family`, `icmp-type`, `icmp-code`, `icmp-id`).
 *
 *     GET    /v1/flows?proto=tcp          an array, one flow a line
 *     DELETE /v1/flows?src=10.55.66.0/24  ends them; the array of those ended, or with `quiet` { "removed": number }
 *     GET    /v1/flows/events?kinds=NEW   newline-separated JSON as it happens: `EventView`, or { "lost": number }
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { type TSchema, Type } from "typebox";
import { parseKinds } from "../conntrack/event_kinds.ts";
import { ANY_EVENT } from "../conntrack/events.ts";
import { FILTER_NAMES, FilterError, type FlowFilter, parseFilter } from "../conntrack/filter.ts";
import { viewEvent } from "../conntrack/format.ts";
import type { DropRow, StatsResult } from "../dataplane/messages.ts";
import { type ApiRoute, text } from "./api_route.ts";
import { CountersSchema, FlowEventSchema, FlowSchema, LostSchema } from "./api_schemas.ts";
import { ExitCode, TapirError } from "./errors.ts";
import type { FlowListener } from "./flow_events.ts";
import type { RunningRouter } from "./router.ts";

/** Bytes that may wait for a listener who does not read; what comes then is lost, and said to be. */
const WAITING_LIMIT = 8 << 20;

/** What a query says of flows; `others` are keys of it that are about something else. */
export function readFlowQuery(
  request: IncomingMessage,
  others: readonly string[] = [],
): { filter: FlowFilter; kinds: number; isQuiet: boolean } {
  const { searchParams } = new URL(request.url ?? "/", "http://tapir");
  for (const name of others) searchParams.delete(name);
  const { kinds, quiet, ...words } = Object.fromEntries(searchParams);
  try {
    const isQuiet = quiet !== undefined;
    return { filter: parseFilter(words), kinds: kinds === undefined ? ANY_EVENT : parseKinds(kinds), isQuiet };
  } catch (error) {
    if (error instanceof FilterError) throw new TapirError(error.message, ExitCode.USAGE);
    throw error;
  }
}

export function sendFlows(router: RunningRouter, request: IncomingMessage, response: ServerResponse): Promise<void> {
  return sendArray(response, router.flows.flows(readFlowQuery(request).filter));
}

export async function countFlows(router: RunningRouter): Promise<object> {
  return { count: router.flows.count };
}

/** The counters that there are of those that conntrack(8) prints, by its names. */
export async function flowStats(router: RunningRouter): Promise<object> {
  const { counters } = (await router.show("stats")) as StatsResult;
  const drops = (await router.show("drops")) as DropRow[];
  const stopped = (reason: string): number => drops.find((row) => row.reason === reason)?.count ?? 0;
  return {
    invalid: stopped("invalid-state"),
    insert: counters.flowsCreated,
    insert_failed: counters.natExhausted,
    drop: counters.flowsTableFull,
    early_drop: counters.flowsEvicted,
    error: stopped("l4-checksum"),
    // One thread and chains without a limit: these never happen.
    search_restart: 0,
    clash_resolve: 0,
    chaintoolong: 0,
  };
}

export async function removeFlows(
  router: RunningRouter,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { filter, isQuiet } = readFlowQuery(request);
  if (!isQuiet) return sendArray(response, router.removeFlows(filter));
  const removed = await router.removeFlowsQuietly(filter);
  response.writeHead(200, { "content-type": "application/json" });
  response.end(`${JSON.stringify({ removed })}\n`);
}

/** An array, a flow at a time: a table of a million is never one string, and a slow reader is waited for. */
/** Writes an array, an element a line, as fast as it is read. */
export async function sendArray(
  response: ServerResponse,
  elements: Iterable<object> | AsyncIterable<object>,
): Promise<void> {
  response.writeHead(200, { "content-type": "application/json" });
  let separator = "[\n";
  for await (const element of elements) {
    const goesOn = response.write(separator + JSON.stringify(element));
    separator = ",\n";
    if (!goesOn) await drained(response);
    if (response.destroyed) return;
  }
  response.end(separator === "[\n" ? "[]\n" : "\n]\n");
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.on("drain", done);
    response.on("close", done);
  });
}

/** Until the listener goes away. The head of the answer is sent when nothing is missed any more. */
export async function sendEvents(
  router: RunningRouter,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const wish = readFlowQuery(request);
  let lost = 0;
  /** Whether more may be written; what was lost is said first. */
  const isReady = (): boolean => {
    if (response.writableLength > WAITING_LIMIT) return false;
    if (lost > 0) response.write(`${JSON.stringify({ lost })}\n`);
    lost = 0;
    return true;
  };
  const listener: FlowListener = {
    event: (event) => {
      if (isReady()) response.write(`${JSON.stringify(viewEvent(event))}\n`);
      else lost++;
    },
    lost: (count) => {
      lost += count;
      isReady();
    },
  };
  response.on("drain", isReady);
  const gone = new Promise<void>((resolve) => response.on("close", resolve));
  try {
    await router.flowEvents.add(listener, wish);
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    response.flushHeaders();
    await gone;
  } finally {
    // A dataplane that has ended needs no telling.
    await router.flowEvents.remove(listener).catch(() => {});
  }
}

export const FILTER_QUERY: Record<string, TSchema> = Object.fromEntries(
  FILTER_NAMES.map((name) => [name, text(`As conntrack(8)'s --${name}.`)]),
);
const COUNT = Type.Object({ count: Type.Integer({ minimum: 0 }) });

const LIST: Omit<Extract<ApiRoute, { stream: unknown }>, "path"> = {
  method: "GET",
  summary: "The live flows of a filter.",
  query: FILTER_QUERY,
  answer: Type.Array(FlowSchema),
  stream: sendFlows,
};

export const FLOW_ROUTES: readonly ApiRoute[] = [
  { ...LIST, path: "/v1/flows" },
  {
    method: "DELETE",
    path: "/v1/flows",
    summary: "Ends the flows of a filter, and says which they were; with `quiet` only how many.",
    query: { ...FILTER_QUERY, quiet: text("There, with any value: only how many.") },
    answer: Type.Union([Type.Array(FlowSchema), Type.Object({ removed: Type.Integer({ minimum: 0 }) })]),
    stream: removeFlows,
  },
  {
    method: "GET",
    path: "/v1/flows/count",
    summary: "How many flows there are.",
    answer: COUNT,
    handle: countFlows,
  },
  {
    method: "GET",
    path: "/v1/flows/stats",
    summary: "Counters of the flow table, by the names of conntrack -S.",
    answer: CountersSchema,
    handle: flowStats,
  },
  {
    method: "GET",
    path: "/v1/flows/events",
    summary: "What happens to flows, a line each as it happens.",
    query: { ...FILTER_QUERY, kinds: text("A list of NEW, UPDATES, DESTROY, ALL.") },
    mediaType: "application/x-ndjson",
    answer: Type.Union([FlowEventSchema, LostSchema]),
    stream: sendEvents,
  },
  { ...LIST, path: "/v1/conntrack" },
  {
    method: "GET",
    path: "/v1/conntrack/count",
    summary: "How many flows there are.",
    answer: COUNT,
    handle: countFlows,
  },
];
