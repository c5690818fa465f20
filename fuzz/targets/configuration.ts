/** Configuration files: reading one never throws, and what is accepted makes a plan and a router. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfiguration, parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { packageRoot } from "../../src/io/package_root.ts";
import { TestRouter } from "../../test/support/router.ts";
import { insist } from "../target.ts";
import { kindOf, textTarget } from "./texts.ts";

const read = (path: string): string => readFileSync(join(packageRoot(), path), "utf8");

/** The examples of the documentation, with what they take for granted. */
function documented(): string[] {
  const parts = {
    version: "version: 1",
    networks: "networks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: c1 }, c2: { netns: c2 } } } }",
    uplinks: "uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24 } }",
  };
  return [...read("docs/configuration.md").matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => {
    const missing = Object.entries(parts).filter(([key]) => !new RegExp(`^${key}:`, "m").test(text));
    return [...missing.map(([, part]) => part), text].join("\n");
  });
}

const YAML_WORDS = [
  "&a",
  "*a",
  "<<: *a",
  "!!binary",
  "? ",
  "|-",
  ">",
  "---\n",
  "...\n",
  "%YAML 1.2\n",
  "~",
  "{}",
  "[]",
];

export const CONFIGURATION = textTarget({
  name: "configuration",
  about: "configuration files in YAML: reading, checking, planning, and a router of the plan",
  seeds: [read("examples/router.yaml"), read("examples/quiet.yaml"), read("examples/slow.yaml"), ...documented()],
  words: YAML_WORDS,
  run(text) {
    const { configuration, errors } = parseConfiguration(text, "f");
    if (errors !== undefined) {
      insist(errors.length > 0, () => "refused without a reason");
      for (const { line, column } of errors) {
        const isPlace = Number.isInteger(line) && Number.isInteger(column) && Number(line) >= 1 && Number(column) >= 1;
        insist(isPlace, () => `an error at line ${line}, column ${column}`);
      }
      return errors.map(({ message }) => kindOf(message));
    }
    const again = checkConfiguration(JSON.parse(JSON.stringify(configuration)));
    insist(again.errors === undefined, () => `refused as data: ${again.errors?.[0].message}`);
    const resolved = resolvePlan(configuration);
    const again2 = resolvePlan(configuration, resolved);
    insist(again2.plan.ports.length === resolved.plan.ports.length, () => "another plan the second time");
    if (resolved.plan.ports.length <= 64 && resolved.plan.ports.every(({ index }) => index < 64))
      new TestRouter(resolved.plan, { routes: 4096 }).advance(200);
    return Object.keys(configuration).map((key) => `accepted with ${key}`);
  },
});
