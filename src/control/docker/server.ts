/** The driver's server: Docker's calls over HTTP, each checked against its schema before the driver sees it. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { TSchema } from "typebox";
import { TapirError } from "../errors.ts";
import { checkAgainst, HttpError, parseBody, readBytes, sendJson } from "../http_json.ts";
import type { DockerDriver } from "./driver.ts";
import {
  AnySchema,
  CONTENT_TYPE,
  type CreateEndpoint,
  CreateEndpointSchema,
  type CreateNetwork,
  CreateNetworkSchema,
  type EndpointRef,
  EndpointRefSchema,
  type Join,
  JoinSchema,
  Label,
  type NetworkRef,
  NetworkRefSchema,
  PortMapSchema,
  type Program,
  ProgramSchema,
} from "./protocol.ts";

/** Longest request in bytes: a container may publish thousands of ports. */
const BODY_LIMIT_BYTES = 4 << 20;
const REQUEST_TIMEOUT_MS = 30_000;

interface Call {
  schema: TSchema;
  run(driver: DockerDriver, body: never): Promise<object>;
}

const call = <T>(schema: TSchema, run: (driver: DockerDriver, body: T) => Promise<object>): Call => ({ schema, run });
const nothing = (answer: object): Call => call(AnySchema, async () => answer);
const ofSwarm = call(AnySchema, async () => {
  throw new TapirError("networks of a swarm are not supported: the driver's scope is local");
});

const CALLS: Readonly<Record<string, Call>> = {
  "/Plugin.Activate": nothing({ Implements: ["NetworkDriver"] }),
  "/NetworkDriver.GetCapabilities": nothing({ Scope: "local", ConnectivityScope: "local" }),
  "/NetworkDriver.AllocateNetwork": ofSwarm,
  "/NetworkDriver.FreeNetwork": ofSwarm,
  "/NetworkDriver.CreateNetwork": call<CreateNetwork>(CreateNetworkSchema, (driver, body) =>
    driver.createNetwork(body),
  ),
  "/NetworkDriver.DeleteNetwork": call<NetworkRef>(NetworkRefSchema, (driver, body) => driver.deleteNetwork(body)),
  "/NetworkDriver.CreateEndpoint": call<CreateEndpoint>(CreateEndpointSchema, (driver, body) =>
    driver.createEndpoint(body),
  ),
  "/NetworkDriver.DeleteEndpoint": call<EndpointRef>(EndpointRefSchema, (driver, body) => driver.deleteEndpoint(body)),
  "/NetworkDriver.EndpointOperInfo": call<EndpointRef>(EndpointRefSchema, (driver, body) => driver.endpointInfo(body)),
  "/NetworkDriver.Join": call<Join>(JoinSchema, (driver, body) => driver.join(body)),
  "/NetworkDriver.Leave": call<EndpointRef>(EndpointRefSchema, (driver, body) => driver.leave(body)),
  "/NetworkDriver.ProgramExternalConnectivity": call<Program>(ProgramSchema, (driver, body) => {
    checkAgainst(PortMapSchema, body.Options?.[Label.PORT_MAP] ?? [], Label.PORT_MAP);
    return driver.publish(body);
  }),
  "/NetworkDriver.RevokeExternalConnectivity": call<EndpointRef>(EndpointRefSchema, (driver, body) =>
    driver.unpublish(body),
  ),
  "/NetworkDriver.DiscoverNew": nothing({}),
  "/NetworkDriver.DiscoverDelete": nothing({}),
};

export function createDockerServer(driver: DockerDriver): Server {
  const server = createServer((request, response) => {
    answer(driver, request, response).catch((error: Error) => fail(response, error));
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  return server;
}

async function answer(driver: DockerDriver, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [path] = (request.url ?? "/").split("?", 1);
  // Docker takes this status for a call that a driver does not have.
  if (!Object.hasOwn(CALLS, path)) throw new HttpError(404, `no such call: ${path}`);
  if (request.method !== "POST") throw new HttpError(405, "only POST here", { allow: "POST" });
  const bytes = await readBytes(request, BODY_LIMIT_BYTES);
  const body = bytes.length === 0 ? {} : parseBody(bytes);
  const { schema, run } = CALLS[path];
  checkAgainst(schema, body);
  say(response, 200, await run(driver, body as never));
}

function say(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  sendJson(response, status, body, { ...headers, "content-type": CONTENT_TYPE });
}

/** Docker shows `Err` to its user, on one line. */
function fail(response: ServerResponse, error: Error): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body = { Err: error.message.replaceAll("\n", "; ") };
  if (error instanceof HttpError) say(response, error.status, body, error.headers);
  else say(response, error instanceof TapirError ? 200 : 500, body);
}
