/** Impairments over HTTP. */
import { type Static, Type } from "typebox";
import { type ApiRoute, text } from "./api_route.ts";
import { ImpairSchema } from "./configuration/schema_impair.ts";
import { clearImpairment, impair, showImpairments } from "./impair.ts";

const count = () => Type.Integer({ minimum: 0 });

const ImpairmentSchema = Type.Object({
  port: Type.String(),
  direction: Type.Enum(["in", "out"], { description: "`out`: what the router sends by the port." }),
  settings: Type.String({ description: "As `tapir impair` takes them." }),
  frames: count(),
  bytes: count(),
  lost: count(),
  duplicated: count(),
  corrupted: count(),
  reordered: count(),
  overLimit: Type.Integer({ minimum: 0, description: "Refused because too many were held." }),
  waiting: Type.Integer({ minimum: 0, description: "Held now." }),
});
export type ImpairmentView = Static<typeof ImpairmentSchema>;

/** The keys of the configuration's `impair`; its checks say what is wrong with them. */
const SettingsSchema = Type.Object(
  Object.fromEntries(
    Object.entries(ImpairSchema.properties).map(([key, schema]) => {
      const { title = "", description = "" } = schema as { title?: string; description?: string };
      return [key, Type.Optional(Type.Unknown({ title, description }))];
    }),
  ),
);

export const IMPAIR_ROUTES: readonly ApiRoute[] = [
  {
    method: "GET",
    path: "/v1/impairments",
    summary: "What is impaired on purpose, with its counters.",
    answer: Type.Array(ImpairmentSchema),
    handle: showImpairments,
  },
  {
    method: "PUT",
    path: "/v1/impairments/{name}",
    summary: "Impairs a port, an uplink, or each port of a network, in place of what was in that direction.",
    body: SettingsSchema,
    answer: Type.Array(ImpairmentSchema),
    handle: (router, { params, body }) => impair(router, params.name, body as object),
  },
  {
    method: "DELETE",
    path: "/v1/impairments/{name}",
    summary: "Ends an impairment.",
    query: { direction: text("`in`, `out` or `both`; both unless said.") },
    answer: Type.Array(ImpairmentSchema),
    handle: (router, { params, query }) => clearImpairment(router, params.name, query.get("direction")),
  },
];
