/** What Tab offers: from the command tree, from a running router, and through the shells' own scripts. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { complete } from "../../src/cli/completion/complete.ts";
import { SCRIPTS } from "../../src/cli/completion/scripts.ts";
import { createProgram } from "../../src/cli/main.ts";
import { SHOWN } from "../../src/cli/show.ts";
import { execAsync, hasCommand, requireSystem, TAPIR } from "../support/netns.ts";

const program = createProgram();
/** The last word is the one at the cursor. */
const offered = (...words: string[]) => {
  const { candidates, source } = complete(program, words.slice(0, -1), words.at(-1) ?? "");
  return { words: candidates.map(({ word }) => word), source };
};

describe("the words at the cursor", () => {
  it("are the commands, but for hidden ones", () => {
    const { words } = offered("");
    expect(words).toEqual(
      expect.arrayContaining(program.commands.map((each) => each.name()).filter((n) => n[0] !== "_")),
    );
    expect(words).not.toContain("__complete");
    expect(offered("det").words).toEqual(["detach"]);
  });

  it("are what an argument may be", () => {
    expect(offered("show", "").words).toEqual([...SHOWN]);
    expect(offered("show", "dro").words).toEqual(["drops"]);
    expect(offered("completion", "z").words).toEqual(["zsh"]);
    expect(offered("show", "drops", "").words).toEqual([]);
  });

  it("are a command's options", () => {
    expect(offered("attach", "--n").words).toEqual(["--netns", "--name", "--no-default-route"]);
    expect(offered("show", "drops", "-").words).toEqual(expect.arrayContaining(["--json", "-j", "--socket", "--help"]));
    expect(offered("lab", "--", "ls", "-").words).toEqual([]);
  });

  it("come from files, namespaces or the router where the tree does not hold them", () => {
    expect(offered("run", "-f", "").source).toBe("files");
    expect(offered("run", "--file", "=", "x").source).toBe("files");
    expect(offered("attach", "").source).toBe("networks");
    expect(offered("attach", "lab", "--netns", "").source).toBe("namespaces");
    expect(offered("--socket", "/x", "detach", "").source).toBe("ports");
    expect(offered("conntrack", "--sport", "")).toEqual({ words: [], source: undefined });
  });
});

/** A folder with a command `tapir` in it, and a socket that names networks and ports. */
async function stage(): Promise<{ path: string; socket: string; folder: string }> {
  const folder = mkdtempSync(join(tmpdir(), "tapir-completion-"));
  const socket = join(folder, "t.sock");
  const command = join(folder, "tapir");
  writeFileSync(command, `#!/bin/sh\nexec '${process.execPath}' '${TAPIR}' "$@"\n`);
  chmodSync(command, 0o755);
  const server = createServer((_, response) => {
    response.end(JSON.stringify({ networks: ["lab", "labour"], uplinks: ["wan"], ports: ["c1", "c2"] }));
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
    rmSync(folder, { recursive: true, force: true });
  });
  return { path: `${folder}:${process.env.PATH}`, socket, folder };
}

/** What bash would offer for the words, the cursor being in the last one. */
async function bash(words: string[]): Promise<string[]> {
  const { path, socket, folder } = await stage();
  writeFileSync(join(folder, "router.yaml"), "");
  const quoted = words.map((word) => `'${word}'`).join(" ");
  const script = `${SCRIPTS.bash}
cd '${folder}'; COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}
_tapir; printf '%s\\n' "\${COMPREPLY[@]}"; complete -p tapir >&2`;
  const said = await execAsync(undefined, "bash", ["--norc", "-c", script], {
    environment: { PATH: path, TAPIR_SOCKET: socket },
  });
  expect(said.stderr).toBe("complete -F _tapir tapir\n");
  return said.stdout.split("\n").filter((word) => word !== "");
}

describe("bash", () => {
  it.each([
    ["tapir det", ["detach"]],
    ["tapir show inv", ["invariants"]],
    ["tapir attach la", ["lab", "labour"]],
    ["tapir detach ", ["c1", "c2"]],
    ["tapir run -f rou", ["router.yaml"]],
    ["tapir run --file = rou", ["router.yaml"]],
    ["tapir show --js", ["--json"]],
    ["tapir nonsense ", []],
  ])("completes %j", async (line, expected) => {
    expect(await bash(line.split(" "))).toEqual(expected);
  });
});

const canRunZsh = hasCommand("zsh") || requireSystem(["zsh"], "zsh's completion");

describe.skipIf(!canRunZsh)("zsh", () => {
  it.each([
    ["tapir det", ["detach:detach a container"]],
    ["tapir attach la", ["lab:", "labour:"]],
    ["tapir run -f rou", ["FILES"]],
  ])("completes %j", async (line, expected) => {
    const { path, socket } = await stage();
    const words = line.split(" ");
    // The parts of zsh's completion system that only work at a prompt are replaced by what prints their arguments.
    const script = `compdef() {}; _files() { print FILES }; _describe() { print -l -- "\${(@P)2}" }
${SCRIPTS.zsh}
words=(${words.map((word) => `'${word}'`).join(" ")}); CURRENT=${words.length}; _tapir`;
    const said = await execAsync(undefined, "zsh", ["-f", "-c", script], {
      environment: { PATH: path, TAPIR_SOCKET: socket },
    });
    expect(said.stderr).toBe("");
    expect(said.stdout.trim().split("\n")).toEqual(expected);
    expect(spawnSync("zsh", ["-f", "-n", "-c", SCRIPTS.zsh]).status).toBe(0);
  });
});
