/** A router in memory with captures, and what they have seen. */
import { commentOf, ruleLabels } from "../../src/control/capture_comment.ts";
import { Captures } from "../../src/dataplane/capture.ts";
import {
  CAPTURE_MEMORY_BYTES,
  CaptureRingReader,
  HOOK_NAMES,
  type HookName,
  hookBits,
  LONGEST_SNAP_BYTES,
  RecordWord,
} from "../../src/dataplane/capture_ring.ts";
import { compileExpression } from "../../src/pcap_filter/expression.ts";
import { type Decoded, decode } from "./frames.ts";
import type { TestRouter } from "./router.ts";

export interface Seen extends Decoded {
  hook: HookName;
  port: number;
  interface: number;
  comment: string;
  bytes: Uint8Array;
  length: number;
  seconds: number;
}

export interface CaptureOptions {
  hooks?: readonly HookName[];
  port?: number;
  interface?: number;
  expression?: string;
  snapBytes?: number;
}

export class Capturing {
  readonly captures: Captures;
  private readonly router: TestRouter;
  private readonly memories = new Map<number, ArrayBuffer>();

  constructor(router: TestRouter) {
    this.router = router;
    this.captures = new Captures(router.arena.slotCount);
  }

  /** Begins a capture; the reader of its ring. */
  start(options: CaptureOptions = {}, capture = 0): CaptureRingReader {
    const { hooks = HOOK_NAMES, port = -1, interface: index = -1, snapBytes = LONGEST_SNAP_BYTES } = options;
    const memory = this.memories.get(capture) ?? new ArrayBuffer(CAPTURE_MEMORY_BYTES);
    this.memories.set(capture, memory);
    const program = Array.from(compileExpression(options.expression ?? ""));
    this.captures.start({ capture, hooks: hookBits(hooks), port, interface: index, snapBytes, program }, () => memory);
    this.router.router.captures = this.captures;
    return new CaptureRingReader(memory);
  }

  stop(capture = 0): void {
    this.captures.stop(capture);
    if (this.captures.isEmpty) this.router.router.captures = undefined;
  }

  /** What has come since the last call. */
  seen(reader: CaptureRingReader): Seen[] {
    const labels = ruleLabels(this.router.router.rules.ruleSet);
    return [...reader.read(100_000)].map((record) => {
      const { words, at, dataAt } = record;
      const bytes = record.bytes.slice(dataAt, dataAt + words[at + RecordWord.CAPTURED]);
      return {
        ...decode(bytes),
        hook: HOOK_NAMES[words[at + RecordWord.HOOK]],
        port: words[at + RecordWord.PORT],
        interface: words[at + RecordWord.INTERFACE],
        comment: commentOf(record, labels, (port) => String(port)),
        bytes,
        length: words[at + RecordWord.LENGTH],
        seconds: words[at + RecordWord.SECONDS],
      };
    });
  }
}

/** Hook, port, addresses with ports, and TTL: `ingress 0 10.55.66.2:4000>203.0.113.2:53 ttl 64`. */
export function headline(seen: Seen): string {
  const end = (address?: string, port?: number) => `${address}${port === undefined ? "" : `:${port}`}`;
  const from = end(seen.source, seen.sourcePort);
  return `${seen.hook} ${seen.port} ${from}>${end(seen.destination, seen.destinationPort)} ttl ${seen.ttl}`;
}
