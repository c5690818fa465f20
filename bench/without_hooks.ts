/**
 * A copy of the built code in which nobody looks whether a capture or a trace wants to see a frame, for measuring what
 * the looking costs. Only text is replaced: where a capture would be told, nothing is left, and no recorder is there.
 */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../src/io/package_root.ts";

/** What looks, as the compiler writes it. */
const HOOKS: readonly [pattern: RegExp, replacement: string][] = [
  [/\b(?:router|this)\.captures\?\.\w+\([^;]*\);/g, ";"],
  [/\b(?:router|this)\.captures !== undefined/g, "false"],
  [/\b(?:router|this)\.recorder !== undefined/g, "false"],
  [/\b(?:router|this)\.recorder === undefined/g, "true"],
];

/** Fewer than these, and the code has changed so much that the patterns no longer find it. */
const FEWEST_HOOKS = 25;

/** Makes the copy anew; returns the folder that stands for `dist`, and how many places were taken out. */
export function copyWithoutHooks(): { folder: string; hooks: number } {
  const dist = join(packageRoot(), "dist");
  const folder = join(packageRoot(), "bench/build/without-hooks");
  rmSync(folder, { recursive: true, force: true });
  for (const part of ["src", "bench"]) cpSync(join(dist, part), join(folder, part), { recursive: true });
  const dataplane = join(folder, "src/dataplane");
  let hooks = 0;
  for (const name of readdirSync(dataplane).filter((each) => each.endsWith(".js"))) {
    let text = readFileSync(join(dataplane, name), "utf8");
    for (const [pattern, replacement] of HOOKS) {
      text = text.replace(pattern, () => {
        hooks++;
        return replacement;
      });
    }
    writeFileSync(join(dataplane, name), text);
  }
  if (hooks < FEWEST_HOOKS) throw new Error(`only ${hooks} places look for captures and traces: the patterns are old`);
  return { folder, hooks };
}
