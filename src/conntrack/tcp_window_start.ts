/**
 * Where TCP window tracking begins: with a SYN, in the middle of a connection, or again after the tracker had lost
 * step. What the words mean is said in `tcp_window.ts`.
 */
import type { Frame } from "../packet/frame.ts";
import { TcpFlag } from "../packet/tcp.ts";
import { FlowWord, TCP_WINDOW_WORDS } from "./flow_layout.ts";
import { directionBits, LAST_SCALE_SHIFT, SCALE_SHIFT, TcpDetail, windowScale } from "./tcp_detail.ts";
import { SACK_OPTION, synOptions } from "./tcp_options.ts";
import { TcpState } from "./tcp_states.ts";

/** Words behind END of the same direction. */
export const MAX_END = 1;
export const MAX_WINDOW = 2;

/** Sequence number behind a segment: its payload, and one each for SYN and FIN. */
export function segmentEnd(memory: DataView, frame: Frame): number {
  const l4 = frame.l4;
  const header = memory.getInt32(l4 + 12);
  const flags = header >>> 16;
  const length = frame.end - l4 - ((header >>> 28) << 2) + ((flags >>> 1) & 1) + (flags & 1);
  return (memory.getInt32(l4 + 4) + length) | 0;
}

/** The first segment of a direction, or a new SYN. True when there is nothing more to judge (simultaneous open). */
export function beginSender(
  words: Int32Array,
  base: number,
  direction: number,
  state: number,
  memory: DataView,
  frame: Frame,
  end: number,
  sack: number,
): boolean {
  const sender = base + FlowWord.TCP_END + direction * TCP_WINDOW_WORDS;
  const flags = memory.getUint8(frame.l4 + 13);
  const isSyn = (flags & TcpFlag.SYN) !== 0;
  if (words[sender + MAX_WINDOW] === 0) {
    if (!isSyn) {
      beginInTheMiddle(words, base, direction, memory.getUint16(frame.l4 + 14), end, sack);
      return false;
    }
    beginWithSyn(words, base, direction, memory, frame, end);
    return (flags & TcpFlag.ACK) === 0;
  }
  // A host that starts anew uses higher numbers than before, perhaps other options (RFC 9293 3.4.3).
  const isRestart =
    isSyn && ((words[sender] - end) | 0) < 0 && (state === TcpState.SYN_SENT || state === TcpState.SYN_RECV);
  if (!isRestart) return false;
  beginWithSyn(words, base, direction, memory, frame, end);
  return direction === 1 && (flags & TcpFlag.ACK) === 0;
}

/** The history is lost: take the segment for the end of it. */
function beginInTheMiddle(
  words: Int32Array,
  base: number,
  direction: number,
  rawWindow: number,
  end: number,
  sack: number,
): void {
  const sender = base + FlowWord.TCP_END + direction * TCP_WINDOW_WORDS;
  const receiver = base + FlowWord.TCP_END + (1 - direction) * TCP_WINDOW_WORDS;
  const window = rawWindow << windowScale(words[base + FlowWord.TCP_DETAIL], direction) || 1;
  words[sender] = end;
  words[sender + MAX_WINDOW] = window;
  words[sender + MAX_END] = (end + window) | 0;
  if (words[receiver + MAX_WINDOW] === 0) {
    words[receiver] = sack;
    words[receiver + MAX_END] = sack;
  } else if (sack === ((words[receiver] + 1) | 0)) {
    // Answers a keep-alive, which repeats the byte before the one that is due.
    words[receiver] = sack;
  }
}

/** First or new SYN or SYN/ACK of a direction: numbers and options are what it says. */
export function beginWithSyn(
  words: Int32Array,
  base: number,
  direction: number,
  memory: DataView,
  frame: Frame,
  end: number,
): void {
  const sender = base + FlowWord.TCP_END + direction * TCP_WINDOW_WORDS;
  words[sender] = end;
  words[sender + MAX_END] = end;
  words[sender + MAX_WINDOW] = memory.getUint16(frame.l4 + 14) || 1;
  let detail = words[base + FlowWord.TCP_DETAIL];
  const options = synOptions(memory, frame);
  if (options >= 0) {
    detail &= ~directionBits(direction);
    detail |= (options & TcpDetail.SCALE) << (direction * SCALE_SHIFT);
    if ((options & SACK_OPTION) !== 0) detail |= TcpDetail.SACK_PERMITTED << direction;
  }
  const scales = detail & 0xff;
  const bothScale = (scales & 0x0f) !== 0 && (scales & 0xf0) !== 0;
  // Windows are scaled only when both sides have sent the option (RFC 7323 2.2); that one was sent is remembered.
  if (direction === 1 && !bothScale) {
    detail &= ~0xff;
    if ((scales & 0x0f) !== 0) detail |= 0x01;
    if ((scales & 0xf0) !== 0) detail |= 0x10;
  }
  words[base + FlowWord.TCP_DETAIL] = detail;
}

/**
 * A SYN that was let through unjudged has been answered by a SYN/ACK from `direction`: hosts are in step, and the flow
 * gets in step with them by what was noted of the SYN.
 */
export function resynchronise(words: Int32Array, base: number, direction: number): void {
  const answered = 1 - direction;
  const client = base + FlowWord.TCP_END + answered * TCP_WINDOW_WORDS;
  const server = base + FlowWord.TCP_END + direction * TCP_WINDOW_WORDS;
  words[client] = words[base + FlowWord.TCP_LAST_END];
  words[client + MAX_END] = words[base + FlowWord.TCP_LAST_END];
  words[client + MAX_WINDOW] = words[base + FlowWord.TCP_LAST_WINDOW] >>> 16 || 1;
  words.fill(0, server, server + TCP_WINDOW_WORDS);

  let detail = words[base + FlowWord.TCP_DETAIL];
  const scale = (detail & TcpDetail.LAST_SCALE) >>> LAST_SCALE_SHIFT;
  detail &= ~(directionBits(0) | directionBits(1) | (TcpDetail.LIBERAL << answered));
  detail &= ~(TcpDetail.CHALLENGE_EXPECTED | TcpDetail.CLOSE_BEGUN);
  detail |= scale << (answered * SCALE_SHIFT);
  if ((detail & TcpDetail.LAST_SACK_PERMITTED) !== 0) detail |= TcpDetail.SACK_PERMITTED << answered;
  words[base + FlowWord.TCP_DETAIL] = detail;
}
