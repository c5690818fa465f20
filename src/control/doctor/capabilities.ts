/** The capabilities that a router needs, as bits of capabilities(7). */
export const CAPABILITY_NAMES = { CAP_NET_ADMIN: 12, CAP_NET_RAW: 13, CAP_SYS_ADMIN: 21 } as const;
export type CapabilityName = keyof typeof CAPABILITY_NAMES;

/** The effective set, from the text of /proc/self/status. */
export function effectiveCapabilities(status: string): bigint {
  return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
}
