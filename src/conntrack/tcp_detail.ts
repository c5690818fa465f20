/**
 * The bits of a flow's TCP_DETAIL word. Bits that exist for each direction are given for the original one; shift them
 * left by the direction.
 *
 *    0-3   4-7    window scale plus one of the original and the reply direction; 0 where the option was not sent
 *    8-11         the same of the last SYN that was let through unjudged
 *   12,13  14     SACK permitted, each direction; and of that SYN
 *   15,16         judged liberally, each direction: picked up in the middle, so that scales are unknown
 *   17,18         sent data that the other side has not acknowledged yet
 *   19,20         has acknowledged something: TCP_MAX_ACK holds
 *   21            a side began to close
 *   22     23-25  direction and `SegmentKind` of the last segment
 *   26-29         retransmissions in a row, saturating
 *   30            that SYN may be answered by a challenge ACK (RFC 5961 4.2)
 *   31            simultaneous open (RFC 9293 3.5)
 */
export const TcpDetail = {
  SCALE: 0xf,
  LAST_SCALE: 0xf << 8,
  SACK_PERMITTED: 1 << 12,
  LAST_SACK_PERMITTED: 1 << 14,
  LIBERAL: 1 << 15,
  UNACKNOWLEDGED: 1 << 17,
  ACK_SEEN: 1 << 19,
  CLOSE_BEGUN: 1 << 21,
  LAST_DIRECTION: 1 << 22,
  LAST_KIND: 7 << 23,
  RETRANSMISSIONS: 0xf << 26,
  ONE_RETRANSMISSION: 1 << 26,
  CHALLENGE_EXPECTED: 1 << 30,
  SIMULTANEOUS: 1 << 31,
} as const;

export const SCALE_SHIFT = 4;
export const LAST_SCALE_SHIFT = 8;
export const LAST_DIRECTION_SHIFT = 22;
export const LAST_KIND_SHIFT = 23;
export const RETRANSMISSION_SHIFT = 26;

/** Retransmissions are counted up to this. */
export const LARGEST_RETRANSMISSIONS = 15;

const ANY_UNACKNOWLEDGED = TcpDetail.UNACKNOWLEDGED * 3;

/** Bits to shift the windows of a direction by. */
export function windowScale(detail: number, direction: number): number {
  const nibble = (detail >>> (direction << 2)) & TcpDetail.SCALE;
  return nibble === 0 ? 0 : nibble - 1;
}

/** Direction of the last segment. */
export function lastDirection(detail: number): number {
  return (detail >>> LAST_DIRECTION_SHIFT) & 1;
}

/** `SegmentKind` of the last segment. */
export function lastKind(detail: number): number {
  return (detail >>> LAST_KIND_SHIFT) & 7;
}

/** Puts direction and kind of the last segment in place. */
export function withLast(detail: number, direction: number, kind: number): number {
  const kept = detail & ~(TcpDetail.LAST_DIRECTION | TcpDetail.LAST_KIND);
  return kept | (direction << LAST_DIRECTION_SHIFT) | (kind << LAST_KIND_SHIFT);
}

/** Retransmissions in a row. */
export function retransmissions(detail: number): number {
  return (detail >>> RETRANSMISSION_SHIFT) & LARGEST_RETRANSMISSIONS;
}

/** Either direction waits for an acknowledgement. */
export function isUnacknowledged(detail: number): boolean {
  return (detail & ANY_UNACKNOWLEDGED) !== 0;
}

/** The bits of one direction, for `&` and `& ~`: its scale, SACK permitted, unacknowledged data, ack seen. */
export function optionBits(direction: number): number {
  return (TcpDetail.SCALE << (direction << 2)) | (TcpDetail.SACK_PERMITTED << direction);
}

/** All bits of one direction but that it is judged liberally. */
export function directionBits(direction: number): number {
  return optionBits(direction) | ((TcpDetail.UNACKNOWLEDGED | TcpDetail.ACK_SEEN) << direction);
}
