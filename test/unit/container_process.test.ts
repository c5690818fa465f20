/** Containers that are known by a process: telling it from others, and what happens to their ports when it has ended. */
import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { readState } from "../../src/cli/oci_hook.ts";
import { watchAttached } from "../../src/control/attached_ends.ts";
import type { Configuration } from "../../src/control/configuration/configuration.ts";
import { isInOwnNetwork, isRunning, processOf } from "../../src/control/container_process.ts";
import { TapirError, UnknownNameError } from "../../src/control/errors.ts";
import type { LinkEvent } from "../../src/control/events_api.ts";

const NOBODY = 4_194_304;

describe("a process", () => {
  let child: ChildProcess | undefined;
  const folder = mkdtempSync(join(tmpdir(), "tapir-process-"));

  afterEach(() => {
    child?.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });

  it("is known by its number and its start, whatever it is called", async () => {
    const own = processOf(process.pid);
    expect(own?.started).toBeGreaterThan(0);
    const program = join(folder, "a) R (b");
    copyFileSync("/bin/sleep", program);
    const started = spawn(program, ["60"]);
    child = started;
    await new Promise((resolve) => started.once("spawn", resolve));
    const found = processOf(started.pid as number);
    expect(found?.started).toBeGreaterThanOrEqual(own?.started as number);
    expect(found === undefined ? undefined : isRunning(found)).toBe(true);
    expect(isRunning({ pid: started.pid as number, started: 1 })).toBe(false);
    const ended = new Promise((resolve) => started.once("exit", resolve));
    started.kill("SIGKILL");
    await ended;
    expect(isRunning(found as NonNullable<typeof found>)).toBe(false);
    expect(processOf(NOBODY)).toBeUndefined();
  });

  it("may be in the router's own network", () => {
    expect([isInOwnNetwork(process.pid), isInOwnNetwork(NOBODY)]).toEqual([true, false]);
  });
});

describe("a port that fails", () => {
  const { pid, started } = processOf(process.pid) as { pid: number; started: number };
  const configuration: Configuration = {
    version: 1,
    networks: {
      lab: {
        subnet: "10.55.66.0/24",
        ports: {
          there: { pid, started },
          gone: { pid, started: 1 },
          other: { pid },
          named: { netns: "named" },
        },
      },
      empty: { subnet: "10.55.67.0/24" },
    },
  };

  function watch(detach: (name: string) => Promise<unknown>) {
    const portListeners = new Set<(event: LinkEvent) => void>();
    const said: string[] = [];
    watchAttached({ portListeners, configuration, log: (_, message) => said.push(message) }, detach);
    const tell = (port: string, state: LinkEvent["state"]): void => {
      for (const listener of portListeners) listener({ port, state });
    };
    return { tell, said };
  }

  it("goes when the process that it was attached by has ended, and stays otherwise", () => {
    const detached: string[] = [];
    const { tell } = watch(async (name) => detached.push(name));
    for (const port of ["there", "gone", "other", "named", "wan", "constructor"]) tell(port, "failed");
    tell("gone", "up");
    tell("gone", "removed");
    expect(detached).toEqual(["gone"]);
  });

  it("may have been detached by somebody else meanwhile", async () => {
    const errors = [new UnknownNameError("no port"), new TapirError("the router is ending")];
    const { tell, said } = watch(async () => {
      throw errors.shift();
    });
    tell("gone", "failed");
    tell("gone", "failed");
    await new Promise(setImmediate);
    expect(said).toEqual(["the router is ending"]);
  });
});

describe("the state that a hook reads", () => {
  it("is what the runtime specification says", () => {
    const state = { ociVersion: "1.0.2", id: "web", status: "creating", pid: 7, bundle: "/b", annotations: { a: "b" } };
    expect(readState(JSON.stringify(state))).toEqual({
      id: "web",
      status: "creating",
      pid: 7,
      annotations: { a: "b" },
    });
    expect(readState('{"id":"web","status":"stopped"}')).toMatchObject({ status: "stopped", annotations: {} });
  });

  it.each([
    ["", /no JSON/],
    ["null", /not the state of a container/],
    ['"web"', /not the state of a container/],
    ['{"status":"running"}', /not the state of a container/],
    ['{"id":"web","status":"running","pid":"7"}', /pid is no process id/],
  ])("is nothing else: %s", (text, message) => {
    expect(() => readState(text)).toThrow(message);
  });
});
