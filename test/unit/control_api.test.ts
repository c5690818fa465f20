/** The HTTP API with a router of cardboard behind it: paths, methods, errors, and long answers. */
import { mkdtempSync, rmSync } from "node:fs";
import { type IncomingHttpHeaders, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { createApi } from "../../src/control/api.ts";
import { type Configuration, type ResolvedPlan, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { ExitCode, TapirError } from "../../src/control/errors.ts";
import type { RunningRouter } from "../../src/control/router.ts";

const CONFIGURATION: Configuration = {
  version: 1,
  networks: { lab: { subnet: "10.55.66.0/29", ports: { "c 1": { netns: "c1", address: "10.55.66.2" } } } },
};

interface Fake {
  configuration: Configuration;
  flows: { count: number; flows: () => Iterable<object> };
  show: (table: string) => Promise<unknown>;
}

/** A router that takes every change. */
function fakeRouter(change: Partial<Fake> = {}): RunningRouter {
  const fake = {
    configuration: CONFIGURATION,
    get resolved(): ResolvedPlan {
      return resolvePlan(this.configuration);
    },
    flows: { count: 2, flows: () => [{ n: 1 }, { n: 2 }] },
    show: async (table: string) => [{ table }],
    ports: async () => [{ name: "c 1" }],
    log: () => {},
    services: {
      docker: { named: async <T>(rows: T): Promise<T> => rows },
      network: { dhcp: { isTaken: () => false } },
    },
    async change(edit: (present: Configuration) => Configuration) {
      this.configuration = edit(this.configuration);
    },
    ...change,
  };
  return fake as unknown as RunningRouter;
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

type Ask = (method: string, path: string, body?: string, headers?: Record<string, string>) => Promise<Answer>;

async function serve(router: RunningRouter): Promise<Ask> {
  const folder = mkdtempSync(join(tmpdir(), "tapir-api-"));
  const socketPath = join(folder, "t.sock");
  const server = createApi(router);
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true, force: true });
  });
  return (method, path, body, headers = {}) =>
    new Promise((resolve, reject) => {
      const call = request({ socketPath, method, path, headers }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => {
          text += part;
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
        response.on("error", reject);
      });
      call.on("error", reject);
      call.end(body);
    });
}

const errorOf = ({ text }: Answer): string => (JSON.parse(text) as { error: string }).error;

