/** Processes that give up their privileges and then try what they should not be able to do. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { withoutCapabilities } from "../../src/control/privilege.ts";
import { packageRoot } from "../../src/io/package_root.ts";

const NATIVE = join(packageRoot(), "dist/src/io/native.js");

/** What a try has come to: `done`, or the errno's name. */
export type Outcomes = Record<string, string>;

/**
 * Runs `before` in a process, then `confine`, then each of `tries`; all are JavaScript, in which `addon` is the addon and
 * `fs`, `net`, `child_process`, `dgram` and `crypto` are Node's modules. A try may be a promise.
 */
export function tryWhen(confine: string, tries: Record<string, string>, before = ""): Outcomes {
  const bodies = Object.entries(tries).map(([name, body]) => `${JSON.stringify(name)}: async () => { ${body} }`);
  const script = `
    import fs from "node:fs"; import net from "node:net"; import dgram from "node:dgram";
    import child_process from "node:child_process"; import crypto from "node:crypto";
    import { native } from ${JSON.stringify(NATIVE)};
    const addon = native();
    const settled = (emitter, event) => new Promise((resolve, reject) => emitter.once(event, resolve).once("error", reject));
    // Loaded on first use otherwise, from then on without files.
    process.stdout.write("");
    ${before}
    ${confine}
    const outcomes = {};
    for (const [name, body] of Object.entries({ ${bodies.join(",\n")} })) {
      try { await body(); outcomes[name] = "done"; } catch (error) { outcomes[name] = error.code ?? error.message; }
    }
    process.stdout.write(JSON.stringify(outcomes), () => process.exit(0));`;
  const words = [process.execPath, "--input-type=module", "-e", script];
  const { stdout, stderr, status, signal } = spawnSync(words[0], words.slice(1), { encoding: "utf8", timeout: 30_000 });
  if (status !== 0) throw new Error(`${status ?? signal}: ${stderr}`);
  return JSON.parse(stdout) as Outcomes;
}

/** The text of a command that runs as a dataplane is started. */
export function outputWithoutCapabilities(...words: string[]): string {
  const [command, ...rest] = withoutCapabilities(words);
  return spawnSync(command, rest, { encoding: "utf8" }).stdout;
}
