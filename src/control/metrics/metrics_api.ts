/** `/metrics` on the router's own socket. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Type } from "typebox";
import type { ApiRoute } from "../api_route.ts";
import { collectMetrics, type MetricsSource } from "./collect.ts";
import { CONTENT_TYPE, formatFamilies } from "./exposition.ts";

export async function sendMetrics(
  router: MetricsSource,
  _request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const text = formatFamilies(await collectMetrics(router));
  response.writeHead(200, { "content-type": CONTENT_TYPE });
  response.end(text);
}

export const METRICS_ROUTES: readonly ApiRoute[] = [
  {
    method: "GET",
    path: "/metrics",
    summary: "Metrics for Prometheus, in its text format.",
    answer: Type.String(),
    mediaType: "text/plain",
    stream: sendMetrics,
  },
];
