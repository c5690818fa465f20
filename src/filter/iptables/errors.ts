/** What `iptables` would refuse: one line. */

/** The words themselves are wrong or ask for what is not supported, whatever rules there are. */
export class UsageError extends Error {}

/** The words are right, but the rule set does not have what they speak of, or would not be one any more. */
export class RulesError extends Error {}

export const NO_CHAIN = "No chain/target/match by that name.";

export function notSupported(what: string): UsageError {
  return new UsageError(`${what} is not supported`);
}
