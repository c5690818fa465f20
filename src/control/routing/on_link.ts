/** Which interface of the router has an address on one of its subnets. */
import type { AddressPlan, InterfacePlan } from "../../dataplane/plan.ts";
import { contains } from "../../packet/ipv4_address.ts";

/** All addresses of the router's own on an interface. */
export function addressesOf({ address, prefixLength, further = [] }: InterfacePlan): AddressPlan[] {
  return [{ address, prefixLength }, ...further];
}

/** The interface with a subnet that has `address`, which is not the router's own there; undefined where none has. */
export function interfaceOnLink(interfaces: readonly InterfacePlan[], address: number): InterfacePlan | undefined {
  const found = interfaces.find((each) => {
    return addressesOf(each).some((own) => contains({ address: own.address, length: own.prefixLength }, address));
  });
  const isOwn = found !== undefined && addressesOf(found).some((own) => own.address === address);
  return isOwn ? undefined : found;
}

/** The router's own address that it would use towards `address`. */
export function addressTowards(each: InterfacePlan, address: number): number {
  const own = addressesOf(each);
  return (own.find((one) => contains({ address: one.address, length: one.prefixLength }, address)) ?? own[0]).address;
}
