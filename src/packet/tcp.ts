/**
 * TCP (RFC 9293 3.1).
 *
 *      0               1               2               3
 *     +-------------------------------+-------------------------------+
 *   0 |          source port          |       destination port        |
 *   4 |                        sequence number                        |
 *   8 |                    acknowledgement number                     |
 *     +-------+-------+---------------+-------------------------------+
 *  12 | offset|       |C E U A P R S F|            window             |
 *     +-------+-------+---------------+-------------------------------+
 *  16 |           checksum            |        urgent pointer         |
 *
 * Contract: `parseIpv4` has checked that the header with its options lies in the packet; then no accessor can fail.
 */
export const TCP_HEADER_BYTES = 20;
export const TCP_CHECKSUM_OFFSET = 16;

export const TcpFlag = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32, ECE: 64, CWR: 128 } as const;

export function sequence(memory: DataView, at: number): number {
  return memory.getInt32(at + 4);
}

export function acknowledgement(memory: DataView, at: number): number {
  return memory.getInt32(at + 8);
}

/** Header length in bytes, options included. */
export function dataOffset(memory: DataView, at: number): number {
  return (memory.getUint8(at + 12) >> 4) << 2;
}

export function flags(memory: DataView, at: number): number {
  return memory.getUint8(at + 13);
}

/** Window as in the header, unscaled. */
export function window(memory: DataView, at: number): number {
  return memory.getUint16(at + 14);
}

/** Writes a header without options and with checksum 0. */
export function write(
  memory: DataView,
  at: number,
  ports: number,
  sequenceNumber: number,
  acknowledgementNumber: number,
  flagBits: number,
  windowSize: number,
): void {
  memory.setInt32(at, ports);
  memory.setInt32(at + 4, sequenceNumber);
  memory.setInt32(at + 8, acknowledgementNumber);
  memory.setInt16(at + 12, (5 << 12) | flagBits);
  memory.setInt16(at + 14, windowSize);
  memory.setInt32(at + 16, 0);
}
