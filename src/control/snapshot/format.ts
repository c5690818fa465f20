/**
 * The file of a snapshot's flows.
 *
 *     0   magic "TAPIRFLW"
 *     8   version of this format              u32
 *     12  bytes of the description            u32, a multiple of 4
 *     16  flows                               u32
 *     20  words of a flow                     u32
 *     24  length of the file in bytes         u64
 *     32  SHA-256 of all bytes but these 32
 *     64  the description: JSON, filled up with blanks
 *     ..  the flows, as `conntrack/flow_layout.ts` has them; numbers are little-endian
 *
 * A file is taken whole or not at all: every truncation and every changed byte is refused (`SnapshotError`). What the
 * flows mean depends on `FLOW_LAYOUT_VERSION`, which the description names.
 */
import { createHash, type Hash } from "node:crypto";
import { FLOW_LAYOUT_VERSION, FLOW_WORDS } from "../../conntrack/flow_layout.ts";
import { TapirError } from "../errors.ts";

const MAGIC = "TAPIRFLW";
export const FORMAT_VERSION = 1;
export const HEADER_BYTES = 64;
const DIGEST_AT = 32;
/** No description is longer: what claims to be is no snapshot. */
const MOST_DESCRIPTION_BYTES = 16 << 20;

/** What the flows of a file are to be read with. */
export interface Description {
  /** Of the program that wrote it. */
  program: string;
  flowLayout: number;
  /** When it was written: milliseconds since 1970. */
  wallMs: number;
  /** The clock that the flows' deadlines are told by, then: wrapped milliseconds. */
  nowMs: number;
  /** Flows that the table could hold. */
  capacity: number;
  profile: "linux" | "bcp";
  /** Addresses of the router's own, and of containers, as words. */
  ownAddresses: number[];
  containers: number[];
  /** Names, by which indexes in bridged flows are read: of networks and uplinks, and of ports. */
  interfaces: Named[];
  ports: Named[];
}

export interface Named {
  index: number;
  name: string;
}

export interface Contents {
  description: Description;
  /** `FLOW_WORDS` words each. */
  flows: Int32Array;
}

/** A file that is no snapshot, or is not whole, or is of another version. */
export class SnapshotError extends TapirError {}

/** The description as it stands in the file. */
export function encodeDescription(description: Description): Buffer {
  const text = Buffer.from(JSON.stringify(description));
  return Buffer.concat([text, Buffer.alloc(-text.length & 3, " ")]);
}

/** The header of a file whose description and flows `body` has seen, in their order. */
export function encodeHeader(descriptionBytes: number, flows: number, body: Hash): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 0, "latin1");
  header.writeUInt32LE(FORMAT_VERSION, 8);
  header.writeUInt32LE(descriptionBytes, 12);
  header.writeUInt32LE(flows, 16);
  header.writeUInt32LE(FLOW_WORDS, 20);
  header.writeBigUInt64LE(BigInt(HEADER_BYTES + descriptionBytes + flows * FLOW_WORDS * 4), 24);
  body.update(header.subarray(0, DIGEST_AT)).digest().copy(header, DIGEST_AT);
  return header;
}

/** Reads a whole file; throws `SnapshotError` for one that is not, byte for byte, what was written. */
export function decodeSnapshot(file: Buffer): Contents {
  if (file.length < HEADER_BYTES) throw new SnapshotError(`it has ${file.length} bytes: no snapshot is so short`);
  if (file.toString("latin1", 0, MAGIC.length) !== MAGIC) throw new SnapshotError("it is no snapshot of Tapir");
  const version = file.readUInt32LE(8);
  if (version !== FORMAT_VERSION) {
    throw new SnapshotError(`it has version ${version} of the format; this program reads version ${FORMAT_VERSION}`);
  }
  const length = file.readBigUInt64LE(24);
  if (length !== BigInt(file.length)) {
    throw new SnapshotError(`it has ${file.length} bytes where it had ${length}: it is not whole`);
  }
  const body = createHash("sha256").update(file.subarray(HEADER_BYTES)).update(file.subarray(0, DIGEST_AT));
  if (!body.digest().equals(file.subarray(DIGEST_AT, HEADER_BYTES))) {
    throw new SnapshotError("its checksum does not fit: it was damaged");
  }
  return { description: descriptionOf(file), flows: flowsOf(file) };
}

function descriptionOf(file: Buffer): Description {
  const bytes = file.readUInt32LE(12);
  if (bytes > MOST_DESCRIPTION_BYTES || HEADER_BYTES + bytes > file.length) {
    throw new SnapshotError("its description is longer than the file");
  }
  let description: Description;
  try {
    description = JSON.parse(file.toString("utf8", HEADER_BYTES, HEADER_BYTES + bytes)) as Description;
  } catch {
    throw new SnapshotError("its description cannot be read");
  }
  if (description.flowLayout !== FLOW_LAYOUT_VERSION || file.readUInt32LE(20) !== FLOW_WORDS) {
    const { flowLayout, program } = description;
    throw new SnapshotError(
      `Tapir ${program} wrote it with layout ${flowLayout} of flows; this program has layout ${FLOW_LAYOUT_VERSION}`,
    );
  }
  return description;
}

function flowsOf(file: Buffer): Int32Array {
  const from = HEADER_BYTES + file.readUInt32LE(12);
  const words = file.readUInt32LE(16) * FLOW_WORDS;
  if (from + words * 4 !== file.length) throw new SnapshotError("it does not have as many flows as it says");
  // A copy: the file's bytes need not begin at a word.
  return new Int32Array(new Uint8Array(file.subarray(from)).buffer);
}
