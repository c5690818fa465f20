/**
 * The leases of all networks in a file, so that they survive a restart (RFC 2131 2.2). Times in it are seconds since 1970,
 * as the monotonic clock that leases run by begins anew with the machine.
 */
import { Ajv } from "ajv";
import { type Static, Type } from "typebox";
import { readKept, writeKept } from "../kept_file.ts";

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
  const leases = readKept(file, { version: 1, networks: {} });
  if (isLeases(leases)) return leases;
  throw new Error(`${file} is not what Tapir writes: move it away to start without it`);
}

/** The word of an address in the file. */
export function wordOfAddress(text: string): number {
  return text.split(".").reduce((word, octet) => (word << 8) | (Number(octet) & 0xff), 0);
}

/** @throws Error where it cannot be written; the file is then as it was. */
export function saveLeases(file: string, leases: LeasesFile): void {
  writeKept(file, `${JSON.stringify(leases)}\n`);
}
