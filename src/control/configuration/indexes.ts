/**
 * Indexes of interfaces and ports. A thing that stays from one plan to the next keeps its index; a new thing gets one
 * that nothing had in the plan before, so that in one change an index never stands for two things. At most half of
 * the indexes are in use, so that the other half is there for a plan in which everything is new.
 */
import type { InterfacePlan } from "../../dataplane/plan.ts";
import type { DevicePlan } from "./devices.ts";

/** Flows keep the egress interface in 8 bits. */
export const MOST_INTERFACES = 128;
/** The dataplane's tables have room for twice as many. */
export const MOST_PORTS = 2048;

export class Indexes {
  private readonly previous: ReadonlyMap<string, number>;
  private readonly taken: Set<number>;

  /** `previous`: the indexes of the plan before, by what they stand for. */
  constructor(previous: ReadonlyMap<string, number>) {
    this.previous = previous;
    this.taken = new Set(previous.values());
  }

  /** The index of what `key` stands for; the lowest free one if it is new. */
  take(key: string): number {
    let index = this.previous.get(key);
    if (index !== undefined) return index;
    for (index = 0; this.taken.has(index); ) index++;
    this.taken.add(index);
    return index;
  }
}

/** Key under which an interface keeps its index. */
export function interfaceKey(kind: InterfacePlan["kind"], name: string): string {
  return `${kind} ${name}`;
}

/** Key under which a port keeps its index: with its device, so that the same index means the same device. */
export function portKey(interfaceKey: string, device: Pick<DevicePlan, "name" | "kind" | "netns" | "ifname">): string {
  return JSON.stringify([interfaceKey, device.name, device.kind, device.netns ?? "", device.ifname]);
}
