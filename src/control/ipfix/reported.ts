/**
 * What has been reported of flows that go on: counters and time, by the flow's entry in the table, so that the next
 * record says what came since. Pieces are allocated where such flows are; an entry that another flow has taken over is
 * told by the flow's number.
 */
const ENTRIES = 4096;
/** Packets and bytes of each direction, and when it was reported: the dataplane's clock. */
const VALUES = 5;

interface Piece {
  numbers: Uint32Array;
  isUsed: Uint8Array;
  values: Float64Array;
}

export interface Totals {
  /** Packets and bytes of the original direction, then of the reply direction. */
  counters: readonly [number, number, number, number];
  /** The dataplane's clock; undefined: never. */
  reportedAt: number | undefined;
}

const NOTHING: Totals = { counters: [0, 0, 0, 0], reportedAt: undefined };

export class Reported {
  private readonly pieces: (Piece | undefined)[] = [];

  /** `flow`: entry; `number`: that of the flow which has it. */
  of(flow: number, number: number): Totals {
    const piece = this.pieces[Math.floor(flow / ENTRIES)];
    const at = flow % ENTRIES;
    if (piece === undefined || piece.isUsed[at] === 0 || piece.numbers[at] !== number) return NOTHING;
    const [packets, bytes, replyPackets, replyBytes, reportedAt] = piece.values.subarray(
      at * VALUES,
      (at + 1) * VALUES,
    );
    return { counters: [packets, bytes, replyPackets, replyBytes], reportedAt };
  }

  note(flow: number, number: number, counters: Totals["counters"], now: number): void {
    const index = Math.floor(flow / ENTRIES);
    this.pieces[index] ??= {
      numbers: new Uint32Array(ENTRIES),
      isUsed: new Uint8Array(ENTRIES),
      values: new Float64Array(ENTRIES * VALUES),
    };
    const piece = this.pieces[index];
    const at = flow % ENTRIES;
    piece.numbers[at] = number;
    piece.isUsed[at] = 1;
    piece.values.set([...counters, now], at * VALUES);
  }

  forget(flow: number): void {
    const piece = this.pieces[Math.floor(flow / ENTRIES)];
    if (piece !== undefined) piece.isUsed[flow % ENTRIES] = 0;
  }
}
