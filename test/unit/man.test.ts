/** The manual page: made from the commands, and typeset without complaint. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createProgram } from "../../src/cli/main.ts";
import { manPage } from "../../src/cli/man/man_page.ts";
import { packageRoot } from "../../src/io/package_root.ts";
import { hasCommand, requireSystem } from "../support/netns.ts";

const file = join(packageRoot(), "docs/man/tapir.8");
const canTypeset = hasCommand("groff") || requireSystem(["groff"], "typesetting the manual page");

describe("the manual page", () => {
  it("is that of the commands (npm run man)", () => {
    expect(readFileSync(file, "utf8")).toBe(manPage(createProgram()));
  });

  it("has every command with its options, and is what the package installs", () => {
    const page = manPage(createProgram());
    for (const command of createProgram().commands.filter((each) => !each.name().startsWith("_"))) {
      expect(page).toContain(`.SS \\fBtapir ${command.name().replaceAll("-", "\\-")}\\fR`);
    }
    expect(page).not.toContain("__complete");
    expect(page).toContain(".TP\n\\fB\\-\\-log\\-level <level>\\fR\n");
    const { man } = JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as { man: string };
    expect(join(packageRoot(), man)).toBe(file);
  });

  it.skipIf(!canTypeset)("is typeset without a warning", () => {
    const input = manPage(createProgram());
    const { status, stdout, stderr } = spawnSync("groff", ["-man", "-ww", "-Tutf8", "-P-cbu"], {
      encoding: "utf8",
      input,
    });
    expect([status, stderr]).toEqual([0, ""]);
    for (const title of ["NAME", "SYNOPSIS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT", "FILES"]) {
      expect(stdout).toContain(title);
    }
    expect(stdout).toContain("tapir conntrack -L -p tcp");
  });
});
