/** The OpenAPI document: the server's own routes, in valid schemas, as the file has it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { ROUTES } from "../../src/control/api_routes.ts";
import { openApiDocument, openApiText } from "../../src/control/openapi.ts";
import { packageRoot } from "../../src/io/package_root.ts";

interface Operation {
  operationId: string;
  summary: string;
  parameters?: { name: string; in: string; schema: object }[];
  requestBody?: { content: Record<string, { schema: object }> };
  responses: Record<string, { content: Record<string, { schema: object }> } | { $ref: string }>;
}

interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { responses: Record<string, object> };
}

const ajv = new Ajv2020({ strict: true, strictTypes: false });
const document = openApiDocument(ROUTES) as Document;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]): [string, Operation] => [
    `${method.toUpperCase()} ${path}`,
    operation,
  ]),
);

describe("schema/openapi.json", () => {
  it("is that of the code (npm run schema)", () => {
    expect(readFileSync(join(packageRoot(), "schema/openapi.json"), "utf8")).toBe(openApiText(ROUTES));
  });

  it("has every route once", () => {
    const served = ROUTES.map(({ method, path }) => `${method} ${path}`);
    expect(new Set(served).size).toBe(served.length);
    expect(operations.map(([name]) => name).sort()).toEqual([...served].sort());
    const ids = operations.map(([, { operationId }]) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it.each(operations)("says of %s what it takes and answers, in valid schemas", (name, operation) => {
    expect(operation.summary).toMatch(/^[A-Z`].*\.$/s);
    const named = [...name.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter);
    const inPath = (operation.parameters ?? []).filter((parameter) => parameter.in === "path");
    expect(inPath.map((parameter) => parameter.name)).toEqual(named);
    for (const { schema } of operation.parameters ?? []) ajv.compile(schema);
    for (const { schema } of Object.values(operation.requestBody?.content ?? {})) ajv.compile(schema);
    for (const [status, response] of Object.entries(operation.responses)) {
      if ("$ref" in response) expect(document.components.responses[`E${status}`]).toBeDefined();
      else for (const { schema } of Object.values(response.content)) ajv.compile(schema);
    }
  });
});
