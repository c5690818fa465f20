/**
 * The API's server: HTTP/JSON on the unix socket. What it serves is the list of routes (`api_routes.ts`); errors are
 * `{ "error": "…" }` with a fitting status.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { ApiRoute, JsonRoute } from "./api_route.ts";
import { ROUTES } from "./api_routes.ts";
import { DataplaneDownError, ExitCode, TapirError, UnknownNameError } from "./errors.ts";
import { checkAgainst, HttpError, parseBody, readBytes, sendJson } from "./http_json.ts";
import type { RunningRouter } from "./router.ts";

/** Longest request body in bytes, where a route says no other. */
const BODY_LIMIT_BYTES = 64 * 1024;

/** What a client may take its time for, and how much it may say before its body. */
export const API_LIMITS = {
  /** Bytes of address and header fields. */
  maxHeaderSize: 16 * 1024,
  /** Milliseconds until the header, and the whole request, have to be there; how often that is looked after. */
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 1_000,
  /** At one time, streams of events and captures among them; more are closed at once. */
  connections: 256,
};

export function createApi(router: RunningRouter, limits = API_LIMITS): Server {
  const server = createServer(limits, (request, response) => {
    answer(router, request, response).catch((error: Error) => fail(response, error));
  });
  server.maxConnections = limits.connections;
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => refuseMalformed(error, socket, limits));
  return server;
}

/** Answers what is not a request, or never becomes one. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex, limits: typeof API_LIMITS): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [status, reason] = malformed(error.code, limits);
  const body = `${JSON.stringify({ error: reason })}\n`;
  const head = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`;
  socket.end(`HTTP/1.1 ${status}\r\n${head}\r\n\r\n${body}`);
}

function malformed(code: string | undefined, limits: typeof API_LIMITS): [status: string, reason: string] {
  if (code === "HPE_HEADER_OVERFLOW") {
    return [
      "431 Request Header Fields Too Large",
      `a request has at most ${limits.maxHeaderSize} bytes before its body`,
    ];
  }
  if (code !== "ERR_HTTP_REQUEST_TIMEOUT") return ["400 Bad Request", "not HTTP"];
  const [header, whole] = [limits.headersTimeout / 1000, limits.requestTimeout / 1000];
  return ["408 Request Timeout", `a request has to be there in ${whole} seconds, its header in ${header}`];
}

async function answer(router: RunningRouter, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { route, params } = routeOf(request);
  if ("stream" in route) return route.stream(router, request, response);
  const query = new URL(request.url ?? "/", "http://router").searchParams;
  const body = route.body === undefined ? undefined : await readBody(request, route);
  sendJson(response, 200, await route.handle(router, { request, params, query, body }));
}

/** Steps of each route's path, split once. */
const PATTERNS = ROUTES.map((route) => ({ route, steps: route.path.slice(1).split("/") }));

interface Found {
  route: ApiRoute;
  params: Record<string, string>;
}

function routeOf(request: IncomingMessage): Found {
  const { path, steps } = stepsOf(request);
  const methods: string[] = [];
  for (const { route, steps: wanted } of PATTERNS) {
    const params = match(wanted, steps);
    if (params === undefined) continue;
    if (route.method === request.method) return { route, params };
    methods.push(route.method);
  }
  if (methods.length === 0) throw new HttpError(404, `no such path: ${path}`);
  const allow = methods.join(", ");
  throw new HttpError(405, `only ${allow} here`, { allow });
}

/** The path without what follows a question mark, and its steps, decoded. */
function stepsOf(request: IncomingMessage): { path: string; steps: string[] } {
  const [path] = (request.url ?? "/").split("?", 1);
  try {
    return { path, steps: path.slice(1).split("/").map(decodeURIComponent) };
  } catch {
    throw new HttpError(400, `not a path: ${path}`);
  }
}

/** The values of a pattern's names; undefined for another path. */
function match(pattern: readonly string[], steps: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== steps.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, wanted] of pattern.entries()) {
    if (wanted.startsWith("{")) {
      if (steps[index] === "") return undefined;
      params[wanted.slice(1, -1)] = steps[index];
    } else if (wanted !== steps[index]) return undefined;
  }
  return params;
}

async function readBody(request: IncomingMessage, route: JsonRoute): Promise<unknown> {
  const [type] = (request.headers["content-type"] ?? "application/json").split(";", 1);
  if (type.trim().toLowerCase() !== "application/json") {
    throw new HttpError(415, "the request's body has to be application/json", { connection: "close" });
  }
  const body = parseBody(await readBytes(request, route.bodyLimitBytes ?? BODY_LIMIT_BYTES));
  checkAgainst(route.body as object, body);
  return body;
}

function fail(response: ServerResponse, error: Error): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const headers = error instanceof HttpError ? error.headers : {};
  const exitCode = error instanceof TapirError ? { exitCode: error.exitCode } : {};
  sendJson(response, statusOf(error), { error: error.message, ...exitCode }, headers);
}

function statusOf(error: Error): number {
  if (error instanceof HttpError) return error.status;
  if (error instanceof UnknownNameError) return 404;
  if (error instanceof DataplaneDownError) return 503;
  if (!(error instanceof TapirError)) return 500;
  return error.exitCode === ExitCode.CONFIGURATION || error.exitCode === ExitCode.USAGE ? 400 : 409;
}
