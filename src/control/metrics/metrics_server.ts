/**
 * `/metrics` on a TCP port, for a Prometheus that cannot read a unix socket. It serves nothing else. It listens where
 * the configuration in force says, and changes with it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Endpoint } from "../configuration/configuration.ts";
import { ExitCode, type SystemError, TapirError } from "../errors.ts";
import type { MetricsSource } from "./collect.ts";
import { sendMetrics } from "./metrics_api.ts";

/** Requests that may be open at once: each reads the whole flow table. */
const MOST_CONNECTIONS = 16;
const REQUEST_TIMEOUT_MS = 30_000;

export class MetricsServer {
  private readonly source: MetricsSource;
  private server: Server | undefined;
  private endpoint: Endpoint | undefined;

  constructor(source: MetricsSource) {
    this.source = source;
  }

  /** Listens at `endpoint` from now on, or nowhere. When it throws, it listens where it did before. */
  async follow(endpoint: Endpoint | undefined): Promise<void> {
    if (endpoint?.address === this.endpoint?.address && endpoint?.port === this.endpoint?.port) return;
    const next = endpoint === undefined ? undefined : await this.listen(endpoint);
    this.close();
    this.server = next;
    this.endpoint = endpoint;
  }

  close(): void {
    this.server?.close();
    this.server?.closeAllConnections();
    this.server = undefined;
    this.endpoint = undefined;
  }

  private listen({ address, port }: Endpoint): Promise<Server> {
    const server = createServer((request, response) => this.answer(request, response));
    server.maxConnections = MOST_CONNECTIONS;
    server.requestTimeout = REQUEST_TIMEOUT_MS;
    return new Promise((resolve, reject) => {
      server.once("error", (error: SystemError) => reject(explain(error, address, port)));
      server.listen(port, address, () => resolve(server));
    });
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const [path] = (request.url ?? "/").split("?", 1);
    const refuse = (status: number, text: string): void => {
      response.writeHead(status, { "content-type": "text/plain" });
      response.end(`${text}\n`);
    };
    if (path !== "/metrics") refuse(404, "only /metrics is here");
    else if (request.method !== "GET") refuse(405, "only GET here");
    else {
      sendMetrics(this.source, request, response).catch((error: Error) => {
        if (response.headersSent) response.destroy();
        else refuse(503, error.message);
      });
    }
  }
}

function explain(error: SystemError, address: string, port: number): TapirError {
  const code = error.code === "EACCES" ? ExitCode.PRIVILEGE : ExitCode.FAILED;
  return new TapirError(`control.metrics: cannot listen on ${address}:${port}: ${error.message}`, code);
}
