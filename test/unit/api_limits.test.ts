/** What the API's server does with those who say too much, too slowly, or not HTTP. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { API_LIMITS, createApi } from "../../src/control/api.ts";
import type { RunningRouter } from "../../src/control/router.ts";

const QUICK = {
  ...API_LIMITS,
  headersTimeout: 40,
  requestTimeout: 80,
  connectionsCheckingInterval: 10,
  connections: 2,
};

/** Serves a router of cardboard; returns what opens connections to it. */
async function serve(limits = API_LIMITS): Promise<() => Promise<Socket>> {
  const folder = mkdtempSync(join(tmpdir(), "tapir-api-"));
  const path = join(folder, "t.sock");
  const services = { docker: { named: async (rows: unknown[]) => rows } };
  const router = { ports: async () => [], services, configuration: { version: 1 } };
  const server = createApi(router as unknown as RunningRouter, limits);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true, force: true });
  });
  return () =>
    new Promise((resolve) => {
      const socket = connect(path, () => resolve(socket));
      onTestFinished(() => void socket.destroy());
    });
}

/** All that comes until the other side closes. */
function answerOn(socket: Socket): Promise<string> {
  let text = "";
  socket.setEncoding("latin1").on("data", (part: string) => {
    text += part;
  });
  socket.on("error", () => {});
  return new Promise((resolve) => socket.on("close", () => resolve(text)));
}

const errorOf = (answer: string): string =>
  (JSON.parse(answer.slice(answer.indexOf("\r\n\r\n"))) as { error: string }).error;

describe("the API's server", () => {
  it("answers an address or a header that is too long with 431 and the reason", async () => {
    const open = await serve();
    for (const request of [
      `GET /v1/ports?x=${"y".repeat(20_000)} HTTP/1.1\r\n\r\n`,
      `GET /v1/ports HTTP/1.1\r\nhost: x\r\nx: ${"y".repeat(20_000)}\r\n\r\n`,
    ]) {
      const socket = await open();
      const answer = answerOn(socket);
      socket.write(request);
      expect(await answer).toMatch(/^HTTP\/1\.1 431 /);
      expect(errorOf(await answer)).toBe("a request has at most 16384 bytes before its body");
    }
  });

  it("answers what is not HTTP with 400", async () => {
    const open = await serve();
    const socket = await open();
    const answer = answerOn(socket);
    socket.write("SSH-2.0-OpenSSH\r\n\r\n");
    expect(await answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(errorOf(await answer)).toBe("not HTTP");
  });

  it("waits neither for a header nor for a body for ever", async () => {
    const open = await serve(QUICK);
    const head = "POST /v1/ports HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n";
    for (const begun of ["GET /v1/po", head, `${head}\r\n{"network"`]) {
      const socket = await open();
      const answer = answerOn(socket);
      socket.write(begun);
      expect(await answer, begun).toMatch(/^HTTP\/1\.1 408 /);
      expect(errorOf(await answer)).toBe("a request has to be there in 0.08 seconds, its header in 0.04");
    }
  });

  it("closes connections beyond a number, and takes new ones once others have gone", async () => {
    const open = await serve({ ...QUICK, headersTimeout: 60_000, requestTimeout: 60_000 });
    const [first, second] = [await open(), await open()];
    expect(await answerOn(await open())).toBe("");
    const gone = answerOn(first);
    first.end("GET /v1/ports HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    expect(await gone).toMatch(/^HTTP\/1\.1 200 /);
    let answer = "";
    while (answer === "") {
      const next = await open();
      const heard = answerOn(next);
      next.on("error", () => {}).write("GET /v1/ports HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
      answer = await heard;
    }
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    second.destroy();
  });
});
