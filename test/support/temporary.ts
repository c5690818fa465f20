/** Files of one test, removed when it ends. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A folder with these files; returns the path of one of them. */
export function temporaryFolder(files: Record<string, string | Uint8Array>, name: string): string {
  const folder = mkdtempSync(join(tmpdir(), "tapir-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, file), content);
  return join(folder, name);
}
