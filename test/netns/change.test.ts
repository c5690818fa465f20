/** Changing a running router by commands: what is applied, what is refused, what is taken back, and what it says. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { exec, ip, namespace, ping, type RunningRouter, requireSystem, temporaryFolder } from "../support/netns.ts";
import { Address, tapirWorld, type World } from "./worlds.ts";

const canRun = requireSystem(["ping"], "changing a running router");

interface Changed extends World {
  tapir: RunningRouter;
  /** The present configuration with something else in place of something, in a file. */
  edited(from: string | RegExp, to: string): string;
}

async function world(): Promise<Changed> {
  const made = await tapirWorld();
  const router = made.tapir as RunningRouter;
  const folder = temporaryFolder();
  let files = 0;
  const edited = (from: string | RegExp, to: string): string => {
    const text = router.mustTapir("show", "config");
    const changed = text.replace(from, to);
    expect(changed).not.toBe(text);
    const file = join(folder, `${++files}.yaml`);
    writeFileSync(file, changed);
    return file;
  };
  return { ...made, tapir: router, edited };
}

const CLOSED = ["policy: accept", "policy: drop"] as const;

describe.skipIf(!canRun)("a running router", () => {
  it("tells what a configuration would change, changes, and goes back", async () => {
    const w = await world();
    const file = w.edited(...CLOSED);
    expect(w.tapir.mustTapir("diff", "-f", file)).toBe("~ policy filter.forward.policy: accept -> drop\n");
    expect(w.tapir.mustTapir("apply", "-f", file, "--dry-run")).toBe(
      "~ policy filter.forward.policy: accept -> drop\n",
    );
    expect(ping(w.c1, Address.SERVER)).toBe(true);
    expect(w.tapir.mustTapir("apply", "-f", file)).toMatch(/accept -> drop\n#2: applied\n$/);
    expect(ping(w.c1, Address.SERVER)).toBe(false);
    expect(w.tapir.mustTapir("apply", "-f", file)).toBe("nothing changes\n");
    expect(w.tapir.mustTapir("rollback")).toMatch(/drop -> accept\n#3: rolled back\n$/);
    expect(ping(w.c1, Address.SERVER)).toBe(true);
    const rows = w.tapir.mustTapir("history").trim().split("\n");
    expect(
      rows.map((row) =>
        row
          .replace(/\d{4}-\S+ \S+Z/, "TIME")
          .replace(/ +/g, " ")
          .replace(file, "FILE"),
      ),
    ).toEqual(
      [
        "NUMBER TIME SOURCE FROM CHANGES",
        " 1 TIME start - ",
        " 2 TIME apply FILE 1 policy altered",
        " 3 TIME rollback to #1 1 policy altered",
      ].map((row) => row.trimEnd()),
    );
  });

  it("takes a change back that nobody confirms, and keeps one that somebody does", async () => {
    const w = await world();
    const file = w.edited(...CLOSED);
    expect(w.tapir.mustTapir("apply", "-f", file, "--confirm", "60s")).toMatch(
      /rolled back to #1 in 60 s, unless confirmed/,
    );
    const refused = w.tapir.tapir(
      "apply",
      "-f",
      w.edited("subnet: 10.55.66.0/24", "subnet: 10.55.66.0/24\n    mtu: 1400"),
    );
    expect([refused.status, refused.stderr]).toEqual([
      1,
      expect.stringMatching(/^tapir: change #2 waits for its conf.*\n$/),
    ]);
    expect(w.tapir.mustTapir("history")).toMatch(/#2 waits for its confirmation: rolled back to #1 in \d+ s\n$/);
    expect(w.tapir.mustTapir("confirm")).toBe("#2: confirmed\n");
    expect(w.tapir.tapir("confirm").status).toBe(1);
    w.tapir.mustTapir("rollback");
    w.tapir.mustTapir("apply", "-f", file, "--confirm", "1s");
    await w.tapir.until(/change #4 was not confirmed in 1 s: rolled back/);
    await w.tapir.until(/#4 was not confirmed/);
    expect(w.tapir.mustTapir("show", "config", "-j")).toContain('"policy": "accept"');
  });

  it("refuses what is wrong, with line and column, and goes on as before", async () => {
    const w = await world();
    const file = join(temporaryFolder(), "wrong.yaml");
    writeFileSync(file, "version: 1\nnetworks:\n  lab: { subnet: 10.55.66.0/24, mut: 9 }\n");
    for (const command of ["apply", "diff"]) {
      const { status, stderr } = w.tapir.tapir(command, "-f", file);
      expect([status, stderr]).toEqual([
        3,
        expect.stringMatching(/wrong\.yaml:3:33: networks\.lab\.mut: unknown key "mut".*\n$/),
      ]);
    }
    const limits = w.edited("version: 1", "version: 1\nlimits: { flows: 1000 }");
    const told = w.tapir.tapir("diff", "-f", limits);
    expect([told.status, told.stdout]).toEqual([
      1,
      expect.stringMatching(/\n! limits: cannot change while the router runs\n$/),
    ]);
    const limited = w.tapir.tapir("apply", "-f", limits);
    expect([limited.status, limited.stderr]).toEqual([1, "tapir: limits: cannot change while the router runs\n"]);
    const gone = w.edited("      c2:", "      c9: { netns: is-not-there }\n      c2:");
    const missing = w.tapir.tapir("apply", "-f", gone);
    expect([missing.status, missing.stderr]).toEqual([1, expect.stringMatching(/no namespace called is-not-there/)]);
    expect(w.tapir.tapir("rollback", "7").status).toBe(1);
    expect(w.tapir.tapir("apply", "-f", limits, "--confirm", "soon").status).toBe(2);
    expect(w.tapir.mustTapir("history", "-j").match(/"number"/g)).toHaveLength(1);
    expect(ping(w.c1, Address.SERVER)).toBe(true);
  });

  it("ends the flows of a container that has gone, and of no other", async () => {
    const w = await world();
    expect([ping(w.c1, Address.SERVER), ping(w.c2, Address.SERVER)]).toEqual([true, true]);
    expect(w.tapir.mustTapir("conntrack", "-C").trim()).toBe("2");
    w.tapir.mustTapir("detach", "c2");
    const left = w.tapir.mustTapir("conntrack", "-L");
    expect(left).toContain(`src=${Address.C1}`);
    expect(left).not.toContain(`src=${Address.C2}`);
  });

  it("rolls back around containers that have come since, and those that are gone do not hold it up", async () => {
    const w = await world();
    const extra = namespace("x");
    w.tapir.mustTapir("apply", "-f", w.edited(/ {6}c2:[\s\S]*?(?=uplinks:)/, ""));
    ip(undefined, `netns del ${w.c2}`);
    w.tapir.mustTapir("attach", "lab", "--netns", extra, "--name", "c3", "--address", "10.55.66.9");
    w.tapir.mustTapir("rollback");
    const ports = JSON.parse(w.tapir.mustTapir("show", "ports", "-j")) as { name: string; state: string }[];
    expect(ports.map(({ name, state }) => `${name} ${state.replace(/ .*/, "")}`).sort()).toEqual([
      "c1 up",
      "c2 failed",
      "c3 up",
      "wan up",
    ]);
    expect([ping(w.c1, Address.SERVER), ping(extra, Address.SERVER)]).toEqual([true, true]);
    expect(exec(extra, "ip", ["route"]).stdout).toContain("default via 10.55.66.1");
  });
});
