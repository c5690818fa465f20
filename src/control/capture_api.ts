/**
 * Captures over HTTP: the answer is a pcapng file that grows as frames pass, so
 *
 *     curl -sN --unix-socket /run/tapir/tapir.sock 'http://tapir/v1/capture?filter=icmp' | tshark -r -
 *
 * shows them live. It ends after `count` packets, when the client goes away, or, with its statistics, after a
 * `DELETE /v1/captures/ID`; the header `tapir-capture` says which ID.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Type } from "typebox";
import { HOOK_NAMES, type HookName, LONGEST_SNAP_BYTES } from "../dataplane/capture_ring.ts";
import { ExpressionError } from "../pcap_filter/expression.ts";
import { type ApiRoute, text } from "./api_route.ts";
import { DEFAULT_HOOKS } from "./capture_file.ts";
import type { CaptureWish } from "./captures.ts";
import { suggestion } from "./configuration/nearest.ts";
import { ExitCode, TapirError } from "./errors.ts";
import type { RunningRouter } from "./router.ts";

function usage(message: string): TapirError {
  return new TapirError(message, ExitCode.USAGE);
}

/** Names of hooks, separated by commas; throws where one is none. */
export function parseHooks(list: string): HookName[] {
  const names = list.split(",").map((name) => name.trim());
  for (const name of names) {
    if ((HOOK_NAMES as readonly string[]).includes(name)) continue;
    const known = `the hook points are ${HOOK_NAMES.join(", ")}`;
    throw usage(`at: "${name}" is no hook point${suggestion(name, HOOK_NAMES)}; ${known}`);
  }
  return HOOK_NAMES.filter((name) => names.includes(name));
}

function readNumber(name: string, value: string | null, most: number): number {
  if (value === null) return 0;
  if (!/^[0-9]{1,10}$/.test(value) || Number(value) > most) {
    throw usage(`${name}: '${value}' is no number from 0 to ${most}`);
  }
  return Number(value);
}

function readWish(request: IncomingMessage): CaptureWish {
  const { searchParams } = new URL(request.url ?? "/", "http://tapir");
  const at = searchParams.get("at");
  const name = searchParams.get("in");
  const snapBytes = readNumber("snaplen", searchParams.get("snaplen"), LONGEST_SNAP_BYTES);
  return {
    hooks: at === null ? DEFAULT_HOOKS : parseHooks(at),
    ...(name === null ? {} : { name }),
    expression: searchParams.get("filter") ?? "",
    snapBytes: snapBytes === 0 ? LONGEST_SNAP_BYTES : snapBytes,
    count: readNumber("count", searchParams.get("count"), 2 ** 31),
  };
}

async function sendCapture(router: RunningRouter, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const wish = readWish(request);
  try {
    const capture = await router.captures.start(wish, response, (id) => {
      response.writeHead(200, { "content-type": "application/x-pcapng", "tapir-capture": String(id) });
    });
    await capture.done;
  } catch (error) {
    if (error instanceof ExpressionError) throw usage(error.message);
    throw error;
  }
}

const ID = /^[1-9][0-9]{0,9}$/;

export const CAPTURE_ROUTES: readonly ApiRoute[] = [
  {
    method: "GET",
    path: "/v1/capture",
    summary: "Frames as they pass the router, as a pcapng file that grows; `DELETE /v1/captures/{id}` ends it.",
    query: {
      at: text(`A list of ${HOOK_NAMES.join(", ")}; ${DEFAULT_HOOKS.join(" and ")} unless said.`),
      in: text("One port, network or uplink."),
      filter: text("An expression of pcap-filter(7)."),
      snaplen: text("Bytes of each frame that are kept; 0 for all."),
      count: text("Frames after which it ends; 0 for none."),
    },
    mediaType: "application/x-pcapng",
    answer: Type.String({ description: "The header `tapir-capture` holds the capture's id." }),
    stream: sendCapture,
  },
  {
    method: "DELETE",
    path: "/v1/captures/{id}",
    summary: "Ends a capture: what is still on its way is written, then its statistics.",
    answer: Type.Object({ finished: Type.Integer() }),
    handle: async (router, { params }) => {
      if (!ID.test(params.id)) throw usage(`'${params.id}' is no capture`);
      router.captures.finish(Number(params.id));
      return { finished: Number(params.id) };
    },
  },
];
