/**
 * What happens, as Server-Sent Events: flows, links, drops and changes of the configuration on one stream. Who does not
 * read loses events and is told how many (`lost`), and nothing is kept for him beyond `WAITING_LIMIT_BYTES`.
 *
 *     GET /v1/events?topics=links,drops        event: link
 *                                              data: {"port":"c3","state":"up"}
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { type Static, type TSchema, Type } from "typebox";
import { FilterError } from "../conntrack/filter.ts";
import { viewEvent } from "../conntrack/format.ts";
import type { DropRow } from "../dataplane/messages.ts";
import { type ApiRoute, text } from "./api_route.ts";
import { FlowEventSchema, LostSchema } from "./api_schemas.ts";
import { HistoryEntrySchema } from "./change_api.ts";
import { ExitCode, TapirError } from "./errors.ts";
import { FILTER_QUERY, readFlowQuery } from "./flow_api.ts";
import type { FlowListener } from "./flow_events.ts";
import type { HistoryEntry } from "./history.ts";
import type { RunningRouter } from "./router.ts";
import type { DataplaneEvent } from "./supervisor.ts";

/** Bytes that may wait for a listener who does not read. */
const WAITING_LIMIT_BYTES = 1 << 20;
const DROPS_INTERVAL_MS = 1000;
const TOPICS = ["flows", "links", "drops", "changes", "dataplane"] as const;
type Topic = (typeof TOPICS)[number];

export const LinkEventSchema = Type.Object({
  port: Type.String(),
  state: Type.Enum(["up", "failed", "removed"]),
  why: Type.Optional(Type.String()),
});
export type LinkEvent = Static<typeof LinkEventSchema>;

const DataplaneEventSchema = Type.Object({
  state: Type.Enum(["ended", "started"]),
  why: Type.Optional(Type.String({ description: "Why it has ended." })),
  againInMs: Type.Optional(Type.Integer({ description: "When another one is started." })),
  gapMs: Type.Optional(Type.Integer({ description: "How long nothing was forwarded." })),
});

const DropsEventSchema = Type.Object({
  seconds: Type.Number({ description: "Since the last of these events." }),
  drops: Type.Array(Type.Object({ reason: Type.String(), count: Type.Integer(), perSecond: Type.Number() }), {
    description: "Reasons that frames were dropped for meanwhile.",
  }),
});
export type DropsEvent = Static<typeof DropsEventSchema>;

export const EVENT_SCHEMAS = {
  flow: FlowEventSchema,
  link: LinkEventSchema,
  drops: DropsEventSchema,
  change: HistoryEntrySchema,
  dataplane: DataplaneEventSchema,
  lost: LostSchema,
} as const satisfies Record<string, TSchema>;

/** Writes events as long as they are read. */
class EventStream {
  private readonly response: ServerResponse;
  private missed = 0;

  constructor(response: ServerResponse) {
    this.response = response;
    response.on("drain", () => this.tellLost());
  }

  send(event: keyof typeof EVENT_SCHEMAS, data: object): void {
    if (this.isFull) {
      this.missed++;
      return;
    }
    this.tellLost();
    this.write(event, data);
  }

  lost(count: number): void {
    this.missed += count;
    this.tellLost();
  }

  private get isFull(): boolean {
    return this.response.writableLength > WAITING_LIMIT_BYTES;
  }

  private tellLost(): void {
    if (this.missed === 0 || this.isFull) return;
    const lost = this.missed;
    this.missed = 0;
    this.write("lost", { lost });
  }

  private write(event: string, data: object): void {
    this.response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }
}

/** Undoes a subscription. */
type Stop = () => void | Promise<void>;

const SUBSCRIBE: Record<
  Topic,
  (router: RunningRouter, stream: EventStream, request: IncomingMessage) => Promise<Stop>
