/**
 * The leases of all networks in a file, so that they survive a restart (RFC 2131 2.2). It is written whole beside its place
 * and then renamed: it is always one state or the next. Times in it are seconds since 1970, as the monotonic clock that
 * leases run by begins anew with the machine.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { Ajv } from "ajv";
import { type Static, Type } from "typebox";
import type { SystemError } from "../errors.ts";

const LeaseSchema = Type.Object({
  address: Type.String({ pattern: "^([0-9]{1,3}\\.){3}[0-9]{1,3}$" }),
  port: Type.String({ maxLength: 15 }),
  client: Type.String({ maxLength: 510 }),
  mac: Type.String({ pattern: "^[0-9a-f]{2}(:[0-9a-f]{2}){5}$" }),
  hostName: Type.String({ maxLength: 63 }),
  /** Whether it is given now; otherwise the client had it last. */
  isBound: Type.Boolean(),
  ends: Type.Integer(),
});

const FileSchema = Type.Object({
  version: Type.Literal(1),
  networks: Type.Record(Type.String(), Type.Array(LeaseSchema)),
});

export type KeptLease = Static<typeof LeaseSchema>;
/** By the name of the network. */
export type LeasesFile = Static<typeof FileSchema>;

const isLeases = new Ajv().compile<LeasesFile>(FileSchema);

/**
 * What is in the file; nothing where there is none.
 * @throws Error where it cannot be read, or is not what `saveLeases` writes.
 */
export function loadLeases(file: string): LeasesFile {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as SystemError).code === "ENOENT") return { version: 1, networks: {} };
    throw error;
  }
  const leases = parse(text);
  if (isLeases(leases)) return leases;
  throw new Error(`${file} is not what Tapir writes: move it away to start without it`);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The word of an address in the file. */
export function wordOfAddress(text: string): number {
  return text.split(".").reduce((word, octet) => (word << 8) | (Number(octet) & 0xff), 0);
}

/** @throws Error where it cannot be written; the file is then as it was. */
export function saveLeases(file: string, leases: LeasesFile): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const next = `${file}.new`;
  const fd = openSync(next, "w", 0o600);
  try {
    writeFileSync(fd, `${JSON.stringify(leases)}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(next, file);
}
