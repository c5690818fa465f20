/**
 * A client of a running router's API, for other programs. Every answer has the type that the OpenAPI document gives it.
 *
 *     const client = new TapirClient();                 // or new TapirClient("/run/tapir/other.sock")
 *     for (const port of await client.ports()) console.log(port.name, port.state);
 */
import { type IncomingMessage, request } from "node:http";
import { createInterface } from "node:readline";
import type {
  AttachWish,
  Chain,
  Drop,
  Flow,
  FlowEvent,
  NatRule,
  Neighbour,
  Port,
  Route,
  Station,
} from "../control/api_schemas.ts";
import type { Attached } from "../control/attach.ts";
import type { AppliedAnswer, DifferenceAnswer, HistoryAnswer, HistoryRow } from "../control/change_api.ts";
import type { ApplyWish } from "../control/changes.ts";
import type { Configuration } from "../control/configuration/schema.ts";
import { DEFAULT_SOCKET } from "../control/default_socket.ts";
import type { DropsEvent, LinkEvent } from "../control/events_api.ts";
import type { DataplaneEvent } from "../control/supervisor.ts";

const PATIENCE_MS = 30_000;

/** What the router says is wrong, or that it does not answer. */
export class TapirClientError extends Error {
  /** HTTP status; undefined where nothing has answered. */
  readonly status: number | undefined;
  /** What a command would end with. */
  readonly exitCode: number;

  constructor(message: string, status?: number, exitCode = 4) {
    super(message);
    this.status = status;
    this.exitCode = exitCode;
  }
}

/** Names as conntrack(8)'s long options: `{ proto: "tcp", src: "10.55.66.0/24" }`. */
export type FlowFilterWords = Readonly<Record<string, string>>;

export type TapirEvent =
  | { event: "flow"; data: FlowEvent }
  | { event: "link"; data: LinkEvent }
  | { event: "drops"; data: DropsEvent }
  | { event: "change"; data: HistoryRow }
  | { event: "dataplane"; data: DataplaneEvent }
  /** So many events could not be told, because they were not read in time. */
  | { event: "lost"; data: { lost: number } };

export interface EventOptions {
  /** All unless said. */
  topics?: readonly ("flows" | "links" | "drops" | "changes" | "dataplane")[];
  /** Of flow events: which flows. */
  filter?: FlowFilterWords;
  /** Of flow events: a list of NEW, UPDATES, DESTROY, ALL. */
  kinds?: string;
  /** Ends the stream. */
  signal?: AbortSignal;
}

export class TapirClient {
  readonly socket: string;

  constructor(socket: string = process.env.TAPIR_SOCKET ?? DEFAULT_SOCKET) {
    this.socket = socket;
  }

  ports(): Promise<Port[]> {
    return this.ask("GET", "/v1/ports");
  }

  stations(): Promise<Station[]> {
    return this.ask("GET", "/v1/fdb");
  }

  neighbours(): Promise<Neighbour[]> {
    return this.ask("GET", "/v1/neighbours");
  }

  routes(): Promise<Route[]> {
    return this.ask("GET", "/v1/routes");
  }

  rules(): Promise<Record<string, Chain>> {
    return this.ask("GET", "/v1/rules");
  }

  nat(): Promise<NatRule[]> {
    return this.ask("GET", "/v1/nat");
  }

  drops(): Promise<Drop[]> {
    return this.ask("GET", "/v1/drops");
  }

  stats(): Promise<Record<string, number>> {
    return this.ask("GET", "/v1/stats");
  }

  flows(filter: FlowFilterWords = {}): Promise<Flow[]> {
    return this.ask("GET", withQuery("/v1/flows", filter));
  }

  /** Ends the flows of a filter; returns how many they were. */
  async removeFlows(filter: FlowFilterWords = {}): Promise<number> {
    const path = withQuery("/v1/flows", { ...filter, quiet: "1" });
    return (await this.ask<{ removed: number }>("DELETE", path)).removed;
  }

  attach(wish: AttachWish): Promise<Attached> {
    return this.ask("POST", "/v1/ports", wish);
  }

  detach(name: string): Promise<{ name: string; network: string }> {
    return this.ask("DELETE", `/v1/ports/${encodeURIComponent(name)}`);
  }

  /** The configuration in force. */
  configuration(): Promise<Configuration> {
    return this.ask("GET", "/v1/configuration");
  }

  /** What applying a configuration (YAML or data) would change. */
  difference(wish: Omit<ApplyWish, "confirmSeconds">): Promise<DifferenceAnswer> {
    return this.ask("POST", "/v1/configuration/difference", wish);
  }

  apply(wish: ApplyWish): Promise<AppliedAnswer> {
    return this.ask("PUT", "/v1/configuration", wish);
  }

  confirm(): Promise<HistoryRow> {
    return this.ask("POST", "/v1/configuration/confirm");
  }

  rollback(number?: number): Promise<AppliedAnswer> {
    return this.ask("POST", "/v1/configuration/rollback", number === undefined ? {} : { number });
  }

  history(): Promise<HistoryAnswer> {
    return this.ask("GET", "/v1/configuration/history");
  }

  /** Any route of the API. Rejects with a `TapirClientError`. */
  async ask<T>(method: string, path: string, body?: object): Promise<T> {
    const response = await this.send(method, path, body);
    const text = await textOf(response);
    let answer: T & { error?: string; exitCode?: number };
    try {
      answer = JSON.parse(text) as typeof answer;
    } catch {
      throw new TapirClientError(`what answers on ${this.socket} is not a router`, response.statusCode);
    }
    if (response.statusCode === 200) return answer;
    throw new TapirClientError(answer.error ?? text, response.statusCode, answer.exitCode ?? 1);
  }

  /** What happens from now on, until the signal or the end of the loop; throws when the router ends. */
  async *events({ topics, filter = {}, kinds, signal }: EventOptions = {}): AsyncGenerator<TapirEvent> {
    const query = {
      ...filter,
      ...(topics === undefined ? {} : { topics: topics.join(",") }),
      ...(kinds === undefined ? {} : { kinds }),
    };
    const response = await this.send("GET", withQuery("/v1/events", query), undefined, signal);
    if (response.statusCode !== 200) throw new TapirClientError(await textOf(response), response.statusCode, 1);
    response.socket.setTimeout(0);
    let event = "";
    try {
      for await (const line of createInterface({ input: response })) {
        if (line.startsWith("event: ")) event = line.slice(7);
        else if (line.startsWith("data: ")) yield { event, data: JSON.parse(line.slice(6)) } as TapirEvent;
      }
    } catch (error) {
      if (signal?.aborted !== true) throw new TapirClientError((error as Error).message);
    } finally {
      response.destroy();
    }
    if (signal?.aborted !== true) throw new TapirClientError("the router has ended");
  }

  private send(method: string, path: string, body?: object, signal?: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const call = request({
        socketPath: this.socket,
        method,
        path,
        timeout: PATIENCE_MS,
        ...(signal === undefined ? {} : { signal }),
      });
      call.once("response", resolve);
      call.once("timeout", () => call.destroy(new Error("timed out")));
      call.on("error", ({ message }) =>
        reject(new TapirClientError(`no router answers on ${this.socket}: ${message}`)),
      );
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

function withQuery(path: string, words: Readonly<Record<string, string>>): string {
  const query = new URLSearchParams(words).toString();
  return query === "" ? path : `${path}?${query}`;
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  response.setEncoding("utf8");
  for await (const chunk of response) text += chunk;
  return text;
}
