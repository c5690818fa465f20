/** Writes the manual page (`npm run man`). */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../io/package_root.ts";
import { createProgram } from "../main.ts";
import { manPage } from "./man_page.ts";

const folder = join(packageRoot(), "docs/man");
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "tapir.8"), manPage(createProgram()));
