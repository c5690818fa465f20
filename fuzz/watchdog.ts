/**
 * A thread that sees whether a case comes to its end. The case that runs lies in shared memory, as JSON: when nothing
 * moves for long, the thread writes it as a vector and ends the process, since nobody else can.
 */
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { type Vector, writeVector } from "./vectors.ts";

const ROOM_BYTES = 8 * 1024 * 1024;
/** Longer than a slow machine may take for one case, and for making it smaller. */
const HANGS_MS = 60_000;

const Word = { NUMBER: 0, LENGTH: 1 } as const;

interface Shared {
  words: SharedArrayBuffer;
  text: SharedArrayBuffer;
  folder: string;
}

export class Watchdog {
  private readonly words = new Int32Array(new SharedArrayBuffer(8));
  private readonly text = new Uint8Array(new SharedArrayBuffer(ROOM_BYTES));
  private readonly scratch = new Uint8Array(ROOM_BYTES);
  private readonly worker: Worker;

  /** `folder`: where a case that hangs is written to. */
  constructor(folder: string) {
    const shared = { words: this.words.buffer, text: this.text.buffer, folder };
    this.worker = new Worker(new URL(import.meta.url), { workerData: shared });
    this.worker.unref();
  }

  /** A case begins. */
  note(target: string, input: unknown): void {
    const vector: Vector = { target, message: "does not come to an end", input };
    const { written } = new TextEncoder().encodeInto(JSON.stringify(vector), this.scratch);
    this.text.set(this.scratch.subarray(0, written));
    Atomics.store(this.words, Word.LENGTH, written);
    Atomics.add(this.words, Word.NUMBER, 1);
  }

  close(): Promise<number> {
    return this.worker.terminate();
  }
}

function watch({ words: wordsBuffer, text, folder }: Shared): void {
  const words = new Int32Array(wordsBuffer);
  let last = -1;
  setInterval(() => {
    const number = Atomics.load(words, Word.NUMBER);
    if (number === last && number > 0) {
      const bytes = new Uint8Array(text).slice(0, Atomics.load(words, Word.LENGTH));
      const file = writeVector(JSON.parse(new TextDecoder().decode(bytes)) as Vector, folder);
      process.stderr.write(`\na case does not come to an end: ${file}\n`);
      process.exit(1);
    }
    last = number;
  }, HANGS_MS);
}

if (!isMainThread) watch(workerData as Shared);