> = {
  flows: async (router, stream, request) => {
    const { filter, kinds } = readFlowQuery(request, ["topics"]);
    const listener: FlowListener = {
      event: (event) => stream.send("flow", viewEvent(event)),
      lost: (count) => stream.lost(count),
    };
    await router.flowEvents.add(listener, { filter, kinds });
    return () => router.flowEvents.remove(listener).catch(() => {});
  },
  links: async ({ portListeners }, stream) => {
    const listener = (event: LinkEvent): void => stream.send("link", event);
    portListeners.add(listener);
    return () => void portListeners.delete(listener);
  },
  changes: async ({ changes: { listeners } }, stream) => {
    const listener = (entry: HistoryEntry): void => stream.send("change", entry);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  },
  drops: watchDrops,
  dataplane: async ({ dataplaneListeners }, stream) => {
    const listener = (event: DataplaneEvent): void => stream.send("dataplane", event);
    dataplaneListeners.add(listener);
    return () => void dataplaneListeners.delete(listener);
  },
};

async function watchDrops(router: RunningRouter, stream: EventStream): Promise<Stop> {
  const take = async () => ({ at: performance.now(), rows: (await router.show("drops")) as DropRow[] });
  let before = await take();
  let isAsking = false;
  const timer = setInterval(() => {
    if (isAsking) return;
    isAsking = true;
    take()
      .then((now) => {
        stream.send("drops", dropsBetween(before, now));
        before = now;
      })
      .catch(() => {})
      .finally(() => {
        isAsking = false;
      });
  }, DROPS_INTERVAL_MS);
  return () => clearInterval(timer);
}

interface Sample {
  at: number;
  rows: DropRow[];
}

export function dropsBetween(before: Sample, after: Sample): DropsEvent {
  const seconds = (after.at - before.at) / 1000;
  const earlier = new Map(before.rows.map(({ reason, count }) => [reason, count]));
  const drops = after.rows
    .filter(({ outcome }) => outcome === "dropped")
    .map(({ reason, count }) => ({ reason, count: count - (earlier.get(reason) ?? 0) }))
    .filter(({ count }) => count > 0)
    .map((row) => ({ ...row, perSecond: row.count / seconds }));
  return { seconds, drops };
}

function readTopics(request: IncomingMessage): Topic[] {
  const asked = new URL(request.url ?? "/", "http://tapir").searchParams.get("topics");
  if (asked === null) return [...TOPICS];
  return asked.split(",").map((name) => {
    const topic = TOPICS.find((each) => each === name);
    if (topic !== undefined) return topic;
    throw new TapirError(`topics: '${name}' is none of ${TOPICS.join(", ")}`, ExitCode.USAGE);
  });
}

/** Until the listener goes away. The head of the answer is sent when nothing is missed any more. */
export async function streamEvents(
  router: RunningRouter,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const topics = new Set(readTopics(request));
  // Set before anything is written: an event may come at once.
  response.setHeader("content-type", "text/event-stream");
  response.setHeader("cache-control", "no-store");
  const gone = new Promise<void>((resolve) => response.on("close", resolve));
  const stream = new EventStream(response);
  const stops: Stop[] = [];
  try {
    for (const topic of topics) stops.push(await SUBSCRIBE[topic](router, stream, request));
    response.flushHeaders();
    await gone;
  } catch (error) {
    throw error instanceof FilterError ? new TapirError(error.message, ExitCode.USAGE) : error;
  } finally {
    for (const stop of stops) await stop();
  }
}

export const EVENT_ROUTES: readonly ApiRoute[] = [
  {
    method: "GET",
    path: "/v1/events",
    summary:
      "What happens, as Server-Sent Events named flow, link, drops, change, dataplane, and lost for what a slow reader missed.",
    query: {
      topics: text("A list of flows, links, drops, changes, dataplane; all of them unless said."),
      ...FILTER_QUERY,
      kinds: text("Of flows: a list of NEW, UPDATES, DESTROY, ALL."),
    },
    mediaType: "text/event-stream",
    answer: Type.Union(Object.values(EVENT_SCHEMAS), { description: "The data of an event." }),
    stream: streamEvents,
  },
];
