/** Configurations over HTTP: what is in force, what another would change, applying it, and taking that back. */
import { type Static, Type } from "typebox";
import type { ApiRoute } from "./api_route.ts";
import { type ApplyWish, LONGEST_CONFIRM_SECONDS } from "./changes.ts";
import { UnknownNameError } from "./errors.ts";

/** A configuration file of a megabyte, in JSON's escapes. */
const BODY_LIMIT_BYTES = 8 << 20;

const ActionSchema = Type.Object({
  change: Type.Enum(["add", "remove", "alter"]),
  kind: Type.String({
    description: "`network`, `port`, `uplink`, `route`, `rule`, `policy`, `nat rule`, `limit`, `setting`.",
  }),
  path: Type.String({ description: "Where in the configuration." }),
  before: Type.Optional(Type.String()),
  after: Type.Optional(Type.String()),
  index: Type.Optional(Type.Integer({ description: "Place in its list." })),
});

const DIFFERENCE = {
  actions: Type.Array(ActionSchema),
  opens: Type.Array(Type.String({ description: "A device." })),
  closes: Type.Array(Type.String()),
  problems: Type.Array(Type.String({ description: "Why it cannot be applied." })),
};

const ConfigurationAnswer = Type.Object(
  { version: Type.Literal(1) },
  { description: "As in schema/tapir.schema.json.", additionalProperties: true },
);

export const HistoryEntrySchema = Type.Object({
  number: Type.Integer({ minimum: 1 }),
  time: Type.String({ description: "ISO 8601." }),
  cause: Type.Object({
    source: Type.String({ description: "`start`, `apply`, `sighup`, `attach`, `detach`, `rollback`, …" }),
    detail: Type.Optional(Type.String()),
  }),
  summary: Type.String(),
  actions: Type.Array(ActionSchema, { description: "The first of them." }),
});
export type HistoryRow = Static<typeof HistoryEntrySchema>;

const PendingSchema = Type.Union([
  Type.Object({
    number: Type.Integer(),
    secondsLeft: Type.Integer({ minimum: 0 }),
    rollbackTo: Type.Integer(),
  }),
  Type.Null(),
]);

const DifferenceSchema = Type.Object(DIFFERENCE);
const AppliedSchema = Type.Object({ ...DIFFERENCE, entry: HistoryEntrySchema, pending: PendingSchema });
const HistorySchema = Type.Object({ pending: PendingSchema, entries: Type.Array(HistoryEntrySchema) });

const WISH = {
  text: Type.Optional(Type.String({ description: "The configuration in YAML; this or `configuration`." })),
  configuration: Type.Optional(Type.Any({ description: "The configuration as data." })),
  file: Type.Optional(Type.String({ maxLength: 4096, description: "The file's name, for errors and the history." })),
};
const WishSchema = Type.Object(WISH, { additionalProperties: false });
const ApplySchema = Type.Object(
  {
    ...WISH,
    confirmSeconds: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        maximum: LONGEST_CONFIRM_SECONDS,
        description: "Rolled back after so long, unless confirmed.",
      }),
    ),
  },
  { additionalProperties: false },
);
const RollbackSchema = Type.Object({ number: Type.Optional(Type.Integer()) }, { additionalProperties: false });

export type DifferenceAnswer = Static<typeof DifferenceSchema>;
export type AppliedAnswer = Static<typeof AppliedSchema>;
export type HistoryAnswer = Static<typeof HistorySchema>;

export const CHANGE_ROUTES: readonly ApiRoute[] = [
  {
    method: "GET",
    path: "/v1/configuration",
    summary: "The configuration in force.",
    answer: ConfigurationAnswer,
    handle: async (router) => router.configuration,
  },
  {
    method: "PUT",
    path: "/v1/configuration",
    summary: "Changes the router to another configuration, all or nothing.",
    body: ApplySchema,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    answer: AppliedSchema,
    handle: (router, { body }) => router.changes.apply(body as ApplyWish),
  },
  {
    method: "POST",
    path: "/v1/configuration/difference",
    summary: "What applying a configuration would change; nothing is changed.",
    body: WishSchema,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    answer: DifferenceSchema,
    handle: async (router, { body }) => router.changes.difference(body as ApplyWish),
  },
  {
    method: "GET",
    path: "/v1/configuration/history",
    summary: "The configurations that were in force, the newest last, and the change that waits for its confirmation.",
    answer: HistorySchema,
    handle: async ({ changes }) => ({ pending: changes.pending, entries: changes.history.entries }),
  },
  {
    method: "GET",
    path: "/v1/configuration/history/{number}",
    summary: "One of them.",
    answer: ConfigurationAnswer,
    handle: async ({ changes }, { params }) => {
      const found = changes.history.configurationOf(Number(params.number));
      if (found === undefined) throw new UnknownNameError(`no configuration #${params.number} is kept`);
      return found;
    },
  },
  {
    method: "POST",
    path: "/v1/configuration/confirm",
    summary: "Keeps the change that waits for its confirmation.",
    answer: HistoryEntrySchema,
    handle: ({ changes }) => changes.confirm(),
  },
  {
    method: "POST",
    path: "/v1/configuration/rollback",
    summary: "Goes back to an earlier configuration: that of a number, or the one before the last change.",
    body: RollbackSchema,
    answer: AppliedSchema,
    handle: ({ changes }, { body }) => changes.rollback((body as { number?: number }).number),
  },
];
