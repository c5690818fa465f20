/**
 * ICMP (RFC 792): type, code, checksum, then four bytes by type: identifier and sequence number of a query, or of an
 * error unused/next-hop MTU (RFC 1191 4), followed by the quoted packet.
 */
export const ICMP_HEADER_BYTES = 8;
export const ICMP_CHECKSUM_OFFSET = 2;

export const IcmpType = {
  ECHO_REPLY: 0,
  DESTINATION_UNREACHABLE: 3,
  SOURCE_QUENCH: 4,
  REDIRECT: 5,
  ECHO_REQUEST: 8,
  TIME_EXCEEDED: 11,
  PARAMETER_PROBLEM: 12,
  TIMESTAMP: 13,
  TIMESTAMP_REPLY: 14,
  INFORMATION_REQUEST: 15,
  INFORMATION_REPLY: 16,
  ADDRESS_MASK_REQUEST: 17,
  ADDRESS_MASK_REPLY: 18,
} as const;

export const UnreachableCode = {
  NET: 0,
  HOST: 1,
  PROTOCOL: 2,
  PORT: 3,
  FRAGMENTATION_NEEDED: 4,
  NET_PROHIBITED: 9,
  HOST_PROHIBITED: 10,
  ADMIN_PROHIBITED: 13,
} as const;

export function type(memory: DataView, at: number): number {
  return memory.getUint8(at);
}

export function code(memory: DataView, at: number): number {
  return memory.getUint8(at + 1);
}

export function checksum(memory: DataView, at: number): number {
  return memory.getUint16(at + 2);
}

export function identifier(memory: DataView, at: number): number {
  return memory.getUint16(at + 4);
}

/** Messages that quote the packet that caused them (RFC 792; RFC 1122 3.2.2). */
export function isError(icmpType: number): boolean {
  return (
    icmpType === IcmpType.DESTINATION_UNREACHABLE ||
    icmpType === IcmpType.SOURCE_QUENCH ||
    icmpType === IcmpType.REDIRECT ||
    icmpType === IcmpType.TIME_EXCEEDED ||
    icmpType === IcmpType.PARAMETER_PROBLEM
  );
}

/** The type that answers a query, or that is answered by it; -1 for types that are no query. */
export function inverseType(icmpType: number): number {
  switch (icmpType) {
    case IcmpType.ECHO_REQUEST:
      return IcmpType.ECHO_REPLY;
    case IcmpType.ECHO_REPLY:
      return IcmpType.ECHO_REQUEST;
    case IcmpType.TIMESTAMP:
    case IcmpType.INFORMATION_REQUEST:
    case IcmpType.ADDRESS_MASK_REQUEST:
      return icmpType + 1;
    case IcmpType.TIMESTAMP_REPLY:
    case IcmpType.INFORMATION_REPLY:
    case IcmpType.ADDRESS_MASK_REPLY:
      return icmpType - 1;
    default:
      return -1;
  }
}

/** Queries that may open a flow (8, 13, 15, 17), as in Linux. */
export function isRequest(icmpType: number): boolean {
  return (
    icmpType === IcmpType.ECHO_REQUEST ||
    icmpType === IcmpType.TIMESTAMP ||
    icmpType === IcmpType.INFORMATION_REQUEST ||
    icmpType === IcmpType.ADDRESS_MASK_REQUEST
  );
}
