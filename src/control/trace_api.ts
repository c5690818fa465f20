/** `trace` over HTTP: walks of live packets, newline-separated JSON as they happen. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Type } from "typebox";
import type { TracePiece } from "../dataplane/explain/tracer.ts";
import { compileExpression, ExpressionError } from "../pcap_filter/expression.ts";
import { type ApiRoute, text } from "./api_route.ts";
import { ExitCode, TapirError, UnknownNameError } from "./errors.ts";
import { WalkSchema } from "./explain_api.ts";
import type { RunningRouter } from "./router.ts";

const READ_INTERVAL_MS = 100;
/** Bytes that may wait for a reader who does not keep up; then it is not asked for more, and the ring counts what is lost. */
const WAITING_LIMIT = 4 << 20;
const DEFAULT_PER_SECOND = 100;
const MOST_PER_SECOND = 1000;

export const TRACE_ROUTES: readonly ApiRoute[] = [
  {
    method: "GET",
    path: "/v1/trace",
    summary:
      'Walks of live packets that an expression selects, as they come in; { "lost": number } for what was not recorded.',
    query: {
      filter: text("An expression of pcap-filter(7), about the frame as it comes in; every frame unless said."),
      port: text("Only what comes in by this port."),
      rate: text(`Walks a second at most, up to ${MOST_PER_SECOND}; ${DEFAULT_PER_SECOND} unless said.`),
    },
    answer: Type.Union([WalkSchema, Type.Object({ lost: Type.Integer({ minimum: 1 }) })]),
    mediaType: "application/x-ndjson",
    stream: sendTrace,
  },
];

interface TraceWish {
  program: number[];
  port: number;
  perSecond: number;
}

function readWish(router: RunningRouter, request: IncomingMessage): TraceWish {
  const { searchParams } = new URL(request.url ?? "/", "http://tapir");
  const name = searchParams.get("port");
  const rate = searchParams.get("rate");
  const perSecond = rate === null ? DEFAULT_PER_SECOND : Number(rate);
  if (!Number.isInteger(perSecond) || perSecond < 1 || perSecond > MOST_PER_SECOND) {
    throw new TapirError(`rate is a whole number from 1 to ${MOST_PER_SECOND}, not '${rate}'`, ExitCode.USAGE);
  }
  return { program: readProgram(searchParams.get("filter") ?? ""), port: portOf(router, name), perSecond };
}

function portOf(router: RunningRouter, name: string | null): number {
  if (name === null) return -1;
  const { ports } = router.resolved.plan;
  const port = ports.find((each) => each.name === name);
  if (port !== undefined) return port.index;
  throw new UnknownNameError(`no port is called "${name}"; there are ${ports.map((each) => each.name).join(", ")}`);
}

function readProgram(filter: string): number[] {
  try {
    return [...compileExpression(filter)];
  } catch (error) {
    if (error instanceof ExpressionError) throw new TapirError(error.message, ExitCode.USAGE);
    throw error;
  }
}

/** Until the reader goes away. The head of the answer is sent when nothing is missed any more. */
async function sendTrace(router: RunningRouter, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { program, port, perSecond } = readWish(router, request);
  const trace = await router.startTrace(program, port, perSecond);
  try {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    response.flushHeaders();
    while (!response.destroyed) {
      if (response.writableLength < WAITING_LIMIT) write(response, await router.readTrace(trace));
      await sleep(READ_INTERVAL_MS);
    }
  } finally {
    // A dataplane that has ended needs no telling.
    await router.stopTrace(trace).catch(() => {});
  }
}

function write(response: ServerResponse, { walks, lost }: TracePiece): void {
  for (const walk of walks) response.write(`${JSON.stringify(walk)}\n`);
  if (lost > 0) response.write(`${JSON.stringify({ lost })}\n`);
}
