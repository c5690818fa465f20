/**
 * Frames on their way from the dataplane to the control process, which writes them down: one ring for each capture.
 *
 * Theory of operation. A ring of bytes in memory that both processes map. A record is a head of `HEAD_WORDS` words and the
 * frame's bytes, and lies in one piece: where it would not fit before the ring's end, a head with hook PAD fills that.
 * The dataplane alone writes records, and says so with WRITTEN once per burst: until then it may still add to their heads
 * what became of the frames. The control process alone moves READ. Both are counts of bytes that go on for ever (wrapped).
 * What finds no room is lost, and counted for its hook and port: the dataplane never waits.
 */

/** Where a frame is seen, in the order in which it comes by. */
export const HOOK_NAMES = ["ingress", "bridge", "prerouting", "postrouting", "egress", "drop"] as const;
export type HookName = (typeof HOOK_NAMES)[number];
export const Hook = { INGRESS: 0, BRIDGE: 1, PREROUTING: 2, POSTROUTING: 3, EGRESS: 4, DROP: 5, PAD: 6 } as const;

/** Captures at once. */
export const MOST_CAPTURES = 8;

/** Bytes of a frame that are kept, unless fewer are asked for; as tcpdump has it. */
export const LONGEST_SNAP_BYTES = 262_144;

const RING_BYTES = 4 << 20;
/** Ports whose losses are told apart; those of others count for the last. */
const LOSS_PORTS = 4096;

const RingWord = { WRITTEN: 0, READ: 16, MATCHED: 32, LOST: 33, LOSSES: 48 } as const;
const RING_WORDS = RingWord.LOSSES + HOOK_NAMES.length * LOSS_PORTS;

/** Bytes of memory for one ring. */
export const CAPTURE_MEMORY_BYTES = RING_WORDS * 4 + RING_BYTES;

/** A tuple of both directions and the status, as a flow's first words. */
export const RECORDED_FLOW_WORDS = 7;

export const RecordWord = {
  /** Of the whole record. */
  BYTES: 0,
  HOOK: 1,
  /** Port and interface that it was seen at; port -1: each of the interface. */
  PORT: 2,
  INTERFACE: 3,
  /** Bridged frames: the port that it goes to; -1 each other one. */
  OTHER_PORT: 4,
  /** Since 1970. */
  SECONDS: 5,
  MICROSECONDS: 6,
  CAPTURED: 7,
  LENGTH: 8,
  /** Reason why its walk ended; -1: not known. */
  STOP: 9,
  /** Number of the rule or policy that decided; -1: none did. */
  RULE: 10,
  /** 0 or 1; -1: it is of no flow. */
  DIRECTION: 11,
  /** 1: the router has made it. */
  OWN: 12,
  FLOW: 13,
} as const;
export const HEAD_WORDS = 20;
const HEAD_BYTES = HEAD_WORDS * 4;

export class CaptureRingWriter {
  readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  /** What WRITTEN will be. */
  private head: number;

  /** With `isBegun`, behind what another writer has left in the ring. */
  constructor(memory: ArrayBuffer, isBegun = false) {
    this.words = new Int32Array(memory, 0, CAPTURE_MEMORY_BYTES / 4);
    this.bytes = new Uint8Array(memory, 0, CAPTURE_MEMORY_BYTES);
    if (!isBegun) this.words.fill(0, 0, RING_WORDS);
    this.head = this.words[RingWord.WRITTEN];
  }

  /** A record for `captured` bytes: the index of its first word, or -1 when it is lost. Its head is to be filled. */
  begin(hook: number, port: number, captured: number): number {
    const { words } = this;
    words[RingWord.MATCHED] = (words[RingWord.MATCHED] + 1) | 0;
    const size = (HEAD_BYTES + captured + 3) & ~3;
    const used = (this.head - Atomics.load(words, RingWord.READ)) | 0;
    const offset = this.head & (RING_BYTES - 1);
    const left = RING_BYTES - offset;
    const pad = size > left ? left : 0;
    if (used + pad + size > RING_BYTES) {
      words[RingWord.LOST] = (words[RingWord.LOST] + 1) | 0;
      words[lossWord(hook, port)]++;
      return -1;
    }
    if (pad > 0) this.fill(offset, pad);
    const at = RING_WORDS + ((this.head & (RING_BYTES - 1)) >> 2);
    words[at + RecordWord.BYTES] = size;
    words[at + RecordWord.HOOK] = hook;
    words[at + RecordWord.PORT] = port;
    words[at + RecordWord.CAPTURED] = captured;
    this.head = (this.head + size) | 0;
    return at;
  }

