/**
 * Writes the flows of a running router into a file, while the dataplane goes on. The table is read a slice at a time,
 * so the API is served in between, and memory stays bounded. Flows are not all of one moment: each is whole in itself.
 */
import { createHash } from "node:crypto";
import { FLOW_SHIFT, FLOW_WORDS, FlowWord, HeaderWord } from "../../conntrack/flow_layout.ts";
import type { FlowReader } from "../flows.ts";
import { writeAll, writeDurably } from "./durable.ts";
import { type Description, encodeDescription, encodeHeader, HEADER_BYTES } from "./format.ts";

/** Entries read without a pause: a megabyte. */
const SLICE = 8192;

export interface Written {
  flows: number;
  /** Flows that changed as often as they were read, and are not in the file. */
  torn: number;
  bytes: number;
}

/** Replaces the file at `path`; when it throws, the former one is there still. */
export function writeFlows(path: string, reader: FlowReader, description: Description): Promise<Written> {
  return writeDurably(path, async (file) => {
    const described = encodeDescription(description);
    const body = createHash("sha256").update(described);
    await writeAll(file, described, HEADER_BYTES);
    let at = HEADER_BYTES + described.length;
    const written: Written = { flows: 0, torn: 0, bytes: at };
    const slice = new Int32Array(SLICE * FLOW_WORDS);
    for (let from = 0; from < reader.header[HeaderWord.HIGH_WATER]; from += SLICE) {
      const count = copySlice(reader, from, slice, description.nowMs, written);
      const bytes = new Uint8Array(slice.buffer, 0, count * FLOW_WORDS * 4);
      body.update(bytes);
      await writeAll(file, bytes, at);
      at += bytes.length;
      written.flows += count;
    }
    await writeAll(file, encodeHeader(described.length, written.flows, body), 0);
    return { ...written, bytes: at };
  });
}

/** Copies the live flows of a slice to the begin of `slice`; returns how many there are. */
function copySlice(reader: FlowReader, from: number, slice: Int32Array, now: number, written: Written): number {
  let count = 0;
  const end = Math.min(from + SLICE, reader.header[HeaderWord.HIGH_WATER]);
  for (let flow = from; flow < end; flow++) {
    const words = reader.settled(flow);
    if (words === "torn") written.torn++;
    if (words === undefined || words === "torn" || ((words[FlowWord.DEADLINE] - now) | 0) <= 0) continue;
    slice.set(words, count++ << FLOW_SHIFT);
  }
  return count;
}
