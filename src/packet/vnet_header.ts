/**
 * The legacy virtio-net header that a TAP with IFF_VNET_HDR and a packet socket with PACKET_VNET_HDR put in front of
 * each frame, little-endian (VIRTIO 1.2, 5.1.6):
 *
 *      0       1          2         4          6            8             10
 *     +-------+----------+---------+----------+------------+-------------+
 *     | flags | gso_type | hdr_len | gso_size | csum_start | csum_offset |
 *     +-------+----------+---------+----------+------------+-------------+
 *
 * `at` is where the Ethernet frame starts; the header is the ten bytes before it.
 */
export const VnetFlag = {
  /** The L4 checksum field holds the sum of the pseudo-header; whoever sends on a wire completes it. */
  NEEDS_CSUM: 1,
  /** The L4 checksum has been verified. */
  DATA_VALID: 2,
} as const;

export const GsoType = {
  NONE: 0,
  TCPV4: 1,
  UDP: 3,
  TCPV6: 4,
  UDP_L4: 5,
  /** Or-ed to TCP types: segments carry CWR as a NIC would set it. */
  ECN: 0x80,
} as const;

export function vnetFlags(memory: DataView, at: number): number {
  return memory.getUint8(at - 10);
}

/** GSO type without the ECN bit. */
export function gsoType(memory: DataView, at: number): number {
  return memory.getUint8(at - 9) & 0x7f;
}

/** GSO type with the ECN bit. */
export function rawGsoType(memory: DataView, at: number): number {
  return memory.getUint8(at - 9);
}

/** Payload bytes of each segment; 0 where GSO type is NONE. */
export function gsoSize(memory: DataView, at: number): number {
  return memory.getUint16(at - 6, true);
}

export function checksumStart(memory: DataView, at: number): number {
  return memory.getUint16(at - 4, true);
}

export function checksumOffset(memory: DataView, at: number): number {
  return memory.getUint16(at - 2, true);
}

/**
 * How many packets a frame of `length` bytes is on a wire: 1, or what a super-frame is cut into. Any bytes will do.
 */
export function wirePackets(memory: DataView, at: number, length: number): number {
  const size = gsoSize(memory, at);
  if (gsoType(memory, at) === GsoType.NONE || size === 0) return 1;
  const payload = length - segmentHeaderBytes(memory, at, length);
  return payload <= size ? 1 : Math.ceil(payload / size);
}

/** Bytes in front of each segment's payload, the Ethernet header's included. */
export function segmentHeaderBytes(memory: DataView, at: number, length: number): number {
  const start = checksumStart(memory, at);
  const type = gsoType(memory, at);
  if (start + 13 > length) return 0;
  if (type === GsoType.UDP) return start;
  return start + (type === GsoType.UDP_L4 ? 8 : (memory.getUint8(at + start + 12) >> 4) << 2);
}

export function setHeaderLength(memory: DataView, at: number, length: number): void {
  memory.setInt16(at - 8, length, true);
}

/** Asks for segmentation into `size` bytes of payload each, behind `headerBytes`; the L4 checksum is a partial one. */
export function askSegmentation(
  memory: DataView,
  at: number,
  type: number,
  headerBytes: number,
  size: number,
  start: number,
  offset: number,
): void {
  memory.setInt8(at - 10, VnetFlag.NEEDS_CSUM);
  memory.setInt8(at - 9, type);
  memory.setInt16(at - 8, headerBytes, true);
  memory.setInt16(at - 6, size, true);
  memory.setInt16(at - 4, start, true);
  memory.setInt16(at - 2, offset, true);
}

/** An ordinary frame: no offload asked for. */
export function clearVnetHeader(memory: DataView, at: number): void {
  memory.setInt32(at - 10, 0);
  memory.setInt32(at - 6, 0);
  memory.setInt16(at - 2, 0);
}
