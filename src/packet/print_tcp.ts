/** A TCP header as text, in tcpdump's words (`-n -S`): flags, sequence numbers, window, options, payload length. */
import { acknowledgement, dataOffset, flags, sequence, TCP_HEADER_BYTES, TcpFlag, window } from "./tcp.ts";

const FLAG_LETTERS: readonly [number, string][] = [
  [TcpFlag.FIN, "F"],
  [TcpFlag.SYN, "S"],
  [TcpFlag.RST, "R"],
  [TcpFlag.PSH, "P"],
  [TcpFlag.ACK, "."],
  [TcpFlag.URG, "U"],
  [TcpFlag.ECE, "E"],
  [TcpFlag.CWR, "W"],
];

/** The segment from `at` to `end`; any bytes will do. */
export function printTcp(memory: DataView, at: number, end: number): string {
  if (end - at < TCP_HEADER_BYTES) return "[|tcp]";
  const headerBytes = dataOffset(memory, at);
  if (headerBytes < TCP_HEADER_BYTES) return `tcp ${end - at} [bad hdr length ${headerBytes} - too short, < 20]`;
  if (headerBytes > end - at) return `tcp ${end - at} [bad hdr length ${headerBytes} - too long, > ${end - at}]`;
  const bits = flags(memory, at);
  const letters = FLAG_LETTERS.map(([bit, letter]) => ((bits & bit) !== 0 ? letter : "")).join("");
  const length = end - at - headerBytes;
  const words = [`Flags [${letters === "" ? "none" : letters}]`];
  if (length > 0 || (bits & (TcpFlag.SYN | TcpFlag.FIN | TcpFlag.RST)) !== 0) {
    const first = sequence(memory, at) >>> 0;
    words.push(length > 0 ? `seq ${first}:${(first + length) >>> 0}` : `seq ${first}`);
  }
  if ((bits & TcpFlag.ACK) !== 0) words.push(`ack ${acknowledgement(memory, at) >>> 0}`);
  words.push(`win ${window(memory, at)}`);
  if ((bits & TcpFlag.URG) !== 0) words.push(`urg ${memory.getUint16(at + 18)}`);
  if (headerBytes > TCP_HEADER_BYTES) {
    words.push(`options [${printOptions(memory, at + TCP_HEADER_BYTES, at + headerBytes)}]`);
  }
  words.push(`length ${length}`);
  return words.join(", ");
}

const OptionKind = { END: 0, NOP: 1, MSS: 2, WINDOW_SCALE: 3, SACK_PERMITTED: 4, SACK: 5, TIMESTAMPS: 8 } as const;

/** RFC 9293 3.2, RFC 7323, RFC 2018. */
function printOptions(memory: DataView, at: number, end: number): string {
  const words: string[] = [];
  while (at < end) {
    const kind = memory.getUint8(at);
    if (kind === OptionKind.END) {
      words.push("eol");
      break;
    }
    if (kind === OptionKind.NOP) {
      words.push("nop");
      at++;
      continue;
    }
    const length = at + 1 < end ? memory.getUint8(at + 1) : 0;
    if (length < 2 || at + length > end) {
      words.push("bad opt");
      break;
    }
    words.push(printOption(memory, at, kind, length));
    at += length;
  }
  return words.join(",");
}

function printOption(memory: DataView, at: number, kind: number, length: number): string {
  if (kind === OptionKind.MSS && length === 4) return `mss ${memory.getUint16(at + 2)}`;
  if (kind === OptionKind.WINDOW_SCALE && length === 3) return `wscale ${memory.getUint8(at + 2)}`;
  if (kind === OptionKind.SACK_PERMITTED && length === 2) return "sackOK";
  if (kind === OptionKind.TIMESTAMPS && length === 10) {
    return `TS val ${memory.getUint32(at + 2)} ecr ${memory.getUint32(at + 6)}`;
  }
  if (kind === OptionKind.SACK && length >= 10 && (length - 2) % 8 === 0) {
    let text = `sack ${(length - 2) / 8} `;
    for (let block = at + 2; block < at + length; block += 8) {
      text += `{${memory.getUint32(block)}:${memory.getUint32(block + 4)}}`;
    }
    return text;
  }
  return `unknown-${kind}`;
}
