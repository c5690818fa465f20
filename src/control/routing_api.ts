/** Routing over HTTP: what `tapir route`, `tapir rule` and `tapir neigh` ask. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Type } from "typebox";
import type { NeighbourRow } from "../dataplane/messages.ts";
import { parseMac } from "../packet/mac_address.ts";
import { TableId } from "../routing/policy.ts";
import { type ApiRoute, text } from "./api_route.ts";
import { readMark } from "./configuration/build_routing.ts";
import { ExitCode, TapirError } from "./errors.ts";
import { sendArray } from "./flow_api.ts";
import type { RunningRouter } from "./router.ts";
import { addressOf, ingressNamed, interfaceNamed, refuse } from "./routing/context.ts";
import { RouteErrors } from "./routing/route_list.ts";
import { operate } from "./routing/route_operations.ts";
import { foundRow, routeRows, ruleRow } from "./routing/rows.ts";
import { operateOnRules } from "./routing/rule_operations.ts";
import {
  FollowedSchema,
  type FoundRow,
  FoundRowSchema,
  type NeighbourOperation,
  NeighbourOperationSchema,
  type RouteOperation,
  RouteOperationSchema,
  type RouteRow,
  RouteRowSchema,
  type RuleOperation,
  RuleOperationSchema,
  RuleRowSchema,
} from "./routing/schemas.ts";

/** Operations of one request: some hundred bytes each. */
const MOST_OPERATIONS = 2000;
const OPERATIONS_BYTES = 1 << 20;

const DoneSchema = Type.Object({
  done: Type.Integer({ description: "Operations that were carried out, from the first on." }),
  errors: Type.Array(Type.Object({ index: Type.Integer(), error: Type.String() }), {
    description: "What was wrong with others.",
  }),
});

export const ROUTING_ROUTES: readonly ApiRoute[] = [
  {
    method: "GET",
    path: "/v1/routing/routes",
    summary: "Routes of a table, connected ones included, one a line.",
    query: { table: text("Table, by number or name, or `all`. Default: main.") },
    answer: Type.Array(RouteRowSchema),
    stream: sendRoutes,
  },
  {
    method: "POST",
    path: "/v1/routing/routes",
    summary: "Changes routes, one operation after the other.",
    body: Type.Object({
      operations: Type.Array(RouteOperationSchema, { maxItems: MOST_OPERATIONS }),
      force: Type.Optional(Type.Boolean({ description: "Go on after an operation that is refused." })),
    }),
    bodyLimitBytes: OPERATIONS_BYTES,
    answer: DoneSchema,
    handle: (router, { body }) => changeRoutes(router, body as RoutesBody),
  },
  {
    method: "GET",
    path: "/v1/routing/lookup",
    summary: "Which way a packet would take, as the dataplane answers.",
    query: {
      to: text("Destination."),
      from: text("Source. Default: the router's own."),
      iif: text("Network, port or uplink that it comes in through."),
      mark: text("Its mark."),
    },
    answer: FoundRowSchema,
    handle: (router, { query }) => lookUp(router, query),
  },
  {
    method: "GET",
    path: "/v1/routing/rules",
    summary: "Rules of policy routing, in the order in which they are asked.",
    answer: Type.Array(RuleRowSchema),
    handle: async (router) => [
      { priority: 0, from: "all", table: "local" },
      ...router.routing.rules.map((rule) => ruleRow(rule, router.resolved)),
    ],
  },
  {
    method: "POST",
    path: "/v1/routing/rules",
    summary: "Changes a rule of policy routing.",
    body: RuleOperationSchema,
    answer: Type.Object({}),
    handle: async (router, { body }) => {
      await router.routing.setRules((rules) => operateOnRules(rules, body as RuleOperation, router.resolved));
    },
  },
  {
    method: "POST",
    path: "/v1/routing/neighbours",
    summary: "Makes a neighbour permanent, or forgets one.",
    body: NeighbourOperationSchema,
    answer: Type.Object({}),
    handle: (router, { body }) => changeNeighbour(router, body as NeighbourOperation),
  },
  {
    method: "GET",
    path: "/v1/routing/followed",
    summary: "Kernels' routing tables that are followed.",
    answer: Type.Array(FollowedSchema),
    handle: async (router) => router.routing.followed(),
  },
];

