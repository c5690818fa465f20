/**
 * Ethernet II (IEEE 802.3).
 *
 *      0                       6                      12      14
 *     +-----------------------+-----------------------+-------+---
 *     |      destination      |        source         | type  | …
 *     +-----------------------+-----------------------+-------+---
 *
 * Contract: a frame of at least `ETHERNET_HEADER_BYTES` has been checked by `parse`; then no accessor can fail.
 */
export const ETHERNET_HEADER_BYTES = 14;

export const EtherType = {
  IPV4: 0x0800,
  ARP: 0x0806,
  VLAN: 0x8100,
  QINQ: 0x88a8,
  IPV6: 0x86dd,
} as const;

/** Whether a frame of this type is tagged: the type of what it carries follows the tag. */
export function isTagged(etherType: number): boolean {
  return etherType === EtherType.VLAN || etherType === EtherType.QINQ;
}

export function destinationMacHigh(memory: DataView, at: number): number {
  return memory.getUint16(at);
}

export function destinationMacLow(memory: DataView, at: number): number {
  return memory.getInt32(at + 2);
}

export function sourceMacHigh(memory: DataView, at: number): number {
  return memory.getUint16(at + 6);
}

export function sourceMacLow(memory: DataView, at: number): number {
  return memory.getInt32(at + 8);
}

export function etherType(memory: DataView, at: number): number {
  return memory.getUint16(at + 12);
}

export function setMacs(
  memory: DataView,
  at: number,
  destinationHigh: number,
  destinationLow: number,
  sourceHigh: number,
  sourceLow: number,
): void {
  memory.setInt16(at, destinationHigh);
  memory.setInt32(at + 2, destinationLow);
  memory.setInt16(at + 6, sourceHigh);
  memory.setInt32(at + 8, sourceLow);
}

export function setEtherType(memory: DataView, at: number, type: number): void {
  memory.setInt16(at + 12, type);
}

/** The group bit: multicast and broadcast. */
export function isGroupMac(high: number): boolean {
  return (high & 0x0100) !== 0;
}

export function isBroadcastMac(high: number, low: number): boolean {
  return high === 0xffff && low === -1;
}

/** 01:80:C2:00:00:00 to 0F: for the bridge itself, never forwarded (IEEE 802.1D 7.12.6). */
export function isReservedMulticast(high: number, low: number): boolean {
  return high === 0x0180 && (low & ~0xf) === (0xc2000000 | 0);
}
