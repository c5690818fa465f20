/** Which interface of the router has an address on its subnet. */
import type { InterfacePlan } from "../../dataplane/plan.ts";
import { contains } from "../../packet/ipv4_address.ts";

/** The interface whose subnet has `address`, which is not the router's own there; undefined where none has. */
export function interfaceOnLink(interfaces: readonly InterfacePlan[], address: number): InterfacePlan | undefined {
  const found = interfaces.find((each) => contains({ address: each.address, length: each.prefixLength }, address));
  return found === undefined || found.address === address ? undefined : found;
}
