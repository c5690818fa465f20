/** The log: what is said, in which form, and how often. */
import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { type Log, limitRepeats } from "../../src/control/log.ts";
import { TAPIR, temporaryFolder } from "../support/netns.ts";

function recorder(): { log: Log; said: string[]; pass: (ms: number) => void } {
  const said: string[] = [];
  let now = 0;
  const pass = (ms: number): void => {
    now += ms;
  };
  const note = (level: string) => (message: string) => void said.push(`${level} ${message}`);
  const rule: Log["rule"] = (entry) => void said.push(`rule ${entry.prefix}`);
  const inner = { debug: note("debug"), info: note("info"), warn: note("warn"), error: note("error"), rule };
  return { log: limitRepeats(inner, () => now), said, pass };
}

describe("a message that repeats itself", () => {
  it("is said once in ten seconds, then with how often it came", () => {
    const { log, said, pass } = recorder();
    for (let i = 0; i < 4; i++) log.warn("full");
    expect(said).toEqual(["warn full"]);
    pass(9_999);
    log.warn("full");
    expect(said).toHaveLength(1);
    pass(1);
    log.warn("full");
    log.warn("full");
    expect(said).toEqual(["warn full", "warn full (4 more like this)"]);
    pass(10_000);
    log.warn("full");
    expect(said[2]).toBe("warn full (1 more like this)");
  });

  it("keeps no other message and no other level back", () => {
    const { log, said } = recorder();
    log.warn("full");
    log.error("full");
    for (let i = 0; i < 2; i++) log.info("read again");
    for (let i = 0; i < 2; i++) log.rule({ prefix: "x" } as Parameters<Log["rule"]>[0]);
    expect(said).toEqual(["warn full", "error full", "info read again", "info read again", "rule x", "rule x"]);
  });

  it("is forgotten where there are too many others", () => {
    const { log, said } = recorder();
    for (let i = 0; i < 101; i++) log.warn(String(i));
    log.warn("0");
    log.warn("100");
    expect(said).toHaveLength(102);
  });
});

/** What a process says whose standard error is no terminal. */
function saidBy(options: object): string {
  const module = new URL("../../dist/src/control/log.js", import.meta.url).href;
  const script = `const { createLog } = await import("${module}"); const log = createLog(${JSON.stringify(options)});
    for (const level of ["debug", "info", "warn", "error"]) log[level]("m");`;
  return spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" }).stderr;
}

describe("the form of the log", () => {
  it("is JSON where it is no terminal", () => {
    const lines = saidBy({})
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.map(({ level, msg }) => [level, msg])).toEqual([
      [30, "m"],
      [40, "m"],
      [50, "m"],
    ]);
    expect(Object.keys(lines[0])).toEqual(["level", "time", "pid", "msg"]);
  });

  it("and its level are the user's choice", () => {
    expect(saidBy({ format: "text", level: "debug" })).toBe(
      "tapir: debug: m\ntapir: m\ntapir: warning: m\ntapir: error: m\n",
    );
    expect(saidBy({ format: "text", level: "error" })).toBe("tapir: error: m\n");
    expect(saidBy({ level: "error" })).toMatch(/^\{"level":50.*\n$/);
  });

  it("is refused where it is none", () => {
    const run = (args: string[], environment = {}) =>
      spawnSync(process.execPath, [TAPIR, "run", "-f", `${temporaryFolder()}/none.yaml`, ...args], {
        encoding: "utf8",
        env: { ...process.env, ...environment },
      });
    for (const { status, stderr } of [
      run(["--log-level", "loud"]),
      run(["--log-format", "xml"]),
      run([], { TAPIR_LOG: "loud" }),
    ]) {
      expect(status).toBe(2);
      expect(stderr).toMatch(/^tapir: option '--log-(level|format) <\w+>' .*is invalid.*\n$/);
    }
    expect(run(["--log-level", "debug"], { TAPIR_LOG: "warn" }).status).toBe(3);
  });
});
