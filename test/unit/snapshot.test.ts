/** Snapshots on disk: whole or refused, never half-written, and read by the clock and the names of the next router. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { FLOW_LAYOUT_VERSION, FLOW_WORDS, FlowFlag, FlowWord } from "../../src/conntrack/flow_layout.ts";
import { type FlowId, FlowTable } from "../../src/conntrack/flow_table.ts";
import { parseConfiguration, type ResolvedPlan, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { FlowReader } from "../../src/control/flows.ts";
import { unfinished, writeAll, writeDurably } from "../../src/control/snapshot/durable.ts";
import {
  type Description,
  decodeSnapshot,
  encodeDescription,
  encodeHeader,
  HEADER_BYTES,
} from "../../src/control/snapshot/format.ts";
import { readSnapshot, restoreContents } from "../../src/control/snapshot/restore.ts";
import { writeFlows } from "../../src/control/snapshot/write.ts";
import { packageRoot } from "../../src/io/package_root.ts";
import { word } from "../support/frames.ts";
import { temporaryFolder } from "../support/temporary.ts";

const NOW = 1_000_000;
const WALL = Date.UTC(2026, 0, 1);
const C1 = word("10.55.66.2");
const UPLINK = word("203.0.113.1");
const SERVER = word("203.0.113.2");

function resolved(text = ""): ResolvedPlan {
  const { configuration } = parseConfiguration(
    `version: 1
networks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: c1, address: 10.55.66.2 } } } }
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24 } }
${text}`,
    "test",
  );
  if (configuration === undefined) throw new Error("not valid");
  return resolvePlan(configuration);
}

function described(more: Partial<Description> = {}): Description {
  const { plan } = resolved();
  return {
    program: "0.1.0",
    flowLayout: FLOW_LAYOUT_VERSION,
    wallMs: WALL,
    nowMs: NOW,
    capacity: 16,
    profile: "linux",
    ownAddresses: [word("10.55.66.1"), UPLINK],
    containers: [C1],
    interfaces: plan.interfaces.map(({ index, name }) => ({ index, name })),
    ports: plan.ports.map(({ index, name }) => ({ index, name })),
    ...more,
  };
}

/** A table with masqueraded datagram flows, each with `seconds` left. */
function table(...seconds: number[]): FlowReader {
  const memory = new ArrayBuffer(FlowTable.bytesFor(16));
  const flows = new FlowTable(memory, 16, 1);
  seconds.forEach((left, index) => {
    const flow = flows.allocate() as FlowId;
    const base = flow * FLOW_WORDS;
    flows.words.set([C1, SERVER, ((4000 + index) << 16) | 53, SERVER, UPLINK, (53 << 16) | (4000 + index)], base);
    flows.words[base + FlowWord.STATUS] = 17 | FlowFlag.SOURCE_NAT;
    flows.words[base + FlowWord.DEADLINE] = NOW + left * 1000;
    flows.words[base + FlowWord.CREATED] = NOW - 5000;
    flows.insert(flow);
  });
  return new FlowReader(memory, 16);
}

const place = (): string => join(dirname(temporaryFolder({ kept: "" }, "kept")), "flows.tapir");

async function written(): Promise<{ path: string; bytes: Buffer }> {
  const path = place();
  await writeFlows(path, table(30, 60), described());
  return { path, bytes: readFileSync(path) };
}

/** A file like `bytes`, with a checksum that fits. */
function sealed(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  createHash("sha256").update(copy.subarray(HEADER_BYTES)).update(copy.subarray(0, 32)).digest().copy(copy, 32);
  return copy;
}

describe("the file of a snapshot", () => {
  it("has the live flows, word for word, and is nobody else's to read", async () => {
    const path = place();
    const reader = table(30, 60, -1);
    const answer = await writeFlows(path, reader, described());
    expect(answer).toEqual({ flows: 2, torn: 0, bytes: statSync(path).size });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const { description, flows } = readSnapshot(path) ?? {};
    expect(description).toEqual(described());
    expect(flows).toEqual(new Int32Array(reader.words.subarray(0, 2 * FLOW_WORDS)));
  });

  it("is refused when it is cut, wherever", async () => {
    const { bytes } = await written();
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeSnapshot(bytes.subarray(0, length)), `${length} bytes`).toThrow(/so short|not whole/);
    }
    expect(() => decodeSnapshot(Buffer.concat([bytes, Buffer.of(0)]))).toThrow(/not whole/);
  });

  it("is refused when any bit of it has changed", async () => {
    const { bytes } = await written();
    expect(() => decodeSnapshot(bytes)).not.toThrow();
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3] ^= 1 << (bit & 7);
      expect(() => decodeSnapshot(bytes), `bit ${bit}`).toThrow();
      bytes[bit >> 3] ^= 1 << (bit & 7);
    }
  });

  it("says what it is when it is another version's, or nothing of the kind", async () => {
    const { bytes } = await written();
    expect(() => decodeSnapshot(Buffer.alloc(100, "x"))).toThrow("it is no snapshot of Tapir");
    const later = Buffer.from(bytes);
    later.writeUInt32LE(2, 8);
    expect(() => decodeSnapshot(sealed(later))).toThrow("version 2 of the format; this program reads version 1");
    const body = createHash("sha256");
    const text = encodeDescription(described({ flowLayout: 99, program: "9.9.9" }));
    const other = Buffer.concat([encodeHeader(text.length, 0, body.update(text)), text]);
    expect(() => decodeSnapshot(other)).toThrow("Tapir 9.9.9 wrote it with layout 99 of flows");
  });

  it("is refused when what it says of itself does not fit, though its checksum does", async () => {
    const { bytes } = await written();
    for (const [at, value] of [
      [12, 0xffffffff],
      [12, 4],
      [16, 1],
      [20, 31],
    ]) {
      const wrong = Buffer.from(bytes);
      wrong.writeUInt32LE(value, at);
      expect(() => decodeSnapshot(sealed(wrong)), `${value} at ${at}`).toThrow();
    }
  });
});

