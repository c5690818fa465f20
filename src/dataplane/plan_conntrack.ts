/** The conntrack part of a plan, made ready. */
import { BCP_TIMEOUTS, Timeouts } from "../conntrack/timeouts.ts";
import type { ConntrackPlan } from "./plan.ts";

/** The profile's timeouts with the plan's changes. Throws RangeError for one that is out of range. */
export function timeoutsOf({ profile, timeouts }: ConntrackPlan): Timeouts {
  return new Timeouts({ ...(profile === "bcp" ? BCP_TIMEOUTS : {}), ...timeouts });
}