describe("the API", () => {
  it("answers in JSON", async () => {
    const ask = await serve(fakeRouter());
    for (const [path, expected] of [
      ["/v1/ports", [{ name: "c 1" }]],
      ["/v1/names", { networks: ["lab"], uplinks: [], ports: ["c 1"] }],
      ["/v1/drops", [{ table: "drops" }]],
      ["/v1/drops?since=ever", [{ table: "drops" }]],
      ["/v1/conntrack", [{ n: 1 }, { n: 2 }]],
      ["/v1/conntrack/count", { count: 2 }],
      ["/v1/flows", [{ n: 1 }, { n: 2 }]],
      ["/v1/flows/count", { count: 2 }],
    ] as const) {
      const answer = await ask("GET", path);
      expect([path, answer.status, answer.headers["content-type"]]).toEqual([path, 200, "application/json"]);
      expect(JSON.parse(answer.text)).toEqual(expected);
    }
  });

  it("knows its paths and their methods", async () => {
    const ask = await serve(fakeRouter());
    for (const path of [
      "/",
      "/v1",
      "/v1/",
      "/v2/ports",
      "/v1/cats",
      "/v1/__proto__",
      "/v1/toString",
      "//",
      "/v1/a/b/c",
    ]) {
      const answer = await ask("GET", path);
      expect([path, answer.status]).toEqual([path, 404]);
      expect(errorOf(answer)).toMatch(/no such path/);
    }
    for (const [method, path, allow] of [
      ["POST", "/v1/drops", "GET"],
      ["DELETE", "/v1/ports", "GET, POST"],
      ["GET", "/v1/ports/c1", "DELETE"],
      ["PUT", "/v1/conntrack", "GET"],
      ["PUT", "/v1/flows", "GET, DELETE"],
      ["DELETE", "/v1/flows/events", "GET"],
    ]) {
      const answer = await ask(method, path);
      expect([path, answer.status, answer.headers.allow]).toEqual([path, 405, allow]);
    }
    expect((await ask("GET", "/v1/%zz")).status).toBe(400);
  });

  it("takes bodies that are JSON objects of a bounded size", async () => {
    const ask = await serve(fakeRouter());
    for (const body of ["", "{", "[]", "7", "null", '"text"']) {
      const answer = await ask("POST", "/v1/ports", body);
      expect([body, answer.status]).toEqual([body, 400]);
    }
    const typed = await ask("POST", "/v1/ports", '{"network":7}');
    expect([typed.status, errorOf(typed)]).toEqual([400, "the request's body: network must be string"]);
    const other = await ask("POST", "/v1/ports", "network=lab", { "content-type": "text/plain" });
    expect([other.status, errorOf(other)]).toEqual([415, "the request's body has to be application/json"]);
    const long = await ask("POST", "/v1/ports", JSON.stringify({ network: "x".repeat(70_000) }));
    expect(long.status).toBe(413);
    expect(long.headers.connection).toBe("close");
  });

  it("attaches and detaches, with addresses that are free", async () => {
    const router = fakeRouter();
    const ask = await serve(router);
    const attach = (wish: object) => ask("POST", "/v1/ports", JSON.stringify(wish));
    expect(JSON.parse((await attach({ network: "lab", netns: "c2" })).text)).toEqual({
      name: "c2",
      network: "lab",
      address: "10.55.66.3",
      gateway: "10.55.66.1",
      ifname: "eth0",
      prefixLength: 29,
      mac: expect.stringMatching(/^02:/),
      mtu: 1500,
    });
    const { pid } = process;
    const byProcess = await attach({ network: "lab", pid, ifname: "net1", defaultRoute: false });
    expect(JSON.parse(byProcess.text)).toMatchObject({ name: `pid-${pid}`, address: "10.55.66.4" });
    expect(router.configuration.networks?.lab.ports).toMatchObject({
      c2: { netns: "c2", ifname: "eth0", address: "10.55.66.3", defaultRoute: true },
      [`pid-${pid}`]: { pid, started: expect.any(Number), ifname: "net1", address: "10.55.66.4", defaultRoute: false },
    });
    // "c 1" needs to be decoded, once.
    expect((await ask("DELETE", "/v1/ports/c%201")).status).toBe(200);
    expect(JSON.parse((await attach({ network: "lab", netns: "c3", defaultRoute: false })).text)).toMatchObject({
      address: "10.55.66.2",
    });
    for (const netns of ["c4", "c5"]) expect((await attach({ network: "lab", netns })).status).toBe(200);
    const full = await attach({ network: "lab", netns: "c6" });
    expect([full.status, errorOf(full)]).toEqual([409, "attach: lab has no free address left"]);
  });

  it.each<[string, string, string, string | undefined, number, RegExp]>([
    ["an unknown key", "POST", "/v1/ports", '{"network":"lab","netns":"a","color":"red"}', 400, /unknown key "color"/],
    ["no network", "POST", "/v1/ports", '{"netns":"a"}', 400, /which network/],
    ["no namespace", "POST", "/v1/ports", '{"network":"lab"}', 400, /either netns or pid/],
    ["both", "POST", "/v1/ports", '{"network":"lab","netns":"a","pid":1}', 400, /either netns or pid/],
    ["no process", "POST", "/v1/ports", '{"network":"lab","pid":4194304}', 409, /there is no process 4194304/],
    ["its own", "POST", "/v1/ports", `{"network":"lab","pid":${process.pid}}`, 409, /the router's own namespace/],
    ["an unknown network", "POST", "/v1/ports", '{"network":"x","netns":"a"}', 404, /no network is called x/],
    ["a name twice", "POST", "/v1/ports", '{"network":"lab","netns":"a","name":"c 1"}', 409, /called c 1 already/],
    ["an unknown port", "DELETE", "/v1/ports/c9", undefined, 404, /no container's port is called c9/],
  ])("refuses %s", async (_, method, path, body, status, message) => {
    const answer = await (await serve(fakeRouter()))(method, path, body);
    expect(answer.status).toBe(status);
    expect(errorOf(answer)).toMatch(message);
  });

  it("tells what the router says, and goes on", async () => {
    const errors = [
      new TapirError("the dataplane does not answer"),
      new TapirError("f:1:2: no", ExitCode.CONFIGURATION),
      new TypeError("a bug"),
    ];
    const ask = await serve(fakeRouter({ show: async () => Promise.reject(errors.shift()) }));
    for (const [status, message] of [
      [409, "the dataplane does not answer"],
      [400, "f:1:2: no"],
      [500, "a bug"],
    ]) {
      const answer = await ask("GET", "/v1/drops");
      expect([answer.status, errorOf(answer)]).toEqual([status, message]);
    }
    expect((await ask("GET", "/v1/ports")).status).toBe(200);
  });

  it("sends a long flow table as it is read, not as one string", async () => {
    let made = 0;
    let madeBeforeFirstRead = 0;
    const count = 200_000;
    function* flows() {
      for (; made < count; made++) yield { n: made, filling: "x".repeat(100) };
    }
    const router = fakeRouter({ flows: { count, flows } });
    const folder = mkdtempSync(join(tmpdir(), "tapir-api-"));
    const socketPath = join(folder, "t.sock");
    const server = createApi(router);
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
    onTestFinished(() => {
      server.close();
      server.closeAllConnections();
      rmSync(folder, { recursive: true, force: true });
    });
    const text = await new Promise<string>((resolve, reject) => {
      const call = request({ socketPath, path: "/v1/conntrack" }, async (response) => {
        madeBeforeFirstRead = made;
        const parts: Buffer[] = [];
        for await (const part of response as AsyncIterable<Buffer>) parts.push(part);
        resolve(Buffer.concat(parts).toString());
      });
      call.on("error", reject);
      call.end();
    });
    expect(madeBeforeFirstRead).toBeLessThan(count / 10);
    const rows = JSON.parse(text) as { n: number }[];
    expect(rows.length).toBe(count);
    expect(rows.every((row, index) => row.n === index)).toBe(true);
  });
});
