/**
 * The HTTP API over its socket, with a router of cardboard behind it: requests of any shape, several connections at once.
 * Each must be answered or refused, none with 500, and afterwards the server still serves.
 */
import { mkdtempSync, rmSync } from "node:fs";
import type { Server } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createApi } from "../../src/control/api.ts";
import { ROUTES } from "../../src/control/api_routes.ts";
import { type Configuration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { TapirError } from "../../src/control/errors.ts";
import type { RunningRouter } from "../../src/control/router.ts";
import type { Dice } from "../dice.ts";
import { mutateText } from "../mutate_text.ts";
import { insist, type Target } from "../target.ts";
import { kindOf } from "./texts.ts";

const CONFIGURATION: Configuration = {
  version: 1,
  networks: { lab: { subnet: "10.55.66.0/29", ports: { c1: { netns: "c1", address: "10.55.66.2" } } } },
};

/** What no cardboard router has: anything may be asked of it, and whatever is called is refused. */
function refuse(): never {
  throw new TapirError("of cardboard");
}

function nothing(): unknown {
  return new Proxy(refuse, { get: (_, name) => (name === "then" ? undefined : nothing()) });
}

function cardboard(): RunningRouter {
  const known: Record<string | symbol, unknown> = {
    configuration: CONFIGURATION,
    resolved: resolvePlan(CONFIGURATION),
    flows: { count: 2, flows: () => [{ n: 1 }, { n: 2 }] },
    show: async (table: string) => (["fdb", "neighbours", "ports", "drops"].includes(table) ? [] : refuse()),
    ports: async () => [],
    log: () => {},
  };
  return new Proxy(known, {
    get: (target, name) => (Object.hasOwn(target, name) ? target[name] : nothing()),
  }) as unknown as RunningRouter;
}

const VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1e308,
  "",
  "lab",
  "c1",
  "udp > 10.55.66.2:53",
  "version: 1\n",
  "*filter\nCOMMIT\n",
  ["-L"],
  ["-A", "FORWARD", "-j", "ACCEPT"],
  [],
  {},
  { __proto__: 1 },
  [[[[]]]],
  "\0",
  "a".repeat(5_000),
];

interface Schema {
  properties?: Record<string, Schema>;
}

function bodyOf(dice: Dice, schema: Schema): string {
  const names = [...Object.keys(schema.properties ?? {}), "constructor", "extra"];
  const body: Record<string, unknown> = {};
  for (const name of names) if (!dice.once(3)) body[name] = dice.pick(VALUES);
  delete body.extra;
  return JSON.stringify(dice.once(10) ? dice.pick(VALUES) : body);
}

/** A request of a route, mostly of the right form. */
function requestOf(dice: Dice): string {
  const { method, path, query, ...route } = dice.pick(ROUTES);
  const steps = path.replace(/\{\w+\}/g, () => dice.pick(["lab", "c1", "1", "%2f", "%00", "%ff", "..", "constructor"]));
  const asked = Object.keys(query ?? {}).filter(() => dice.once(2));
  const values = ["", "1", "-1", "tcp", "10.55.66.2", "%zz", "%00", "NEW,ALL", "4294967296", "a".repeat(300)];
  const search = asked.map((name) => `${name}=${dice.pick(values)}`).join("&");
  const body = "body" in route && route.body !== undefined ? bodyOf(dice, route.body as Schema) : "";
  const length = dice.once(12) ? dice.pick(["-1", "1e3", "99999999999", "0", "5"]) : String(Buffer.byteLength(body));
  const head = [
    `${method} ${steps}${search === "" ? "" : `?${search}`} HTTP/1.1`,
    "host: router",
    dice.once(8) ? "connection: keep-alive" : "connection: close",
    body === "" ? "x: y" : `content-length: ${length}`,
    body === ""
      ? "x: z"
      : `content-type: ${dice.pick(["application/json", "application/json; charset=x", "text/plain"])}`,
  ];
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}

/** Longest request; larger ones are made by `huge`. */
const huge = (dice: Dice): string =>
  `PUT /v1/configuration HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n${`ffff\r\n${"a".repeat(0xffff)}\r\n`.repeat(1 + dice.below(3))}`;

function generate(dice: Dice, corpus: readonly string[][]): string[] {
  if (dice.once(200)) return [huge(dice)];
  const seeds = [requestOf(dice), requestOf(dice), ...(corpus.length > 0 ? dice.pick(corpus) : [])];
  return Array.from({ length: 1 + dice.below(4) }, () => (dice.once(2) ? requestOf(dice) : mutateText(dice, seeds, 3)));
}

class Api {
  private readonly folder = mkdtempSync(join(tmpdir(), "tapir-fuzz-"));
  private readonly path = join(this.folder, "t.sock");
  private readonly server: Server = createApi(cardboard());

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(this.path, resolve));
    return this;
  }

  /** Sends bytes and nothing more; the answer is what came until the server closed. */
  exchange(request: string): Promise<string> {
    return new Promise((resolve) => {
      const socket = connect({ path: this.path });
      let answer = "";
      socket.setEncoding("latin1").on("data", (part: string) => {
        if (answer.length < 10_000) answer += part;
      });
      // A server may close before it has read all.
      socket.on("error", () => {});
      socket.on("close", () => resolve(answer));
      socket.end(request);
    });
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

let api: Api | undefined;

async function run(requests: readonly string[]): Promise<string[]> {
  api ??= await new Api().listen();
  const { exchange } = api;
  const strays: unknown[] = [];
  const note = (error: unknown): void => void strays.push(error);
  process.on("uncaughtException", note).on("unhandledRejection", note);
  try {
    const answers = await Promise.all(requests.map((request) => exchange.call(api, request)));
    const health = await exchange.call(api, "GET /v1/names HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    insist(strays.length === 0, () => `thrown outside of a request: ${strays[0]}`);
    insist(health.startsWith("HTTP/1.1 200"), () => `serves no more: ${health.slice(0, 100)}`);
    for (const answer of answers) insist(!/^HTTP\/1.1 500/m.test(answer), () => `500: ${answer.slice(-300)}`);
    return answers.map((answer) => kindOf(`${answer.slice(9, 12)} ${answer.split("\r\n\r\n")[1] ?? ""}`));
  } finally {
    process.off("uncaughtException", note).off("unhandledRejection", note);
  }
}

export const API: Target<string[]> = {
  name: "api",
  about: "HTTP requests over the socket, several connections at once",
  generate,
  run,
  *shrink(requests) {
    for (const [at, request] of requests.entries()) {
      yield requests.toSpliced(at, 1);
      for (let cut = request.length >> 1; cut >= 1; cut >>= 1) yield requests.with(at, request.slice(0, -cut));
    }
  },
  async close() {
    await api?.close();
    api = undefined;
  },
};