interface RoutesBody {
  operations: RouteOperation[];
  force?: boolean;
}

/** What was done before an operation that is refused stays done, as with `ip -batch`. */
async function changeRoutes(router: RunningRouter, { operations, force }: RoutesBody): Promise<object> {
  const errors: { index: number; error: string }[] = [];
  let done = 0;
  await router.routing.change(() => {
    for (const [index, operation] of operations.entries()) {
      try {
        operate(router.routing.routes, operation, router.resolved);
        done++;
      } catch (error) {
        if (!(error instanceof TapirError)) throw error;
        errors.push({ index, error: error.message });
        if (force !== true) break;
      }
    }
  });
  return { done, errors };
}

async function sendRoutes(router: RunningRouter, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { resolved, routing } = router;
  const asked = new URL(request.url ?? "/", "http://router").searchParams.get("table") ?? "main";
  const tables =
    asked === "all"
      ? [...new Set([...routing.routes.tableNumbers.filter((table) => table !== TableId.MAIN), TableId.MAIN])]
      : [resolved.tables.read(asked, [], refuse) as number];
  await sendArray(response, rowsOf(router, tables));
}

function* rowsOf({ resolved, routing }: RunningRouter, tables: readonly number[]): Generator<RouteRow> {
  for (const table of tables) yield* routeRows(routing.routes, table, resolved);
}

async function lookUp(router: RunningRouter, query: URLSearchParams): Promise<FoundRow> {
  const { resolved } = router;
  const to = query.get("to");
  if (to === null) throw new TapirError("which destination?", ExitCode.USAGE);
  const destination = addressOf(to);
  const from = query.get("from");
  const iif = query.get("iif");
  const mark = query.get("mark");
  const ingress = iif === null ? undefined : ingressNamed(resolved, iif);
  const port = ingress !== undefined && "port" in ingress ? ingress.port : -1;
  const owner = resolved.plan.ports.find(({ index }) => index === port)?.interface ?? -1;
  const value = mark === null ? 0 : (readMark(mark, [], refuse)?.value ?? 0);
  const found = await router.findRoute({
    destination,
    source: from === null ? 0 : addressOf(from),
    mark: value,
    interface: ingress !== undefined && "interface" in ingress ? ingress.interface : owner,
    port,
  });
  const asked = {
    ...(from === null ? {} : { from }),
    ...(iif === null ? {} : { iif }),
    ...(mark === null ? {} : { mark: value >>> 0 }),
  };
  return foundRow(found, destination, asked, resolved);
}

async function changeNeighbour(router: RunningRouter, operation: NeighbourOperation): Promise<void> {
  const { op, dev, lladdr } = operation;
  const owner = interfaceNamed(router.resolved, dev).index;
  const address = addressOf(operation.address);
  if (op === "del") {
    if (!(await router.routing.removeNeighbour({ interface: owner, address }))) {
      throw new TapirError(RouteErrors.NO_FILE);
    }
    return;
  }
  if (lladdr === undefined || !/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(lladdr)) {
    throw new TapirError(`"lladdr" needs a hardware address like 02:00:00:00:00:02`, ExitCode.USAGE);
  }
  if ((parseMac(lladdr).high & 0x0100) !== 0) throw new TapirError(`${lladdr} is a multicast address`);
  const known = (await router.show("neighbours")) as NeighbourRow[];
  const isKnown = known.some((each) => each.interface === owner && each.address === operation.address);
  if (op === "add" && isKnown) throw new TapirError(RouteErrors.EXISTS);
  if (op === "change" && !isKnown) throw new TapirError(RouteErrors.NO_FILE);
  await router.routing.setNeighbour({ interface: owner, address, mac: lladdr.toLowerCase() });
}
