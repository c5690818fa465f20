/** Snapshots over HTTP. */
import { type Static, Type } from "typebox";
import type { ApiRoute } from "../api_route.ts";

const SnapshotSchema = Type.Object({
  directory: Type.String(),
  time: Type.String({ description: "ISO 8601." }),
  flows: Type.Integer({ minimum: 0 }),
  torn: Type.Integer({ minimum: 0, description: "Flows that changed as often as they were read, and are not in it." }),
  bytes: Type.Integer({ minimum: 0, description: "Length of the file with the flows." }),
  milliseconds: Type.Integer({ minimum: 0, description: "How long it took." }),
});
export type SnapshotAnswer = Static<typeof SnapshotSchema>;

const SnapshotsSchema = Type.Object({
  plan: Type.Union([Type.Object({ directory: Type.String(), everySeconds: Type.Integer() }), Type.Null()]),
  last: Type.Union([SnapshotSchema, Type.Null()]),
  problem: Type.Union([Type.String({ description: "Why the last attempt failed." }), Type.Null()]),
});
export type SnapshotsAnswer = Static<typeof SnapshotsSchema>;

export const SNAPSHOT_ROUTES: readonly ApiRoute[] = [
  {
    method: "GET",
    path: "/v1/snapshot",
    summary: "Where snapshots go, and the last one.",
    answer: SnapshotsSchema,
    handle: async (router) => router.snapshots.view(),
  },
  {
    method: "POST",
    path: "/v1/snapshot",
    summary: "Writes the flows and the configuration in force to the directory of `control.snapshot`.",
    body: Type.Object({}, { additionalProperties: false }),
    answer: SnapshotSchema,
    handle: async (router) => router.snapshots.write(),
  },
];
