/** Which devices have to be closed and opened to get from one plan to the next. Pure: it touches nothing. */
import type { DevicePlan } from "./configuration/configuration.ts";

export interface DeviceChange {
  /** Open, and in the next plan no longer, or differently. */
  closing: DevicePlan[];
  /** New, with nothing in their way: what can fail is done while nothing has been changed yet. */
  opening: DevicePlan[];
  /** New, under a name that one of `closing` has to give up first. */
  replacing: DevicePlan[];
  /** Failed before and still wanted: tried again, and no harm done when they fail again. */
  retrying: DevicePlan[];
}

/** `failed`: indexes of ports whose devices have failed and are not among the open ones. */
export function compareDevices(
  open: readonly DevicePlan[],
  failed: ReadonlySet<number>,
  wanted: readonly DevicePlan[],
): DeviceChange {
  const kept = new Set(open.filter((plan) => isPlanned(plan, wanted)).map((plan) => plan.port));
  const closing = open.filter((plan) => !kept.has(plan.port));
  const given = new Set(closing.map(placeOf));
  const coming = wanted.filter((plan) => !kept.has(plan.port));
  const retrying = coming.filter((plan) => failed.has(plan.port));
  const fresh = coming.filter((plan) => !failed.has(plan.port));
  return {
    closing,
    opening: fresh.filter((plan) => !given.has(placeOf(plan))),
    replacing: fresh.filter((plan) => given.has(placeOf(plan))),
    retrying,
  };
}

/** Whether exactly this device is among the wanted. */
export function isPlanned(plan: DevicePlan, wanted: readonly DevicePlan[]): boolean {
  const text = JSON.stringify(plan);
  return wanted.some((other) => other.port === plan.port && JSON.stringify(other) === text);
}

/** What only one device can have: a name in a namespace. */
function placeOf({ netns, ifname }: DevicePlan): string {
  return JSON.stringify([netns ?? "", ifname]);
}
