/** The NAT and conntrack parts of a plan, made ready to be asked. */
import { BCP_TIMEOUTS, Timeouts } from "../conntrack/timeouts.ts";
import { type NatRules, Published, SourceChoice, type SourceRule } from "../nat/rules.ts";
import type { Interface } from "./interfaces.ts";
import type { ConntrackPlan, RouterPlan } from "./plan.ts";

/** What `NatRules` is made of. Throws RangeError for a rule of an interface that is not there. */
export function natRulesOf(
  plan: RouterPlan,
  interfaces: readonly (Interface | undefined)[],
): ConstructorParameters<typeof NatRules> {
  const addressOf = (index: number): number => {
    const address = interfaces[index]?.address;
    if (address === undefined) throw new RangeError(`NAT on interface ${index}, which is not there`);
    return address;
  };
  const sources: SourceRule[] = plan.sourceNat.map(({ from, out, to, ports, fullyRandom }) => {
    const own = addressOf(out);
    return { from, out, choice: new SourceChoice(to ?? { first: own, last: own }, ports, fullyRandom) };
  });
  const published = plan.publish.map(({ protocol, interface: owner, ports, to, toPort }) => {
    const address = addressOf(owner);
    return { protocol, address, ports, target: new Published(address, owner, ports, to, toPort) };
  });
  return [sources, published];
}

/** The profile's timeouts with the plan's changes. Throws RangeError for one that is out of range. */
export function timeoutsOf({ profile, timeouts }: ConntrackPlan): Timeouts {
  return new Timeouts({ ...(profile === "bcp" ? BCP_TIMEOUTS : {}), ...timeouts });
}
