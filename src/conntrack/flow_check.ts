/**
 * Whether an entry of the flow table is the whole of a flow: what every writer keeps true, asked of memory whose writer may
 * have ended between two stores. What other tables say of a flow (routes, rules, mappings) is not asked here.
 */
import { Protocol } from "../packet/ipv4.ts";
import { FlowFlag, FlowWord } from "./flow_layout.ts";
import { TcpState } from "./tcp_states.ts";
import { LARGEST_TIMEOUT_SECONDS } from "./timeouts.ts";
import { invertPorts } from "./tuple.ts";

const { SOURCE_NAT, DESTINATION_NAT, DESTINATION_MAPPED, SOURCE_MAPPED, PUBLISHED, BRIDGED, LOCAL } = FlowFlag;

/** What the flow of a switched packet never is. */
const NOT_OF_BRIDGED = SOURCE_NAT | DESTINATION_NAT | SOURCE_MAPPED | DESTINATION_MAPPED | PUBLISHED | LOCAL;
const LARGEST_TIMEOUT_MS = LARGEST_TIMEOUT_SECONDS * 1000;

/** `base` is the first word of an entry with CONFIRMED, `now` the clock in wrapped milliseconds. */
export function isWhole(words: Int32Array, base: number, now: number): boolean {
  const status = words[base + FlowWord.STATUS];
  // The highest bit has no meaning.
  if (status < 0 || !isStateOf(status & 0xff, (status >>> 8) & 0xff)) return false;
  const left = (words[base + FlowWord.DEADLINE] - now) | 0;
  if (left > LARGEST_TIMEOUT_MS || left < -LARGEST_TIMEOUT_MS) return false;
  if ((status & (PUBLISHED | DESTINATION_MAPPED)) !== 0 && (status & DESTINATION_NAT) === 0) return false;
  if ((status & BRIDGED) !== 0 && !isBridged(words, base, status)) return false;
  return isReplyRight(words, base, status);
}

function isStateOf(protocol: number, state: number): boolean {
  return protocol === Protocol.TCP ? state > TcpState.NONE && state < TcpState.COUNT : state === 0;
}

/** Both directions are switched in one network. */
function isBridged(words: Int32Array, base: number, status: number): boolean {
  const replyRoute = words[base + FlowWord.REPLY_ROUTE];
  const isOneNetwork = replyRoute === 0 || replyRoute >>> 24 === words[base + FlowWord.ROUTE] >>> 24;
  return isOneNetwork && (status & NOT_OF_BRIDGED) === 0;
}

/** The reply tuple is the inverse of the original one, except for what the flags of NAT say. */
function isReplyRight(words: Int32Array, base: number, status: number): boolean {
  const protocol = status & 0xff;
  const ports = words[base + FlowWord.PORTS];
  const reply = words[base + FlowWord.REPLY_PORTS];
  const isIcmp = protocol === Protocol.ICMP;
  const inverse = invertPorts(protocol, ports);
  // No query.
  if (isIcmp && inverse === -1) return false;
  const differs = reply ^ inverse;
  // Of ICMP, an identifier above type and code; else the destination's port above the source's.
  const hasSourceIdent = isIcmp ? differs >>> 16 === 0 : (differs & 0xffff) === 0;
  const hasTarget = isIcmp ? (differs & 0xffff) === 0 : differs >>> 16 === 0;
  if (isIcmp && !hasTarget) return false;
  const hasSource = hasSourceIdent && words[base + FlowWord.REPLY_DESTINATION] === words[base + FlowWord.SOURCE];
  const hasDestination = hasTarget && words[base + FlowWord.REPLY_SOURCE] === words[base + FlowWord.DESTINATION];
  return hasSource === ((status & SOURCE_NAT) === 0) && (hasDestination || (status & DESTINATION_NAT) !== 0);
}
