/**
 * How long a flow lives after its last packet, by protocol and state: Linux's defaults, or those of the RFCs. Names
 * are those of the sysctls below `net.netfilter.nf_conntrack_`, without the prefix; syn_sent2 has none in Linux.
 */
import { TcpState } from "./tcp_states.ts";

/** Seconds, each by the name of its sysctl. */
export interface TimeoutSeconds {
  tcp_timeout_syn_sent: number;
  tcp_timeout_syn_recv: number;
  tcp_timeout_established: number;
  tcp_timeout_fin_wait: number;
  tcp_timeout_close_wait: number;
  tcp_timeout_last_ack: number;
  tcp_timeout_time_wait: number;
  tcp_timeout_close: number;
  tcp_timeout_syn_sent2: number;
  /** Upper limit once a segment was retransmitted `tcp_max_retrans` times, or the window is closed. */
  tcp_timeout_max_retrans: number;
  /** Upper limit while data waits for its acknowledgement, or no answer was seen. */
  tcp_timeout_unacknowledged: number;
  udp_timeout: number;
  /** Both directions were seen, and the flow is still in use two seconds after it began. */
  udp_timeout_stream: number;
  icmp_timeout: number;
  gre_timeout: number;
  /** Both directions were seen. */
  gre_timeout_stream: number;
  generic_timeout: number;
}

/** Linux 6.x. */
export const LINUX_TIMEOUTS: Readonly<TimeoutSeconds> = {
  tcp_timeout_syn_sent: 120,
  tcp_timeout_syn_recv: 60,
  tcp_timeout_established: 432_000,
  tcp_timeout_fin_wait: 120,
  tcp_timeout_close_wait: 60,
  tcp_timeout_last_ack: 30,
  tcp_timeout_time_wait: 120,
  tcp_timeout_close: 10,
  tcp_timeout_syn_sent2: 120,
  tcp_timeout_max_retrans: 300,
  tcp_timeout_unacknowledged: 300,
  udp_timeout: 30,
  udp_timeout_stream: 120,
  icmp_timeout: 30,
  gre_timeout: 30,
  gre_timeout_stream: 180,
  generic_timeout: 600,
};

/**
 * Best current practice: RFC 4787 REQ-5 (UDP, 5 min recommended), RFC 5382 REQ-5 (established 2 h 4 min, transitory
 * 4 min), RFC 5508 REQ-2 (ICMP queries 60 s). A connection that only waits for an acknowledgement is an established
 * one to the RFC.
 */
export const BCP_TIMEOUTS: Readonly<TimeoutSeconds> = {
  tcp_timeout_syn_sent: 240,
  tcp_timeout_syn_recv: 240,
  tcp_timeout_established: 7440,
  tcp_timeout_fin_wait: 240,
  tcp_timeout_close_wait: 240,
  tcp_timeout_last_ack: 240,
  tcp_timeout_time_wait: 240,
  tcp_timeout_close: 240,
  tcp_timeout_syn_sent2: 240,
  tcp_timeout_max_retrans: 7440,
  tcp_timeout_unacknowledged: 7440,
  udp_timeout: 300,
  udp_timeout_stream: 300,
  icmp_timeout: 60,
  gre_timeout: 300,
  gre_timeout_stream: 300,
  generic_timeout: 600,
};

/** Places in `Timeouts.milliseconds`. Those below `TcpState.COUNT` are the states of TCP. */
export const TimeoutIndex = {
  RETRANSMITTED: TcpState.COUNT,
  UNACKNOWLEDGED: TcpState.COUNT + 1,
  UDP: TcpState.COUNT + 2,
  UDP_STREAM: TcpState.COUNT + 3,
  ICMP: TcpState.COUNT + 4,
  GENERIC: TcpState.COUNT + 5,
  GRE: TcpState.COUNT + 6,
  GRE_STREAM: TcpState.COUNT + 7,
  COUNT: TcpState.COUNT + 8,
} as const;

const INDEX_OF: Readonly<Record<keyof TimeoutSeconds, number>> = {
  tcp_timeout_syn_sent: TcpState.SYN_SENT,
  tcp_timeout_syn_recv: TcpState.SYN_RECV,
  tcp_timeout_established: TcpState.ESTABLISHED,
  tcp_timeout_fin_wait: TcpState.FIN_WAIT,
  tcp_timeout_close_wait: TcpState.CLOSE_WAIT,
  tcp_timeout_last_ack: TcpState.LAST_ACK,
  tcp_timeout_time_wait: TcpState.TIME_WAIT,
  tcp_timeout_close: TcpState.CLOSE,
  tcp_timeout_syn_sent2: TcpState.SYN_SENT2,
  tcp_timeout_max_retrans: TimeoutIndex.RETRANSMITTED,
  tcp_timeout_unacknowledged: TimeoutIndex.UNACKNOWLEDGED,
  udp_timeout: TimeoutIndex.UDP,
  udp_timeout_stream: TimeoutIndex.UDP_STREAM,
  icmp_timeout: TimeoutIndex.ICMP,
  gre_timeout: TimeoutIndex.GRE,
  gre_timeout_stream: TimeoutIndex.GRE_STREAM,
  generic_timeout: TimeoutIndex.GENERIC,
};

/** Eleven and a half days. Deadlines are compared as wrapped milliseconds: half of 2^31 leaves them room. */
export const LARGEST_TIMEOUT_SECONDS = 1_000_000;

export class Timeouts {
  /** By `TcpState` and `TimeoutIndex`. */
  readonly milliseconds = new Int32Array(TimeoutIndex.COUNT);

  /** `changes` to Linux's defaults; throws RangeError for seconds that are not between 1 and the largest timeout. */
  constructor(changes: Partial<TimeoutSeconds> = {}) {
    const seconds: TimeoutSeconds = { ...LINUX_TIMEOUTS, ...changes };
    for (const name of Object.keys(INDEX_OF) as (keyof TimeoutSeconds)[]) {
      const value = seconds[name];
      if (!(value >= 1 && value <= LARGEST_TIMEOUT_SECONDS)) {
        throw new RangeError(`${name} is ${value}, but must be between 1 and ${LARGEST_TIMEOUT_SECONDS} seconds`);
      }
      this.milliseconds[INDEX_OF[name]] = Math.round(value * 1000);
    }
  }
}
