/** The API of a running router beside its OpenAPI document, the event stream, and the client. */
import { request } from "node:http";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { TapirClient, type TapirEvent } from "../../src/client/client.ts";
import { EVENT_SCHEMAS } from "../../src/control/events_api.ts";
import { ip, namespace, ping, type RunningRouter, requireSystem } from "../support/netns.ts";
import { Address, tapirWorld } from "./worlds.ts";

const canRun = requireSystem(["ping"], "the API of a running router");

const ajv = new Ajv2020({ strict: false });

interface Operation {
  parameters?: { name: string; in: string }[];
  responses: { "200": { content: Record<string, { schema: object }> } };
}

interface Document {
  paths: Record<string, { get?: Operation }>;
}

const JSON_TYPE = "application/json";

function get(socketPath: string, path: string): Promise<{ status: number; type: string; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, type: response.headers["content-type"] ?? "", text }),
      );
    });
    call.on("error", reject);
    call.end();
  });
}

async function world() {
  const made = await tapirWorld();
  const router = made.tapir as RunningRouter;
  expect(ping(made.c1, Address.SERVER)).toBe(true);
  return { ...made, router, client: new TapirClient(router.socket) };
}

describe.skipIf(!canRun)("the API of a running router", () => {
  it("answers every route that can be read as its document says", async () => {
    const { router, client } = await world();
    const { paths } = await client.ask<Document>("GET", "/v1/openapi.json");
    const readable = Object.entries(paths).flatMap(([path, { get: operation }]) => {
      // What is not JSON is a stream, which may have no end, or a text.
      const isJson = operation !== undefined && JSON_TYPE in operation.responses["200"].content;
      return isJson ? [[path, operation] as const] : [];
    });
    expect(readable.length).toBeGreaterThan(15);
    let answered = 0;
    for (const [path, operation] of readable) {
      const { status, type, text } = await get(router.socket, path.replace("{number}", "1").replace(/\{\w+\}/g, "c1"));
      // Some need a query; what they say then is an error of the document's form.
      if (status === 400 || status === 404) {
        expect([path, JSON.parse(text)]).toEqual([path, { error: expect.any(String), exitCode: expect.any(Number) }]);
        continue;
      }
      const { schema } = operation.responses["200"].content[JSON_TYPE];
      expect([path, status, type]).toEqual([path, 200, JSON_TYPE]);
      answered++;
      const validate = ajv.compile(schema);
      expect([path, validate(JSON.parse(text)), validate.errors]).toEqual([path, true, null]);
    }
    expect(answered).toBeGreaterThan(15);
  });

  it("tells flows, links, drops and changes as they happen, each as its schema says", async () => {
    const { router, client, c1 } = await world();
    const heard: TapirEvent[] = [];
    const stop = new AbortController();
    const kinds = (): Set<string> => new Set(heard.map(({ event }) => event));
    const listening = (async () => {
      for await (const event of client.events({ signal: stop.signal })) {
        heard.push(event);
        if (["flow", "link", "drops", "change"].every((kind) => kinds().has(kind))) break;
      }
    })();
    // The first of the drops events says that the stream is there.
    for (let tries = 0; heard.length === 0 && tries < 100; tries++)
      await new Promise((resolve) => setTimeout(resolve, 100));
    ip(c1, "neigh flush all");
    ping(c1, Address.SERVER);
    const extra = namespace("e");
    await client.attach({ network: "lab", netns: extra, name: "c3" });
    await client.detach("c3");
    await listening;
    stop.abort();
    for (const { event, data } of heard) {
      const validate = ajv.compile(EVENT_SCHEMAS[event]);
      expect([event, validate(data), validate.errors]).toEqual([event, true, null]);
    }
    expect(heard.find(({ event }) => event === "link")?.data).toEqual({ port: "c3", state: "up" });
    expect(heard.find(({ event }) => event === "change")?.data).toMatchObject({
      cause: { source: "attach", detail: "c3" },
    });
    // The listener has gone: the dataplane writes no events any more, and the router ends in order.
    expect(await router.stop()).toBe(0);
  });

  it("has a client with types that reads, changes, and is told what is wrong", async () => {
    const { client } = await world();
    expect((await client.ports()).map(({ name, state }) => `${name} ${state}`)).toEqual(["c1 up", "c2 up", "wan up"]);
    expect((await client.flows({ proto: "icmp" }))[0].original.source).toBe(Address.C1);
    expect(await client.removeFlows({ src: Address.C1 })).toBe(1);
    const configuration = await client.configuration();
    const wish = { configuration: { ...configuration, filter: { forward: { policy: "drop" } } }, file: "test" };
    const { actions } = await client.difference(wish);
    expect(actions.map(({ path, after }) => [path, after])).toEqual([["filter.forward.policy", "drop"]]);
    const applied = await client.apply({ ...wish, confirmSeconds: 60 });
    expect(applied.pending?.rollbackTo).toBe(1);
    expect((await client.confirm()).number).toBe(applied.entry.number);
    expect((await client.rollback()).entry.cause.source).toBe("rollback");
    expect((await client.history()).entries.map(({ cause }) => cause.source)).toEqual(["start", "apply", "rollback"]);
    await expect(client.apply({ text: "version: 2" })).rejects.toMatchObject({ status: 400, exitCode: 3 });
    await expect(client.detach("c9")).rejects.toMatchObject({ status: 404 });
    await expect(client.apply({ text: "x".repeat(9 << 20) })).rejects.toMatchObject({ name: "Error" });
  });
});
