/** All routes of the API, in the order in which the OpenAPI document has them. */
import { Type } from "typebox";
import type { ApiRoute } from "./api_route.ts";
import { ATTACH_ROUTES } from "./attach_api.ts";
import { CAPTURE_ROUTES } from "./capture_api.ts";
import { CHANGE_ROUTES } from "./change_api.ts";
import { EVENT_ROUTES } from "./events_api.ts";
import { EXPLAIN_ROUTES } from "./explain_api.ts";
import { FLOW_ROUTES } from "./flow_api.ts";
import { IMPAIR_ROUTES } from "./impair_api.ts";
import { IPTABLES_ROUTES } from "./iptables_api.ts";
import { METRICS_ROUTES } from "./metrics/metrics_api.ts";
import { NAMES_ROUTES } from "./names_api.ts";
import { openApiDocument } from "./openapi.ts";
import { ROUTING_ROUTES } from "./routing_api.ts";
import { SNAPSHOT_ROUTES } from "./snapshot/snapshot_api.ts";
import { TABLE_ROUTES } from "./table_api.ts";
import { TOP_ROUTES } from "./top/top_api.ts";
import { TRACE_ROUTES } from "./trace_api.ts";
import { UPGRADE_ROUTES } from "./upgrade_api.ts";

export const ROUTES: readonly ApiRoute[] = [
  ...TABLE_ROUTES,
  ...ATTACH_ROUTES,
  ...FLOW_ROUTES,
  ...NAMES_ROUTES,
  ...IMPAIR_ROUTES,
  ...ROUTING_ROUTES,
  ...CHANGE_ROUTES,
  ...EVENT_ROUTES,
  ...IPTABLES_ROUTES,
  ...METRICS_ROUTES,
  ...EXPLAIN_ROUTES,
  ...CAPTURE_ROUTES,
  ...TOP_ROUTES,
  ...TRACE_ROUTES,
  ...SNAPSHOT_ROUTES,
  ...UPGRADE_ROUTES,
  {
    method: "GET",
    path: "/v1/openapi.json",
    summary: "This document.",
    answer: Type.Object({ openapi: Type.String() }),
    handle: async () => openApiDocument(ROUTES),
  },
];
