/** What the names in rules stand for, when a rule set is compiled. */
import type { AddressType, Range } from "./rule_set.ts";

export interface Surroundings {
  interfaces: readonly { index: number; name: string }[];
  /** A port has the name of a container, that of an uplink its uplink's. */
  ports: readonly { index: number; name: string; interface: number }[];
  sets: Readonly<Record<string, readonly Range[]>>;
  /** How the routing table sees an address, when a packet is judged. */
  addressTypeOf(address: number): AddressType;
}

/** Interfaces that names mean as such, and ports that they mean by themselves. */
export interface Meaning {
  interfaces: number[];
  ports: number[];
  /** All ports behind either. */
  allPorts: number[];
}

export function meaningOf(names: readonly string[], { interfaces, ports }: Surroundings): Meaning {
  const isNamed = (name: string): boolean => names.some((wanted) => matchesName(wanted, name));
  const found = interfaces.filter(({ name }) => isNamed(name)).map(({ index }) => index);
  const single = ports.filter((port) => isNamed(port.name) && !found.includes(port.interface));
  const all = ports.filter((port) => found.includes(port.interface) || single.includes(port));
  return { interfaces: found, ports: single.map(({ index }) => index), allPorts: all.map(({ index }) => index) };
}

/** `lab+` is every name that begins with `lab`. */
export function matchesName(wanted: string, name: string): boolean {
  return wanted.endsWith("+") ? name.startsWith(wanted.slice(0, -1)) : wanted === name;
}
