/**
 * The records that are exported, as IPFIX templates (RFC 7011 3.4.1). Numbers and lengths of the fields are those of
 * IANA's registry of information elements (RFC 7012; NAT: RFC 8158). None is enterprise-specific.
 */

interface Field {
  /** IANA's name. */
  name: string;
  id: number;
  bytes: 1 | 2 | 4 | 8;
}

const field = (name: string, id: number, bytes: Field["bytes"]): Field => ({ name, id, bytes });

const PROTOCOL = field("protocolIdentifier", 4, 1);
const PORTS = [
  field("sourceTransportPort", 7, 2),
  field("destinationTransportPort", 11, 2),
  field("postNAPTSourceTransportPort", 227, 2),
  field("postNAPTDestinationTransportPort", 228, 2),
];
const ADDRESSES = [
  field("sourceIPv4Address", 8, 4),
  field("destinationIPv4Address", 12, 4),
  field("postNATSourceIPv4Address", 225, 4),
  field("postNATDestinationIPv4Address", 226, 4),
];
const COUNTED = [
  field("flowStartMilliseconds", 152, 8),
  field("flowEndMilliseconds", 153, 8),
  field("octetDeltaCount", 1, 8),
  field("packetDeltaCount", 2, 8),
  field("flowId", 148, 8),
  ...ADDRESSES,
];
const FLOW_END_REASON = field("flowEndReason", 136, 1);

export interface Template {
  id: number;
  fields: readonly Field[];
  /** Bytes of a record. */
  bytes: number;
}

function template(id: number, fields: readonly Field[]): Template {
  return { id, fields, bytes: fields.reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** One direction of a flow, as its packets came in, and what translation made of them. Ids from 256 on are data sets'. */
export const FLOW_TEMPLATE = template(256, [...COUNTED, ...PORTS, PROTOCOL, FLOW_END_REASON]);
/** The same of ICMP, which has a type and a code in the place of ports. */
export const ICMP_TEMPLATE = template(257, [...COUNTED, field("icmpTypeCodeIPv4", 32, 2), PROTOCOL, FLOW_END_REASON]);
/** RFC 8158 5.3 and 5.4 (NAT44 session create and delete). */
export const NAT_TEMPLATE = template(258, [
  field("observationTimeMilliseconds", 323, 8),
  field("flowId", 148, 8),
  ...ADDRESSES,
  ...PORTS,
  PROTOCOL,
  field("natEvent", 230, 1),
]);

/** IANA's registry of NAT event types. */
export const NatEvent = { NAT44_SESSION_CREATE: 4, NAT44_SESSION_DELETE: 5 } as const;
/** RFC 5102 5.11.3 (flowEndReason). */
export const EndReason = { IDLE_TIMEOUT: 1, ACTIVE_TIMEOUT: 2, END_OF_FLOW: 3, FORCED_END: 4 } as const;
