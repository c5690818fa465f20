/** What becomes of questions and answers in a DNS forwarder, as it is counted. */
export const DNS_COUNTS = [
  "questions",
  /** Answered from the names of the network. */
  "local",
  /** Sent to a server, each attempt. */
  "forwarded",
  /** Answers of servers that went to clients. */
  "answered",
  /** Attempts that nobody answered in time, or that could not be sent. */
  "timeouts",
  /** Questions that no server answered. */
  "failed",
  /** By the bounds, by kind, or for want of servers. */
  "refused",
  /** Of clients: no question. */
  "malformed",
  /** Of servers: not what was asked. */
  "mismatched",
] as const;
export type DnsCount = (typeof DNS_COUNTS)[number];