describe("a file that is written durably", () => {
  it("stays what it was when writing fails, and nothing is left beside it", async () => {
    const path = temporaryFolder({ state: "former" }, "state");
    const failing = writeDurably(path, async (file) => {
      await writeAll(file, Buffer.from("half"));
      throw new Error("the disk is full");
    });
    await expect(failing).rejects.toThrow("the disk is full");
    expect(readFileSync(path, "utf8")).toBe("former");
    expect(existsSync(unfinished(path))).toBe(false);
  });

  it("stays what it was when the writer is killed, and the next one is not in the way of what that has left", async () => {
    const path = temporaryFolder({ state: "former" }, "state");
    const module = join(packageRoot(), "dist/src/control/snapshot/durable.js");
    const script = `import { writeAll, writeDurably } from ${JSON.stringify(module)};
      setInterval(() => {}, 1000);
      await writeDurably(${JSON.stringify(path)}, async (file) => {
        await writeAll(file, Buffer.from("half"));
        console.log("written");
        await new Promise(() => {});
      });`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(readFileSync(path, "utf8")).toBe("former");
    expect(readFileSync(unfinished(path), "utf8")).toBe("half");
    chmodSync(unfinished(path), 0o644);
    await writeDurably(path, (file) => writeAll(file, Buffer.from("new")));
    expect(readFileSync(path, "utf8")).toBe("new");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(existsSync(unfinished(path))).toBe(false);
  });

  it("does not follow a link that stands in its way", async () => {
    const path = temporaryFolder({ state: "former", other: "other" }, "state");
    const other = join(dirname(path), "other");
    symlinkSync(other, unfinished(path));
    await expect(writeDurably(path, (file) => writeAll(file, Buffer.from("new")))).rejects.toThrow(/ELOOP/);
    expect(readFileSync(other, "utf8")).toBe("other");
  });
});

describe("restoring", () => {
  const clocks = { wallMs: WALL + 40_000, nowMs: 77_000 };

  async function restored(
    reader: FlowReader,
    description = described(),
    plan = resolved(),
    at = clocks,
  ): Promise<{ taken: Int32Array; outcome: Awaited<ReturnType<typeof restoreContents>> }> {
    const path = place();
    await writeFlows(path, reader, description);
    const contents = readSnapshot(path);
    if (contents === undefined) throw new Error("no snapshot");
    let taken = new Int32Array();
    const outcome = await restoreContents(contents, plan, at, async (flows) => {
      taken = new Int32Array(new Uint8Array(Buffer.from(flows, "base64")).buffer);
      return { restored: taken.length / FLOW_WORDS, expired: 0, unsound: 0, forbidden: 0, taken: 0, noRoom: 0 };
    });
    return { taken, outcome };
  }

  it("counts the time without a router against the flows' lifetimes", async () => {
    const { taken, outcome } = await restored(table(30, 60));
    expect(outcome).toMatchObject({ restored: 1, expired: 1, ageMs: 40_000 });
    expect(taken[FlowWord.DEADLINE]).toBe(77_000 + 20_000);
    expect(taken[FlowWord.CREATED]).toBe(77_000 - 45_000);
    expect(taken[FlowWord.PORTS] >>> 16).toBe(4001);
  });

  it("takes no time to have passed where the clock was set back", async () => {
    const { taken, outcome } = await restored(table(30), described(), resolved(), { ...clocks, wallMs: WALL - 9_000 });
    expect(outcome).toMatchObject({ restored: 1, ageMs: 0 });
    expect(taken[FlowWord.DEADLINE]).toBe(77_000 + 30_000);
  });

  it("goes on where the clock of deadlines wraps", async () => {
    const high = { ...clocks, nowMs: 0x7fffffff - 5_000 };
    const { taken } = await restored(table(60), described(), resolved(), high);
    expect((taken[FlowWord.DEADLINE] - high.nowMs) | 0).toBe(20_000);
  });

  it("leaves flows behind whose container or translated address is there no more", async () => {
    const elsewhere = resolved().plan;
    const noContainer = { ...resolved(), devices: [] };
    expect((await restored(table(60), described(), noContainer)).outcome).toMatchObject({ restored: 0, homeless: 1 });
    const [lab, wan] = elsewhere.interfaces;
    const moved = {
      ...resolved(),
      plan: { ...elsewhere, interfaces: [lab, { ...wan, address: word("203.0.113.7") }] },
    };
    expect((await restored(table(60), described(), moved)).outcome).toMatchObject({ restored: 0, homeless: 1 });
    const other = described({ profile: "bcp" });
    expect((await restored(table(60), other)).outcome).toMatchObject({ restored: 0, homeless: 1 });
  });

  it("is no error where there is no file, and says so where it cannot be read", () => {
    const path = temporaryFolder({ "flows.tapir": "" }, "flows.tapir");
    expect(readSnapshot(`${path}.not`)).toBeUndefined();
    expect(() => readSnapshot(path)).toThrow("it has 0 bytes");
    writeFileSync(path, "rubbish".repeat(20));
    expect(() => readSnapshot(path)).toThrow("it is no snapshot of Tapir");
  });
});
