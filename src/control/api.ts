/**
 * The API: HTTP/JSON on the unix socket. Answers are JSON; errors are `{ "error": "…" }` with a fitting status.
 *
 *     GET    /v1/ports  fdb  neighbours  routes  rules  nat  drops  stats  invariants  health?seconds=N
 *     GET    /v1/flows (also: conntrack)  flows/count  flows/stats  flows/events   DELETE /v1/flows   and what they take: `flow_api.ts`
 *     POST   /v1/ports          attach a container: { network, netns | pid, name?, ifname?, address?, defaultRoute? }
 *     DELETE /v1/ports/NAME     detach it
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { RulesResult, StatsResult } from "../dataplane/messages.ts";
import { type AttachRequest, attach, detach } from "./attach.ts";
import { ExitCode, TapirError, UnknownNameError } from "./errors.ts";
import { countFlows, flowStats, removeFlows, sendEvents, sendFlows } from "./flow_api.ts";
import { healthOf } from "./health.ts";
import type { RunningRouter } from "./router.ts";
import { showFdb, showNat, showNeighbours, showRoutes, showRules } from "./show.ts";

/** Longest request body in bytes. */
const BODY_LIMIT = 64 * 1024;

class HttpError extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

type Handler = (router: RunningRouter, request: IncomingMessage) => Promise<unknown>;

const READERS: Record<string, Handler> = {
  ports: (router) => router.ports(),
  fdb: showFdb,
  neighbours: showNeighbours,
  routes: showRoutes,
  rules: async (router) => showRules(router, (await router.show("rules")) as RulesResult),
  nat: showNat,
  drops: (router) => router.show("drops"),
  invariants: (router) => router.show("invariants"),
  health: async (router, request) => healthOf(router, request),
  stats: async (router) => ((await router.show("stats")) as StatsResult).counters,
  "flows/count": countFlows,
  "flows/stats": flowStats,
  "conntrack/count": countFlows,
};

export function createApi(router: RunningRouter): Server {
  const server = createServer((request, response) => {
    answer(router, request, response).catch((error: Error) => fail(response, error));
  });
  server.requestTimeout = 30_000;
  return server;
}

async function answer(router: RunningRouter, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const pathname = pathOf(request);
  const resource = /^\/v1\/(.+)$/.exec(pathname)?.[1];
  if (resource === undefined) throw new HttpError(404, `no such path: ${pathname}`);
  if (resource === "conntrack") {
    allow(request, "GET");
    return sendFlows(router, request, response);
  }
  if (resource === "flows") {
    allow(request, "GET, DELETE");
    return request.method === "GET" ? sendFlows(router, request, response) : removeFlows(router, request, response);
  }
  if (resource === "flows/events") {
    allow(request, "GET");
    return sendEvents(router, request, response);
  }
  send(response, 200, await handlerOf(resource, request)(router, request));
}

/** The path, decoded, without what follows a question mark. */
function pathOf(request: IncomingMessage): string {
  const [path] = (request.url ?? "/").split("?", 1);
  try {
    return decodeURIComponent(path);
  } catch {
    throw new HttpError(400, `not a path: ${path}`);
  }
}

function handlerOf(resource: string, request: IncomingMessage): Handler {
  const port = /^ports\/([^/]+)$/.exec(resource)?.[1];
  if (port !== undefined) {
    allow(request, "DELETE");
    return (router) => detach(router, port);
  }
  if (resource === "ports" && request.method === "POST") {
    return async (router) => attach(router, (await readBody(request)) as AttachRequest);
  }
  const reader = Object.hasOwn(READERS, resource) ? READERS[resource] : undefined;
  if (reader === undefined) throw new HttpError(404, `no such path: /v1/${resource}`);
  allow(request, resource === "ports" ? "GET, POST" : "GET");
  return reader;
}

function allow(request: IncomingMessage, methods: string): void {
  if (!methods.split(", ").includes(request.method ?? "")) {
    throw new HttpError(405, `only ${methods} here`, { allow: methods });
  }
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > BODY_LIMIT) {
      throw new HttpError(413, `a request has at most ${BODY_LIMIT} bytes`, { connection: "close" });
    }
    chunks.push(chunk);
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    if (typeof body === "object" && body !== null && !Array.isArray(body)) return body;
  } catch {
    // Said below.
  }
  throw new HttpError(400, "the request's body is not a JSON object");
}

function send(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(`${JSON.stringify(body ?? {})}\n`);
}

function fail(response: ServerResponse, error: Error): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const headers = error instanceof HttpError ? error.headers : {};
  send(response, statusOf(error), { error: error.message }, headers);
}

function statusOf(error: Error): number {
  if (error instanceof HttpError) return error.status;
  if (error instanceof UnknownNameError) return 404;
  if (!(error instanceof TapirError)) return 500;
  return error.exitCode === ExitCode.CONFIGURATION || error.exitCode === ExitCode.USAGE ? 400 : 409;
}
