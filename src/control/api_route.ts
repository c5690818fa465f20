/**
 * A route of the API: what it takes, what it answers, who does it. The list of them (`api_routes.ts`) is what the server
 * serves and what the OpenAPI document (`openapi.ts`) says, so neither can have a route that the other has not.
 *
 * A new route is one entry in the list of its own `NAME_api.ts`:
 *
 *     { method: "GET", path: "/v1/cats/{name}", summary: "One cat.", answer: CatSchema,
 *       handle: (router, { params }) => catOf(router, params.name) }
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { type TSchema, Type } from "typebox";
import type { RunningRouter } from "./router.ts";

export type Method = "GET" | "POST" | "PUT" | "DELETE";

interface RouteBase {
  method: Method;
  /** As OpenAPI writes it; `{name}` stands for one step of the path. */
  path: string;
  /** One sentence. */
  summary: string;
  /** Schemas of the query's values, by name; their `description` says what for. */
  query?: Record<string, TSchema>;
  /** Schema of the answer; of a stream, of one of its elements. */
  answer: TSchema;
  /** Media type of the answer; JSON unless said. */
  mediaType?: string;
}

/** Answers with JSON once the promise is kept; a body is read, bounded, and checked before. */
export interface JsonRoute extends RouteBase {
  body?: TSchema;
  /** Bytes that a body may have; 64 KiB unless said. */
  bodyLimitBytes?: number;
  handle(router: RunningRouter, asked: Asked): Promise<unknown>;
}

/** Writes its answer itself. */
export interface StreamRoute extends RouteBase {
  stream(router: RunningRouter, request: IncomingMessage, response: ServerResponse): Promise<void>;
}

export type ApiRoute = JsonRoute | StreamRoute;

export interface Asked {
  request: IncomingMessage;
  /** Steps of the path by their names, decoded. */
  params: Readonly<Record<string, string>>;
  query: URLSearchParams;
  /** Matches the route's schema; undefined where it has none. */
  body: unknown;
}

export const ErrorSchema = Type.Object(
  {
    error: Type.String({ description: "One line, or one for each thing that is wrong with a configuration." }),
    exitCode: Type.Optional(Type.Integer({ description: "What a command ends with that meets this error." })),
  },
  { description: "What is wrong." },
);

/** A text in a query. */
export const text = (description: string, options: object = {}): TSchema => Type.String({ description, ...options });
