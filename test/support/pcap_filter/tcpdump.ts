/** The real tcpdump as the judge of expressions: which packets of a capture file it selects. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

export interface CapturedFrame {
  bytes: Uint8Array;
  /** Length before it was cut. */
  wireLength: number;
}

/** A capture file (libpcap's format) of Ethernet; the seconds of each packet are its place in the list. */
export function writePcap(path: string, frames: readonly CapturedFrame[]): void {
  const header = Buffer.alloc(FILE_HEADER_BYTES);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(262_144, 16);
  header.writeUInt32LE(1, 20);
  const parts = frames.flatMap(({ bytes, wireLength }, index) => {
    const record = Buffer.alloc(RECORD_HEADER_BYTES);
    record.writeUInt32LE(index, 0);
    record.writeUInt32LE(bytes.length, 8);
    record.writeUInt32LE(wireLength, 12);
    return [record, bytes];
  });
  writeFileSync(path, Buffer.concat([header, ...parts]));
}

/** Places of the packets that tcpdump selects, or its complaint. `-O`: without libpcap's optimizer. */
export function selectedByTcpdump(path: string, expression: string, optimized: boolean): number[] | string {
  const args = ["-r", path, "-Z", "root", "-w", "-", ...(optimized ? [] : ["-O"]), "--", expression];
  const { status, stdout, stderr } = spawnSync("tcpdump", args, { maxBuffer: 64 << 20 });
  if (status !== 0) return stderr.toString().trim().split("\n").at(-1) ?? "";
  const selected: number[] = [];
  for (let at = FILE_HEADER_BYTES; at < stdout.length; at += RECORD_HEADER_BYTES + stdout.readUInt32LE(at + 8)) {
    selected.push(stdout.readUInt32LE(at));
  }
  return selected;
}