  /** Copies bytes of a frame behind what the record at `at` has of it already (`offset` bytes). */
  copy(at: number, offset: number, from: Uint8Array, start: number, length: number): void {
    const { bytes } = this;
    let to = (at + HEAD_WORDS) * 4 + offset;
    // A view for each frame would have to be collected; short frames are copied as fast by hand.
    if (length > 256) {
      bytes.set(from.subarray(start, start + length), to);
      return;
    }
    for (let i = 0; i < length; i++) bytes[to++] = from[start + i];
  }

  /** What has been written may be read. */
  commit(): void {
    Atomics.store(this.words, RingWord.WRITTEN, this.head);
  }

  /** Nothing begins in the rest of the ring; a rest shorter than a head has room for its length at least. */
  private fill(offset: number, length: number): void {
    const at = RING_WORDS + (offset >> 2);
    this.words[at + RecordWord.BYTES] = length;
    if (length >= 8) this.words[at + RecordWord.HOOK] = Hook.PAD;
    this.head = (this.head + length) | 0;
  }
}

function lossWord(hook: number, port: number): number {
  return RingWord.LOSSES + hook * LOSS_PORTS + (port >= 0 && port < LOSS_PORTS ? port : LOSS_PORTS - 1);
}

/** Losses of one hook at one port. */
export interface CaptureLoss {
  hook: number;
  port: number;
  count: number;
}

/** A record: `words` from `at` on is its head, `bytes` from `dataAt` on the frame. Valid until the next is asked for. */
export interface CaptureRecord {
  words: Int32Array;
  at: number;
  bytes: Uint8Array;
  dataAt: number;
}

export class CaptureRingReader {
  private readonly words: Int32Array;
  private readonly bytes: Uint8Array;

  constructor(memory: ArrayBuffer) {
    this.words = new Int32Array(memory, 0, CAPTURE_MEMORY_BYTES / 4);
    this.bytes = new Uint8Array(memory, 0, CAPTURE_MEMORY_BYTES);
  }

  /** Frames that were to be recorded, and those of them that were lost. */
  get matched(): number {
    return Atomics.load(this.words, RingWord.MATCHED) >>> 0;
  }

  get lost(): number {
    return Atomics.load(this.words, RingWord.LOST) >>> 0;
  }

  /** Where frames were lost. */
  losses(): CaptureLoss[] {
    const losses: CaptureLoss[] = [];
    for (let hook = 0; hook < HOOK_NAMES.length; hook++) {
      for (let port = 0; port < LOSS_PORTS; port++) {
        const count = this.words[lossWord(hook, port)];
        if (count > 0) losses.push({ hook, port: port === LOSS_PORTS - 1 ? -1 : port, count });
      }
    }
    return losses;
  }

  /** Up to `most` records, the oldest first. */
  *read(most: number): Generator<CaptureRecord> {
    const { words, bytes } = this;
    const written = Atomics.load(words, RingWord.WRITTEN);
    let next = words[RingWord.READ];
    for (let left = most; left > 0 && next !== written; ) {
      const offset = next & (RING_BYTES - 1);
      const at = RING_WORDS + (offset >> 2);
      const size = words[at + RecordWord.BYTES];
      // A rest that has no room for a head is no record.
      const isPad = RING_BYTES - offset < HEAD_BYTES || words[at + RecordWord.HOOK] === Hook.PAD;
      if (!isPad) {
        left--;
        yield { words, at, bytes, dataAt: (at + HEAD_WORDS) * 4 };
      }
      next = (next + size) | 0;
      Atomics.store(words, RingWord.READ, next);
    }
  }
}

/** Bits of hooks by their names. */
export function hookBits(names: readonly string[]): number {
  return names.reduce((bits, name) => bits | (1 << (HOOK_NAMES as readonly string[]).indexOf(name)), 0);
}
