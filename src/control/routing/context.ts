/** Names and addresses of a running router, as operations on its routing write them. */
import type { InterfacePlan } from "../../dataplane/plan.ts";
import type { Prefix } from "../../packet/ipv4_address.ts";
import { readAddress, readPrefixOrAddress } from "../configuration/addresses.ts";
import type { ResolvedPlan } from "../configuration/configuration.ts";
import { formatPath, type Report } from "../configuration/errors.ts";
import { ExitCode, TapirError } from "../errors.ts";

/** Turns what the readers of the configuration report into an error. */
export const refuse: Report = (path, message) => {
  throw new TapirError(`${path.length === 0 ? "" : `${formatPath(path)}: `}${message}`, ExitCode.USAGE);
};

export const EVERYWHERE: Prefix = { address: 0, length: 0 };

export function prefixOf(text: string): Prefix {
  if (["default", "any", "all", "0/0"].includes(text)) return EVERYWHERE;
  return readPrefixOrAddress(text, [], refuse) as Prefix;
}

export function addressOf(text: string): number {
  return readAddress(text, [], refuse) as number;
}

/** @throws TapirError in iproute2's words. */
export function interfaceNamed({ plan }: ResolvedPlan, name: string): InterfacePlan {
  const found = plan.interfaces.find((each) => each.name === name);
  if (found === undefined) throw new TapirError(`Cannot find device "${name}"`);
  return found;
}

/** A network, a port or an uplink that packets come in through. */
export function ingressNamed({ plan }: ResolvedPlan, name: string): { interface: number } | { port: number } {
  const owner = plan.interfaces.find((each) => each.name === name);
  if (owner !== undefined) return { interface: owner.index };
  const port = plan.ports.find((each) => each.name === name);
  if (port === undefined) throw new TapirError(`Cannot find device "${name}"`);
  return { port: port.index };
}

export function interfaceName({ plan }: ResolvedPlan, index: number): string {
  return plan.interfaces.find((each) => each.index === index)?.name ?? `if${index}`;
}
