/**
 * Regression vectors: cases that once failed, one JSON file each under `test/vectors/fuzz`. The tests play all of them.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../src/io/package_root.ts";

export interface Vector {
  target: string;
  /** What was wrong. */
  message: string;
  input: unknown;
}

export const VECTORS = join(packageRoot(), "test/vectors/fuzz");

/** Writes a vector; returns its path. */
export function writeVector(vector: Vector, folder = VECTORS): string {
  mkdirSync(folder, { recursive: true });
  const digest = createHash("sha256").update(JSON.stringify(vector.input)).digest("hex").slice(0, 8);
  const file = join(folder, `${vector.target}-${digest}.json`);
  writeFileSync(file, `${JSON.stringify(vector, undefined, 2)}\n`);
  return file;
}

export function readVector(file: string): Vector {
  return JSON.parse(readFileSync(file, "utf8")) as Vector;
}

/** All that there are, by the name of the file. */
export function allVectors(): { file: string; vector: Vector }[] {
  const files = readdirSync(VECTORS).filter((name) => name.endsWith(".json"));
  return files.sort().map((file) => ({ file, vector: readVector(join(VECTORS, file)) }));
}
