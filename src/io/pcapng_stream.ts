/**
 * pcapng as `pcapng_writer.ts` writes it, read as it comes: whole blocks out of pieces of any size. For files of others
 * there is `pcapng_reader.ts`.
 */
import { CaptureFileError, MOST_PACKET_BYTES } from "./captured_packet.ts";
import { optionsOf, textOf } from "./pcapng_reader.ts";

const BlockType = { INTERFACE: 1, STATISTICS: 5, PACKET: 6 } as const;
const Option = { COMMENT: 1, IF_NAME: 2, ISB_IFDROP: 5 } as const;
const MOST_BLOCK_BYTES = MOST_PACKET_BYTES + 64 * 1024;

export interface StreamedPacket {
  /** What its interface is called. */
  interfaceName: string;
  seconds: number;
  microseconds: number;
  length: number;
  comment: string;
  /** A part of the stream: valid until the call returns. */
  bytes: Uint8Array;
}

export interface StreamListener {
  packet(packet: StreamedPacket): void;
  /** Packets that an interface has lost in all. */
  lost(count: number): void;
}

export class PcapngStream {
  private readonly listener: StreamListener;
  private readonly names: string[] = [];
  private rest: Uint8Array = new Uint8Array(0);

  constructor(listener: StreamListener) {
    this.listener = listener;
  }

  /** Takes the next piece of the stream; throws a `CaptureFileError` for what is no pcapng. */
  push(piece: Uint8Array): void {
    const bytes = this.rest.length === 0 ? piece : Buffer.concat([this.rest, piece]);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    while (bytes.length - at >= 12) {
      const total = view.getUint32(at + 4, true);
      if (total < 12 || total % 4 !== 0 || total > MOST_BLOCK_BYTES) {
        throw new CaptureFileError(`a block cannot have ${total} bytes`);
      }
      if (bytes.length - at < total) break;
      this.takeBlock(view.getUint32(at, true), new DataView(view.buffer, view.byteOffset + at + 8, total - 12));
      at += total;
    }
    this.rest = bytes.slice(at);
  }

  private takeBlock(type: number, body: DataView): void {
    if (type === BlockType.PACKET) this.takePacket(body);
    else if (type === BlockType.INTERFACE) this.names.push(this.textOption(body, 8, Option.IF_NAME));
    else if (type === BlockType.STATISTICS) this.takeStatistics(body);
  }

  private textOption(body: DataView, from: number, wanted: number): string {
    for (const { code, value } of optionsOf(body, from, true)) if (code === wanted) return textOf(value);
    return "";
  }

  private takePacket(body: DataView): void {
    const captured = body.getUint32(12, true);
    const microseconds = body.getUint32(4, true) * 2 ** 32 + body.getUint32(8, true);
    const seconds = Math.floor(microseconds / 1e6);
    this.listener.packet({
      interfaceName: this.names[body.getUint32(0, true)] ?? "?",
      seconds,
      microseconds: microseconds - seconds * 1e6,
      length: body.getUint32(16, true),
      comment: this.textOption(body, 20 + ((captured + 3) & ~3), Option.COMMENT),
      bytes: new Uint8Array(body.buffer, body.byteOffset + 20, captured),
    });
  }

  private takeStatistics(body: DataView): void {
    for (const { code, value } of optionsOf(body, 12, true)) {
      if (code === Option.ISB_IFDROP && value.byteLength === 8) this.listener.lost(Number(value.getBigUint64(0, true)));
    }
  }
}
