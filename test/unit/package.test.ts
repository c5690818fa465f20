/** The package as somebody else installs it: packed, unpacked, compiled against and run; docs/library.md's examples. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../../src/io/package_root.ts";

const root = packageRoot();
const project = mkdtempSync(join(tmpdir(), "tapir-package-"));
const documentation = readFileSync(join(root, "docs/library.md"), "utf8");
const examples = [...documentation.matchAll(/```ts\n(.*?)```\n```text\n(.*?)```/gs)].map(([, code, printed]) => ({
  code,
  printed,
}));

function run(command: string, args: readonly string[], cwd = project): string {
  return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

beforeAll(() => {
  const installed = join(project, "node_modules/tapir");
  mkdirSync(installed, { recursive: true });
  run("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", project], root);
  const [archive] = readdirSync(project).filter((name) => name.endsWith(".tgz"));
  run("tar", ["-xzf", archive, "-C", installed, "--strip-components=1"]);
  // Its dependencies, and the types of Node, without asking a registry.
  symlinkSync(join(root, "node_modules"), join(installed, "node_modules"));
  symlinkSync(join(root, "node_modules/@types"), join(project, "node_modules/@types"));
  const compilerOptions = {
    strict: true,
    module: "nodenext",
    target: "es2023",
    types: ["node"],
    outDir: "out",
    rootDir: ".",
    skipLibCheck: false,
  };
  writeFileSync(join(project, "package.json"), JSON.stringify({ type: "module" }));
  const files = examples.map((_, index) => `example${index}.ts`);
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
  for (const [index, { code }] of examples.entries()) writeFileSync(join(project, files[index]), code);
}, 120_000);

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe("the packed package", () => {
  it("has types that the examples of docs/library.md compile against", () => {
    expect(examples).toHaveLength(3);
    let said = "";
    try {
      run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", "."]);
    } catch (error) {
      said = (error as { stdout: string }).stdout;
    }
    expect(said).toBe("");
    for (const [index, { printed }] of examples.entries()) {
      expect([index, run(process.execPath, [`out/example${index}.js`])]).toEqual([index, printed]);
    }
  }, 180_000);
});
