/**
 * ARP for IPv4 over Ethernet (RFC 826).
 *
 *      0               2               4       5       6               8
 *     +---------------+---------------+-------+-------+---------------+
 *   0 | hardware (1)  | protocol(800) | 6     | 4     |   operation   |
 *     +---------------+---------------+-------+-------+---------------+
 *   8 |     sender hardware address (6)       | sender protocol (4)   |
 *  18 |     target hardware address (6)       | target protocol (4)   |
 *
 * Contract: `isWellFormed` has been asked; then no accessor can fail.
 */
export const ARP_BYTES = 28;

export const ArpOperation = { REQUEST: 1, REPLY: 2 } as const;

/** Ethernet and IPv4, and long enough. `length` is that of the ARP packet. */
export function isWellFormed(memory: DataView, at: number, length: number): boolean {
  return length >= ARP_BYTES && memory.getInt32(at) === 0x00010800 && memory.getUint16(at + 4) === 0x0604;
}

export function operation(memory: DataView, at: number): number {
  return memory.getUint16(at + 6);
}

export function senderMacHigh(memory: DataView, at: number): number {
  return memory.getUint16(at + 8);
}

export function senderMacLow(memory: DataView, at: number): number {
  return memory.getInt32(at + 10);
}

export function senderAddress(memory: DataView, at: number): number {
  return memory.getInt32(at + 14);
}

export function targetMacHigh(memory: DataView, at: number): number {
  return memory.getUint16(at + 18);
}

export function targetMacLow(memory: DataView, at: number): number {
  return memory.getInt32(at + 20);
}

export function targetAddress(memory: DataView, at: number): number {
  return memory.getInt32(at + 24);
}

export function write(
  memory: DataView,
  at: number,
  op: number,
  senderHigh: number,
  senderLow: number,
  sender: number,
  targetHigh: number,
  targetLow: number,
  target: number,
): void {
  memory.setInt32(at, 0x00010800);
  memory.setInt16(at + 4, 0x0604);
  memory.setInt16(at + 6, op);
  memory.setInt16(at + 8, senderHigh);
  memory.setInt32(at + 10, senderLow);
  memory.setInt32(at + 14, sender);
  memory.setInt16(at + 18, targetHigh);
  memory.setInt32(at + 20, targetLow);
  memory.setInt32(at + 24, target);
}
