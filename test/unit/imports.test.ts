/** Imports run one way: cli -> control -> dataplane -> {bridge, routing, filter, nat} -> conntrack -> packet. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const SOURCES = resolve(dirname(fileURLToPath(import.meta.url)), "../../src");

/** Folders that files of a folder may import from, besides their own. */
const ALLOWED: Record<string, string[]> = {
  packet: [],
  pcap_filter: ["packet"],
  conntrack: ["packet"],
  bridge: ["conntrack", "packet"],
  routing: ["conntrack", "packet"],
  filter: ["conntrack", "packet"],
  nat: ["conntrack", "packet"],
  io: ["packet"],
  dataplane: ["pcap_filter", "bridge", "routing", "filter", "nat", "conntrack", "io", "packet"],
  control: ["pcap_filter", "dataplane", "bridge", "routing", "filter", "nat", "conntrack", "io", "packet"],
  client: ["control"],
  cni: ["client", "control"],
  library: ["client", "control", "dataplane", "conntrack", "io", "packet"],
  cli: ["control", "pcap_filter", "dataplane", "filter", "conntrack", "io", "packet"],
};

interface Import {
  from: string;
  to: string;
}

function importsOf(folder: string): Import[] {
  const found: Import[] = [];
  for (const entry of readdirSync(join(SOURCES, folder), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith(".ts")) continue;
    const file = join(entry.parentPath, entry.name);
    for (const [, target] of readFileSync(file, "utf8").matchAll(/from "(\.[^"]+)"/g)) {
      found.push({ from: relative(SOURCES, file), to: relative(SOURCES, resolve(dirname(file), target)) });
    }
  }
  return found;
}

describe("imports", () => {
  it("know every folder of src", () => {
    const folders = readdirSync(SOURCES, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(folders.map((entry) => entry.name).sort()).toEqual(Object.keys(ALLOWED).sort());
  });

  it.each(Object.keys(ALLOWED))("of %s run one way", (folder) => {
    const imports = importsOf(folder);
    expect(imports.length).toBeGreaterThan(0);
    const wrong = imports.filter(({ to }) => {
      const target = to.split("/")[0];
      return target !== folder && !ALLOWED[folder].includes(target);
    });
    expect(wrong).toEqual([]);
  });

  it("let the router be the first that is loaded: nothing that it needs waits for it", () => {
    const router = resolve(SOURCES, "../dist/src/dataplane/router.js");
    const { status, stderr } = spawnSync(process.execPath, [router], { encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  it("let the dataplane's stages see devices through the port interface alone", () => {
    const parts = ["main", "show", "control_link", "hand_over"];
    const processOnly = new Set(parts.map((part) => `dataplane/${part}.ts`));
    const wrong = importsOf("dataplane").filter(
      ({ from, to }) => to.startsWith("io/") && to !== "io/port.ts" && !processOnly.has(from),
    );
    expect(wrong).toEqual([]);
  });
});
