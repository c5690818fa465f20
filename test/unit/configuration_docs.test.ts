/** What is published about the configuration agrees with the code. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { formatError, parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { schemaText, withKeyTables } from "../../src/control/configuration/reference.ts";
import { packageRoot } from "../../src/io/package_root.ts";

const documentation = readFileSync(join(packageRoot(), "docs/configuration.md"), "utf8");

function blocks(language: string): string[] {
  return [...documentation.matchAll(/```([a-z ]+)\n(.*?)```/gs)].flatMap(([, tag, text]) =>
    tag === language ? [text] : [],
  );
}

/** A fragment with the parts around it that it takes for granted. */
function completed(fragment: string): string {
  const parts = {
    version: "version: 1",
    networks: "networks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: c1 }, c2: { netns: c2 } } } }",
    uplinks: "uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24 } }",
  };
  const missing = Object.entries(parts).filter(([key]) => !new RegExp(`^${key}:`, "m").test(fragment));
  return [...missing.map(([, part]) => part), fragment].join("\n");
}

describe("schema/tapir.schema.json", () => {
  it("is that of the code (npm run schema)", () => {
    expect(readFileSync(join(packageRoot(), "schema/tapir.schema.json"), "utf8")).toBe(schemaText());
  });
});

describe("docs/configuration.md", () => {
  it("has the tables of the schema (npm run schema)", () => {
    expect(documentation).toBe(withKeyTables(documentation));
  });

  it.each(blocks("yaml"))("has a valid example:\n%s", (example) => {
    const { configuration, errors } = parseConfiguration(completed(example), "example");
    expect(errors?.map(formatError)).toBeUndefined();
    if (configuration !== undefined) resolvePlan(configuration);
  });

  it("shows errors as they are", () => {
    const wrong = blocks("yaml wrong");
    expect(wrong.length).toBeGreaterThan(0);
    const shown = wrong.map(
      (text) => `${(parseConfiguration(text, "lab.yaml").errors ?? []).map(formatError).join("\n")}\n`,
    );
    expect(blocks("text")).toEqual(shown);
  });
});
