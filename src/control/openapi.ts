/** The OpenAPI 3.1 document, made from the routes: `schema/openapi.json` (`npm run schema`) and `/v1/openapi.json`. */
import type { TSchema } from "typebox";
import { ownVersion } from "../io/package_root.ts";
import { type ApiRoute, ErrorSchema } from "./api_route.ts";

/** Other statuses than 200, and when. */
const ERRORS: Record<string, string> = {
  "400": "Wrong usage, or an invalid configuration.",
  "404": "There is nothing of that name.",
  "405": "Not with this method.",
  "409": "The router cannot do it now.",
  "413": "The body is too large.",
  "415": "The body is not JSON.",
  "500": "A fault of the router.",
};

export function openApiDocument(routes: readonly ApiRoute[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    paths[route.path] ??= {};
    paths[route.path][route.method.toLowerCase()] = operationOf(route);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Tapir",
      version: ownVersion(),
      description: "The API of a running router: HTTP/JSON on its unix socket.",
    },
    servers: [{ url: "http://localhost", description: "The unix socket, /run/tapir/tapir.sock unless said." }],
    paths,
    components: {
      schemas: { Error: ErrorSchema },
      responses: Object.fromEntries(Object.entries(ERRORS).map(([status, text]) => [`E${status}`, errorOf(text)])),
    },
  };
}

/** The document as its file has it. */
export function openApiText(routes: readonly ApiRoute[]): string {
  return `${JSON.stringify(openApiDocument(routes), null, 2)}\n`;
}

function operationOf(route: ApiRoute): object {
  const body = "body" in route ? route.body : undefined;
  return {
    operationId: operationId(route),
    summary: route.summary,
    ...parametersOf(route),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { "application/json": { schema: body } } } }),
    responses: {
      "200": { description: "Done.", content: { [route.mediaType ?? "application/json"]: { schema: route.answer } } },
      ...Object.fromEntries(
        Object.keys(ERRORS).map((status) => [status, { $ref: `#/components/responses/E${status}` }]),
      ),
    },
  };
}

function errorOf(description: string): object {
  return { description, content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } } };
}

function parametersOf({ path, query = {} }: ApiRoute): object {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => {
    return { name, in: "path", required: true, schema: { type: "string" } };
  });
  const inQuery = Object.entries(query).map(([name, schema]) => parameterOf(name, schema));
  const parameters = [...inPath, ...inQuery];
  return parameters.length === 0 ? {} : { parameters };
}

function parameterOf(name: string, schema: TSchema): object {
  const { description, ...rest } = schema as { description?: string };
  return { name, in: "query", ...(description === undefined ? {} : { description }), schema: rest };
}

/** As in `getFlowsCount`, `deletePortsName`. */
function operationId({ method, path }: ApiRoute): string {
  const words = path
    .replace("/v1/", "")
    .split(/[^A-Za-z]+/)
    .filter((word) => word !== "");
  return method.toLowerCase() + words.map((word) => word[0].toUpperCase() + word.slice(1)).join("");
}
